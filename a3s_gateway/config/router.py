"""`routers "<name>"`: which requests go where."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from attrs import field, frozen

from a3s_gateway.config.kinds import FLAG, TEXT, WORD, integer
from a3s_gateway.config.schema import Section, block, key, keys

INTERNAL_SERVICES = ("api@internal", "mux@internal", "ping@internal", "whoami@internal")
_LIMIT = 2**31 - 1


@frozen(kw_only=True)
class RouterTlsConfig(Section):
    """What becomes of TLS on the connections that a TCP router takes."""

    passthrough: bool = key(
        FLAG,
        "Hand the encrypted bytes on as they are, although the entrypoint has a certificate. "
        "Where it has none, they always are.",
        default=False,
    )


@frozen(kw_only=True)
class RouterConfig(Section):
    """A rule, and the service that answers what it matches."""

    name: str = field()
    rule: str = key(
        TEXT,
        "Which requests: matchers joined by `&&`, `||`, `!` and parentheses.",
        example='"PathPrefix(`/api`)"',
    )
    service: str = key(
        WORD,
        "Who answers: a service, or `api@internal`, `mux@internal`, `ping@internal`,"
        " `whoami@internal`.",
        example='"backend"',
    )
    entrypoints: tuple[str, ...] = keys(
        WORD,
        "Where the rule applies; empty: every entrypoint of the rule's protocol.",
        example='["web"]',
    )
    middlewares: tuple[str, ...] = keys(
        WORD, "What a request passes on its way, in this order.", example='["rate-limit"]'
    )
    tls: RouterTlsConfig | None = block(
        RouterTlsConfig, "TLS of the connections, for TCP routers.", default=None
    )
    priority: int = key(
        integer(-_LIMIT, _LIMIT),
        "Of several rules that match, the largest number wins; 0 stands for the rule's length.",
        default=0,
    )
    grpc_web: bool = key(
        FLAG,
        "Translate calls of gRPC-Web (`application/grpc-web`, `-text`) for servers of gRPC.",
        default=False,
        name="grpc-web",
    )

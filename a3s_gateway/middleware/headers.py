"""`type = "headers"`: set fields of requests and answers."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from a3s_gateway.config.kinds import HEADER_NAME, HEADER_VALUE
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, mapping
from a3s_gateway.plugin import Plugin

FRAMING = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


@frozen(kw_only=True)
class HeadersConfig(Settings):
    """Sets header fields; one that is there already is replaced."""

    request_headers: Mapping[str, str] = mapping(
        HEADER_NAME,
        HEADER_VALUE,
        "Fields that the backend gets.",
        example='{ X-Tenant = "acme" }',
    )
    response_headers: Mapping[str, str] = mapping(
        HEADER_NAME,
        HEADER_VALUE,
        "Fields that the client gets.",
        example='{ X-Frame-Options = "DENY" }',
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse fields that say where a message ends: the gateway writes them itself."""
        for key in ("request_headers", "response_headers"):
            for name in getattr(self, key):
                if name.lower() in FRAMING:
                    yield Mistake(key, f'"{name}" is set by the gateway itself')


PLUGIN = Plugin("middleware", "headers", HeadersConfig)

"""`type = "headers"`: change fields of requests and answers."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from attrs import define, evolve, field, frozen

from a3s_gateway.config.kinds import FLAG, HEADER_NAME, HEADER_VALUE, WORD, choice, duration
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys, mapping
from a3s_gateway.effects import Effects
from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.headers import Header, Headers
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._templates import Template, check_template
from a3s_gateway.plugin import Plugin

FRAMING: Final = frozenset(
    {
        "connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding",
        "upgrade", "x-request-id",
    }
)  # fmt: skip
_HSTS: Final = "strict-transport-security"
_YEAR: Final = 365 * 86400.0
_FRAMES: Final = {"deny": "DENY", "same-origin": "SAMEORIGIN"}


@frozen(kw_only=True)
class HeadersConfig(Settings):
    """Sets, adds and removes header fields; in values `{client_ip}` and the like are replaced."""

    request_headers: Mapping[str, str] = mapping(
        HEADER_NAME,
        HEADER_VALUE,
        "Fields that the backend gets, in place of those of the same name.",
        example='{ X-Tenant = "acme" }',
    )
    request_headers_add: Mapping[str, str] = mapping(
        HEADER_NAME, HEADER_VALUE, "Fields that the backend gets besides those of the same name."
    )
    request_headers_remove: tuple[str, ...] = keys(
        HEADER_NAME, "Fields that the backend does not get.", example='["X-Debug"]'
    )
    response_headers: Mapping[str, str] = mapping(
        HEADER_NAME,
        HEADER_VALUE,
        "Fields that the client gets, in place of those of the same name.",
        example='{ X-Frame-Options = "DENY" }',
    )
    response_headers_add: Mapping[str, str] = mapping(
        HEADER_NAME, HEADER_VALUE, "Fields that the client gets besides those of the same name."
    )
    response_headers_remove: tuple[str, ...] = keys(
        HEADER_NAME, "Fields that the client does not get.", example='["Server"]'
    )
    security: bool = key(
        FLAG,
        'Answers say what `hsts = "365d"`, `frame = "deny"`, `no_sniff = true` and `referrer = '
        '"strict-origin-when-cross-origin"` make them say, unless these are set otherwise.',
        default=False,
    )  # fmt: skip
    hsts: float | None = key(
        duration(),
        "How long browsers are to come by HTTPS only: `Strict-Transport-Security`, in answers to "
        "requests by HTTPS.",
        default=None,
        example='"365d"',
    )
    hsts_subdomains: bool = key(FLAG, "The same for all hosts below this one.", default=False)
    frame: Literal["deny", "same-origin"] | None = key(
        choice("deny", "same-origin"),
        "Which pages may show this one in a frame: `X-Frame-Options`.",
        default=None,
        example='"same-origin"',
    )
    no_sniff: bool | None = key(
        FLAG,
        "Browsers take the content type for what it is: `X-Content-Type-Options`.",
        default=None,
        example="true",
    )
    referrer: str | None = key(
        WORD,
        "What of the address other sites are told: `Referrer-Policy`.",
        default=None,
        example='"no-referrer"',
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse fields that the gateway writes itself, and placeholders that there are not."""
        for name in _MAPPINGS:
            for header, value in getattr(self, name).items():
                yield from _mistakes_of(name, header, value)
        for name in ("request_headers_remove", "response_headers_remove"):
            for index, header in enumerate(getattr(self, name)):
                if header.lower() in FRAMING | {"host"}:
                    yield Mistake(name, f'"{header}" is set by the gateway itself', item=index)
        for name in ("request_headers_add", "response_headers_add", "response_headers"):
            if any(header.lower() == "host" for header in getattr(self, name)):
                yield Mistake(name, 'there is one "Host", and it is in "request_headers"')


def _mistakes_of(name: str, header: str, value: str) -> Iterator[Mistake]:
    if header.lower() in FRAMING:
        yield Mistake(name, f'"{header}" is set by the gateway itself')
    message, hint = check_template(value)
    if message:
        yield Mistake(name, message, hint)


_MAPPINGS: Final = (
    "request_headers", "request_headers_add", "response_headers", "response_headers_add",
)  # fmt: skip


@define(eq=False)
class Change:
    """What becomes of one head."""

    set: tuple[Template, ...]
    add: tuple[Template, ...]
    remove: tuple[str, ...]
    _gone: frozenset[str] = field(init=False)
    _all: Headers | None = field(init=False)  # what is put there, if it is always the same
    _is_any: bool = field(init=False)

    @classmethod
    def of(cls, set: Mapping[str, str], add: Mapping[str, str], remove: Iterable[str]) -> Change:
        """Prepare it from the keys of a configuration."""
        return cls(
            tuple(Template(*each) for each in set.items()),
            tuple(Template(*each) for each in add.items()),
            tuple(remove),
        )

    def __attrs_post_init__(self) -> None:
        self._gone = frozenset(n.lower() for n in (*self.remove, *(t.name for t in self.set)))
        self._is_any = bool(self.set or self.add)
        fixed = [template.fixed for template in (*self.set, *self.add)]
        self._all = None if None in fixed else Headers(h for h in fixed if h is not None)

    def apply(self, headers: Headers, request: Request) -> Headers:
        """Return the fields as they are to be."""
        gone, always = self._gone, self._all
        if gone:
            for header in headers:  # a look-up by name would have an index made for it
                if header.name in gone:
                    headers = headers.without(*gone)
                    break
        if always is not None:
            return headers.joined(always) if self._is_any else headers
        made = [template.fill(request) for template in (*self.set, *self.add)]
        return headers.plus(*(header for header in made if header is not None))


@define(eq=False)
class ChangeHeaders:
    """Change heads on their way; faults of the gateway are answers, too."""

    config: HeadersConfig
    _host: Template | None = field(init=False)
    _onward: Change = field(init=False)
    _back: Change = field(init=False)
    _presets: tuple[Header, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        config = self.config
        hosts = [Template(n, v) for n, v in config.request_headers.items() if n.lower() == "host"]
        self._host = hosts[0] if hosts else None
        others = {n: v for n, v in config.request_headers.items() if n.lower() != "host"}
        self._onward = Change.of(others, config.request_headers_add, config.request_headers_remove)
        self._back = Change.of(
            config.response_headers, config.response_headers_add, config.response_headers_remove
        )
        self._presets = tuple(_presets(config))

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer by `next`."""
        onward = self._onward.apply(request.headers, request)
        if self._host is not None:
            request = evolve(request, authority=self._host.text(request))
        if onward is not request.headers:
            request = request.with_headers(onward)
        try:
            response = await next(request)
        except GatewayError as error:  # an answer like others
            response = to_response(error, request)
        headers = self._back.apply(response.headers, request)
        presets = self._presets
        if presets:
            said = {header.name for header in headers}
            is_secure = request.scheme == "https"
            add = [p for p in presets if p.name not in said and (is_secure or p.name != _HSTS)]
            headers = headers.plus(*add) if add else headers
        return response if headers is response.headers else response.with_headers(headers)


def _presets(config: HeadersConfig) -> Iterator[Header]:
    frame = config.frame or ("deny" if config.security else None)
    if frame is not None:
        yield Header.of("X-Frame-Options", _FRAMES[frame])
    if config.no_sniff or (config.security and config.no_sniff is None):
        yield Header.of("X-Content-Type-Options", "nosniff")
    referrer = config.referrer or ("strict-origin-when-cross-origin" if config.security else None)
    if referrer is not None:
        yield Header.of("Referrer-Policy", referrer)
    seconds = config.hsts if config.hsts is not None else _YEAR if config.security else None
    if seconds is not None:
        below = "; includeSubDomains" if config.hsts_subdomains else ""
        yield Header.of("Strict-Transport-Security", f"max-age={int(seconds)}{below}")


def _build(config: HeadersConfig, _: Effects) -> ChangeHeaders:
    return ChangeHeaders(config)


PLUGIN = Plugin("middleware", "headers", HeadersConfig, _build)

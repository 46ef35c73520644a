"""`type = "cors"`: let pages of other origins read answers, as the Fetch standard has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import define, field, frozen

from a3s_gateway.body import Body
from a3s_gateway.config.kinds import FLAG, HEADER_NAME, METHOD, ORIGIN, WORD, duration
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys
from a3s_gateway.effects import Effects
from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.headers import Header, Headers, date
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.plugin import Plugin
from a3s_gateway.router.regex import RegexError, compile_regex

_ALLOW_ORIGIN: Final = "Access-Control-Allow-Origin"
_CREDENTIALS: Final = Header.of("Access-Control-Allow-Credentials", "true")
_EVERYBODY: Final = Header.of(_ALLOW_ORIGIN, "*")
_VARY: Final = Header.of("Vary", "Origin")
_VARY_PREFLIGHT: Final = Header.of(
    "Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
)
# Who may read an answer is said once, here.
_OURS: Final = frozenset(
    {
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-expose-headers",
    }
)
_REMEMBERED: Final = 1000  # origins, each with the header that echoes it


@frozen(kw_only=True)
class CorsConfig(Settings):
    """Cross-origin resource sharing, as browsers ask for it."""

    allowed_origins: tuple[str, ...] = keys(
        ORIGIN,
        "Who may read answers; `*`: everybody, `https://*.example.com`: every host below that one.",
        default=("*",),
    )
    allowed_origin_regexes: tuple[str, ...] = keys(
        WORD,
        "Who else may: expressions that a whole origin matches.",
        example='["https://pr-[0-9]+\\\\.example\\\\.com"]',
    )
    allowed_methods: tuple[str, ...] = keys(
        METHOD, "Methods they may use.", default=("GET", "POST", "PUT", "DELETE", "OPTIONS")
    )
    allowed_headers: tuple[str, ...] = keys(
        HEADER_NAME,
        "Fields they may send; `*`: all.",
        default=("Content-Type", "Authorization"),
    )
    exposed_headers: tuple[str, ...] = keys(
        HEADER_NAME, "Fields of answers that they may read.", example='["X-Request-Id"]'
    )
    allow_credentials: bool = key(
        FLAG, "Whether their requests may carry cookies and the like.", default=False
    )
    allow_private_network: bool = key(
        FLAG, "Whether pages of the public internet may ask; browsers call it PNA.", default=False
    )
    max_age: float = key(duration(), "How long a browser keeps the permission.", default=86400.0)

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse what browsers refuse, and expressions that are none."""
        if self.allow_credentials and "*" in self.allowed_origins:
            hint = "name them: allowed_origins = [...]"
            message = '"allow_credentials" for every origin would let any page act as its visitor'
            yield Mistake("allow_credentials", message, hint)
        for index, regex in enumerate(self.allowed_origin_regexes):
            try:
                compile_regex(regex)
            except RegexError as error:
                message = f'"{regex}" is not a regular expression: {error}'
                yield Mistake("allowed_origin_regexes", message, error.hint, item=index)


@define(eq=False)
class Cors:
    """
    Say who may read an answer, and answer preflights.

    A preflight is an OPTIONS request with `Origin` and `Access-Control-Request-Method`; other
    OPTIONS requests are the backend's.
    """

    config: CorsConfig
    effects: Effects
    _is_open: bool = field(init=False)
    _exact: frozenset[str] = field(init=False)
    _patterns: tuple[re.Pattern[str], ...] = field(init=False)
    _grants: Headers = field(init=False)  # besides the origin, on what may be read
    _anonymous: Headers = field(init=False)  # for who names no origin; caches keep it for all
    _known: dict[str, Headers | None] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        config = self.config
        wild = [origin for origin in config.allowed_origins if "*" in origin and origin != "*"]
        regexes = [*map(_below, wild), *config.allowed_origin_regexes]
        self._is_open = "*" in config.allowed_origins
        self._exact = frozenset(config.allowed_origins)
        self._patterns = tuple(compile_regex(f"^(?:{regex})$") for regex in regexes)
        grants = [_CREDENTIALS] if config.allow_credentials else []
        if config.exposed_headers:
            exposed = ", ".join(config.exposed_headers)
            grants.append(Header.of("Access-Control-Expose-Headers", exposed))
        self._grants = Headers(grants)
        self._anonymous = Headers([_EVERYBODY, *grants]) if self._is_open else Headers([_VARY])

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer by `next`, or a preflight."""
        origin = request.headers.find("origin")
        if origin is not None and request.method == "OPTIONS":
            method = request.headers.find("access-control-request-method")
            if method is not None:
                return self._preflight(request, origin, method)
        try:
            response = await next(request)
        except GatewayError as error:  # an answer like others, which the page may want to read
            response = to_response(error, request)
        said = self._anonymous if origin is None else self._for(origin) or self._anonymous
        headers = response.headers
        for header in headers:
            if header.name in _OURS:
                headers = headers.without(*_OURS)
                break
        return response.with_headers(headers.joined(said))

    def _for(self, origin: str) -> Headers | None:
        """Return what an answer says to an origin; None if it may not read it."""
        if self._is_open:
            return self._anonymous
        if origin in self._known:
            return self._known[origin]
        said = None
        if origin in self._exact or any(each.search(origin) for each in self._patterns):
            said = Headers([Header.of(_ALLOW_ORIGIN, origin), _VARY]).joined(self._grants)
        if len(self._known) < _REMEMBERED:
            self._known[origin] = said
        return said

    def _preflight(self, request: Request, origin: str, method: str) -> Response:
        said = self._for(origin)
        if said is None:
            raise GatewayError("ORIGIN_NOT_ALLOWED", origin)
        config, asked = self.config, request.headers
        methods = [method] if "*" in config.allowed_methods else config.allowed_methods
        wanted = asked.find("access-control-request-headers")
        names = ", ".join(config.allowed_headers) if "*" not in config.allowed_headers else wanted
        found = [
            Header.of("Access-Control-Allow-Methods", ", ".join(methods)),
            Header.of("Access-Control-Max-Age", str(int(config.max_age))),
            _VARY_PREFLIGHT,
            date(self.effects.wall()),
        ]
        if names:
            found.append(Header.of("Access-Control-Allow-Headers", names))
        private = asked.find("access-control-request-private-network")
        if private == "true" and config.allow_private_network:
            found.append(Header.of("Access-Control-Allow-Private-Network", "true"))
        lines = [header for header in said if header is not _VARY]
        return Response(204, Headers([*lines, *found]), Body.of(b""))


def _below(origin: str) -> str:
    """Turn `https://*.example.com` into an expression; `*` is one label of a name or more."""
    return re.escape(origin).replace(r"\*", "[0-9A-Za-z.-]+")


PLUGIN = Plugin("middleware", "cors", CorsConfig, Cors)

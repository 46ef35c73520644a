"""What both kinds of rate limit share: by what they count, and what they tell the client."""

from __future__ import annotations

import math
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv6Address
from typing import Final

from attrs import Factory, define, field, frozen

from a3s_gateway.config.kinds import FLAG, TEXT, duration, integer, number
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import RejectedError, ScalarKind, key
from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.hcl.nodes import Plain
from a3s_gateway.headers import TOKEN, Header, Headers
from a3s_gateway.http import Request, Response

_LONGEST: Final = 64  # characters of a key that are kept as they are
_REMEMBERED: Final = 1024  # sets of fields that are made once
_NETWORK: Final = 64  # bits of an IPv6 address that tell clients apart: they have the others
_PLAIN: Final = ("ip", "global", "api-key")


def _source(value: Plain) -> str:
    text = TEXT.parse(value).strip()
    kind, _, name = text.partition(":")
    if text in _PLAIN or (kind == "jwt" and name):
        return text
    if kind == "header" and TOKEN.fullmatch(name.encode()):
        return text
    raise RejectedError('"ip", "global", "api-key", "header:NAME" or "jwt:CLAIM"')


SOURCE: Final = ScalarKind("source", _source)


@frozen(kw_only=True)
class LimitConfig(Settings):
    """How much, and for whom."""

    rate: float = key(number(0, above=True), "Requests per `period`.", example="100")
    period: float = key(duration(0.001), "What `rate` counts for.", default=1.0)
    burst: int = key(
        integer(1),
        "Requests at once after a pause.",
        default=Factory(lambda self: math.ceil(self.rate), takes_self=True),
        default_doc="`rate`",
    )
    source: str = key(
        SOURCE,
        "What is counted for itself: `ip`, `header:NAME`, `api-key` (the name of the key), "
        "`jwt:CLAIM`, or `global` for all together. Who has none counts by address.",
        default="ip",
    )
    fields: bool = key(FLAG, "Whether answers have `RateLimit-...` fields.", default=True)

    @property
    def needs(self) -> str:
        """The type of middleware that has to find the source out."""
        kind = self.source.partition(":")[0]
        return kind if kind in {"api-key", "jwt"} else ""

    @property
    def interval(self) -> float:
        """Seconds that a token takes to come back."""
        return self.period / self.rate


def source_of(config: LimitConfig) -> Callable[[Request], str]:
    """Make what tells by what a request is counted."""
    kind, _, name = config.source.partition(":")
    match kind:
        case "global":
            return lambda _: ""
        case "header":
            lower = name.lower()
            return lambda request: _or_address(request.headers.find(lower), request)
        case "api-key":
            return lambda request: _or_address(request.exchange.key_name, request)
        case "jwt":
            return lambda request: _or_address(request.exchange.claims.get(name), request)
    return _address


def _address(request: Request) -> str:
    """Return the client's address; of an IPv6 client the network that it has for itself."""
    client = request.client
    if ":" not in client:
        return client
    try:
        address = int(IPv6Address(client.partition("%")[0]))
    except ValueError:
        return client
    return f"{address >> (128 - _NETWORK):x}::"


def _or_address(value: object, request: Request) -> str:
    """Keep apart what clients write and what we know of them; and keep it short."""
    if value is None or value == "":
        return _address(request)
    text = f"={value}"
    if len(text) <= _LONGEST:
        return text
    return f"#{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


@define(eq=False)
class Told:
    """
    What a client is told: fields of the IETF's draft `ratelimit-headers`, and when to come again.

    `RateLimit-Limit` is the burst, `RateLimit-Reset` the seconds until all of it is there, rounded
    up to whole tokens.
    """

    config: LimitConfig
    text: str = ""  # of the refusal, unless it is the usual one
    _burst: int = field(init=False)
    _interval: float = field(init=False)
    _has_fields: bool = field(init=False)
    _constant: Headers = field(init=False)
    _known: dict[int, Headers] = field(factory=dict, init=False)  # by what is left

    def __attrs_post_init__(self) -> None:
        self._burst, self._interval = self.config.burst, self.config.interval
        self._has_fields = self.config.fields

    @_constant.default
    def _write_policy(self) -> Headers:
        config = self.config
        policy = f"{config.rate:g};w={config.period:g};burst={config.burst}"
        return Headers.of(("RateLimit-Policy", policy), ("RateLimit-Limit", str(config.burst)))

    def passed(self, response: Response, ahead: float) -> Response:
        """Say how much is left, to who was let in; `ahead` are seconds until all is there."""
        if not self._has_fields:
            return response
        left = self._burst - math.ceil(ahead / self._interval - 1e-6)
        fields = self._known.get(left)
        headers = response.headers.joined(fields if fields is not None else self._fields(left))
        return Response(response.status, headers, response.body, response.reason, response.fault)

    def refused(self, request: Request, wait: float) -> Response:
        """Answer 429: after `wait` seconds there is a token."""
        response = to_response(GatewayError("RATE_LIMITED", message=self.text), request)
        again = Headers.of(("Retry-After", str(max(math.ceil(wait - 1e-6), 1))))
        headers = response.headers.joined(again)
        if self._has_fields:
            headers = headers.joined(self._fields(0))
        return response.with_headers(headers)

    def _fields(self, left: int) -> Headers:
        reset = math.ceil((self._burst - left) * self._interval - 1e-6)
        found = self._constant.plus(
            Header("ratelimit-remaining", str(left), b"RateLimit-Remaining: %d\r\n" % left),
            Header("ratelimit-reset", str(reset), b"RateLimit-Reset: %d\r\n" % reset),
        )
        if len(self._known) < _REMEMBERED:
            self._known[left] = found
        return found

"""The values every HTTP component speaks: request, response, exchange, handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from attrs import define

from a3s_gateway.body import Body
from a3s_gateway.headers import Headers

if TYPE_CHECKING:
    from attrs import frozen as head

    from a3s_gateway.faults import Fault
else:
    # Frozen for the type checker, plain at run time: a really frozen instance costs
    # 0.1 us per field, and two of these heads are built per request.
    head = define


class Recorder(Protocol):
    """What counts exchanges: those of one route."""

    def record(self, exchange: Exchange, duration: float) -> None:
        """Count an exchange that has ended after `duration` seconds."""


class Step(Protocol):
    """What counts the requests that one middleware got."""

    def answered(self, seconds: float) -> None:
        """Count one that went no further, `seconds` after it came."""


class Exchange:
    """
    One request with its answer: the one mutable thing that travels with it.

    The entrypoint opens it and closes it once, when the last byte is written or the
    stream is reset. `protocol` is what was spoken where there are no requests, `server_name` whom
    the client asked for there.
    Times are monotonic seconds; `first_byte_at` is 0 until there is one.
    `inform` sends the client an interim response (1xx). `step` is the middleware that has
    the request since `step_at`, None once it has passed them all. `key_name` is what the
    configuration calls the key that the client has shown, `claims` what its token says; both are
    verified, and `user` is who it is for the log. `avoid` are URLs of servers that others are
    to be tried before.
    """

    # Defaults stand on the class: an exchange stores what it is told, and that is little.
    router: str = ""
    service: str = ""
    backend: str = ""
    attempts: int = 0
    status: int = 0
    code: str = ""
    protocol: str = ""
    server_name: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    first_byte_at: float = 0.0
    counters: Recorder | None = None
    step: Step | None = None
    step_at: float = 0.0
    key_name: str = ""
    claims: Mapping[str, Any] = MappingProxyType({})
    user: str = ""
    avoid: tuple[str, ...] = ()

    def __init__(
        self,
        entrypoint: str,
        peer: str,
        started_at: float,
        client: str = "",
        request_id: str = "",
        inform: Callable[[int, str, Headers], None] | None = None,
    ) -> None:
        self.entrypoint = entrypoint
        self.peer = peer
        self.started_at = started_at
        self.client = client
        self.request_id = request_id
        self.inform = inform
        self._closing: list[Callable[[], None]] = []

    def on_close(self, release: Callable[[], None]) -> None:
        """Call `release` once, when the exchange is closed; the last one added goes first."""
        self._closing.append(release)

    def close(self) -> None:
        """Release everything; harmless when repeated."""
        closing = self._closing
        while closing:
            closing.pop()()


# RFC 9110 §9.2.2: doing these twice is doing them once.
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


@head(eq=False)
class Request:
    """
    An immutable request head; derive a changed one with `attrs.evolve`.

    Attributes:
        method: As sent; methods are case-sensitive (RFC 9110 §9.1).
        path: Canonical: unreserved characters decoded, no dot segments; `*` for OPTIONS *.
        query: What follows the `?`, or None when there is none.
        host: For matching: lower case, no port, no trailing dot.
        authority: What the client asked for, as it goes upstream.
        version: 10, 11 or 20.
        scheme: `http` or `https`, as the client came to this gateway.
        client: The client's address: the peer's, or what trusted proxies say of it.
        upgrade: The protocol that the client asks to change to, in lower case (`websocket`);
            empty for none. An answer of status 101 makes the exchange a tunnel: from then on
            `body` is what the client sends, the answer's body what it gets. Until then `body`
            has nothing, and nobody else may read it.

    """

    method: str
    path: str
    query: str | None
    host: str
    authority: str
    version: int
    scheme: str
    headers: Headers
    body: Body
    client: str
    exchange: Exchange
    upgrade: str = ""

    @property
    def target(self) -> str:
        """The origin form: path and query."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def may_be_repeated(self) -> bool:
        """Whether it may be sent again, though a server may have acted on it."""
        return self.method in _IDEMPOTENT and not self.body.begun

    def with_headers(self, headers: Headers) -> Request:
        """Derive one with other fields, at a third of what `evolve` takes."""
        return Request(
            self.method, self.path, self.query, self.host, self.authority, self.version,
            self.scheme, headers, self.body, self.client, self.exchange, self.upgrade,
        )  # fmt: skip


@head(eq=False)
class Response:
    """
    An immutable response head; `fault` is why the gateway, not a backend, wrote it.

    `reason` is the reason phrase of an HTTP/1 backend; empty means the standard one.
    """

    status: int
    headers: Headers
    body: Body
    reason: str = ""
    fault: Fault | None = None

    def with_headers(self, headers: Headers) -> Response:
        """Derive one with other fields, at a third of what `evolve` takes."""
        return Response(self.status, headers, self.body, self.reason, self.fault)


Handler = Callable[[Request], Awaitable[Response]]


class Middleware(Protocol):
    """A step around the rest of the chain."""

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer `request`, usually by awaiting `next`."""
        ...

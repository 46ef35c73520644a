"""The values every HTTP component speaks: header, request, response, body, exchange."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Protocol, Self

from attrs import define, field

from .task import Waiter

if TYPE_CHECKING:
    from attrs import frozen as head

    from .errors import Fault
else:
    # Frozen for the type checker, plain at run time: a really frozen instance costs
    # 0.1 us per field, and two of these heads are built per request.
    head = define

HIGH_WATER: Final = 64 * 1024  # bytes an unpiped body may hold before its source is paused

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
# RFC 9110 §5.5: visible characters, obs-text, and blanks that are not at an end.
FIELD_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+"
    rb"((?:[\x21-\x7e\x80-\xff]++(?:[ \t]++(?=[\x21-\x7e\x80-\xff]))?+)*+)[ \t]*+"
)


# What a field means to a hop (RFC 9110 §7.6.1 and §7.8, RFC 9112); PLAIN fields just travel.
PLAIN: Final = 0
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
EXPECT: Final = 5
UPGRADE: Final = 6
TE: Final = 7
HOP_BY_HOP: Final = 8
FORWARDED: Final = 9
REQUEST_ID: Final = 10

_FORWARDED_NAMES: Final = (
    "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
    "x-forwarded-port", "x-real-ip",
)  # fmt: skip
_KINDS: Final = {
    "host": HOST,
    "content-length": CONTENT_LENGTH,
    "transfer-encoding": TRANSFER_ENCODING,
    "connection": CONNECTION,
    "expect": EXPECT,
    "upgrade": UPGRADE,
    "te": TE,
    "keep-alive": HOP_BY_HOP,
    "proxy-connection": HOP_BY_HOP,
    "proxy-authenticate": HOP_BY_HOP,
    "proxy-authorization": HOP_BY_HOP,
    "x-request-id": REQUEST_ID,
    **dict.fromkeys(_FORWARDED_NAMES, FORWARDED),
    # Backends that fold `_` into `-` (CGI, WSGI) would take these for ours.
    **{name.replace("-", "_"): FORWARDED for name in _FORWARDED_NAMES if "-" in name},
}


class Header:
    """
    One validated field line.

    Immutable and shared between requests, so that the parser's cache of known lines
    is a cache of these.

    Attributes:
        name: In lower case.
        value: Without blanks around it.
        wire: The line as it is sent, with its CRLF.
        kind: What the field means to a hop: `PLAIN` or one of the constants beside it.

    """

    __slots__ = ("kind", "name", "value", "wire")

    def __init__(self, name: str, value: str, wire: bytes) -> None:
        self.name = name
        self.value = value
        self.wire = wire
        self.kind = _KINDS.get(name, PLAIN)

    @classmethod
    def of(cls, name: str, value: str) -> Self:
        """Build the line; raises `ValueError` for what may not stand in a header."""
        line = f"{name}: {value}".encode("latin-1")
        if FIELD_LINE.fullmatch(line) is None:
            raise ValueError(f"not a valid header field: {name!r}")
        return cls(name.lower(), value.strip(" \t"), line + b"\r\n")

    def __repr__(self) -> str:
        return f"Header({self.name}: …)"  # a value may be a secret

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and self.wire == other.wire

    def __hash__(self) -> int:
        return hash(self.wire)


class Headers:
    """
    The end-to-end fields of one head, in order, repeats kept; changed by building another.

    Host, Content-Length and the hop-by-hop fields are not among them: those live in
    `Request.authority`, in `Body.length` and in the codec.
    """

    __slots__ = ("_items", "_wire")

    def __init__(self, items: Iterable[Header] = ()) -> None:
        self._items = tuple(items)
        self._wire: bytes | None = None

    @classmethod
    def of(cls, *pairs: tuple[str, str]) -> Self:
        """Build from (name, value) pairs; raises `ValueError` as `Header.of` does."""
        return cls(Header.of(name, value) for name, value in pairs)

    @property
    def wire(self) -> bytes:
        """All lines as they are sent, each with its CRLF; joined once."""
        wire = self._wire
        if wire is None:
            wire = self._wire = b"".join([header.wire for header in self._items])
        return wire

    def __iter__(self) -> Iterator[Header]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Headers({', '.join(header.name for header in self._items)})"

    def find(self, name: str) -> str | None:
        """Return the first value of `name` (lower case), or None."""
        for header in self._items:
            if header.name == name:
                return header.value
        return None

    def all(self, name: str) -> list[str]:
        """Return every value of `name` (lower case), in order."""
        return [header.value for header in self._items if header.name == name]

    def without(self, *names: str) -> Headers:
        """Leave out every line of these names (lower case)."""
        return Headers(header for header in self._items if header.name not in names)

    def plus(self, *headers: Header) -> Headers:
        """Append lines."""
        return Headers(self._items + headers)

    def joined(self, others: Headers) -> Headers:
        """Append another head's lines; their bytes are joined already."""
        headers = Headers(self._items + others._items)
        headers._wire = self.wire + others.wire
        return headers

    def replaced(self, name: str, value: str) -> Headers:
        """Put one line in place of all lines of this name."""
        return self.without(name.lower()).plus(Header.of(name, value))


EMPTY_HEADERS: Final = Headers()


class Sink(Protocol):
    """Where a piped body goes."""

    def write(self, data: bytes) -> None:
        """Take the next bytes; to slow the source down, call `Body.pause`."""

    def finish(self, trailers: Headers) -> None:
        """Take note of the body's proper end."""

    def fail(self, error: Exception) -> None:
        """Take note that the body will never be complete."""


class Source(Protocol):
    """Where a body comes from."""

    def pause(self) -> None:
        """Stop reading until `resume`."""

    def resume(self) -> None:
        """Read on."""

    def cancel(self) -> None:
        """Drop the rest: nobody wants it."""


class Body:
    """
    What follows a head: one-shot, piped (the default) or read, with back-pressure.

    The source calls `feed`, then `end` or `fail`. The reader calls `pipe`, or iterates,
    or `read`s; whoever is done calls `close`, which cancels a source that has more and
    releases what the body stands on (a lease, a connection).

    Attributes:
        length: Bytes in all when the framing tells, else None.
        trailers: The trailer fields, once the body has ended.
        begun: Whether anything has been taken from it.
        ask: Set where the client waits to be asked for the body (100-continue): called when
            somebody here reads it; whoever pipes it passes the question on instead.

    """

    __slots__ = (
        "_chunks", "_closed", "_ended", "_error", "_held", "_owned", "_paused", "_sink",
        "_source", "_waiter", "ask", "begun", "length", "trailers",
    )  # fmt: skip

    def __init__(self, source: Source | None = None, length: int | None = None) -> None:
        self.length = length
        self.trailers = EMPTY_HEADERS
        self.begun = False
        self.ask: Callable[[], None] | None = None
        self._source = source
        self._sink: Sink | None = None
        self._chunks: list[bytes] = []
        self._held = 0
        self._ended = False
        self._closed = False
        self._paused = False
        self._error: Exception | None = None
        self._waiter: Waiter[None] | None = None
        self._owned: list[Callable[[], None]] | None = None

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Build a body that is all there."""
        body = cls(None, len(data))
        if data:
            body._chunks.append(data)
        body._ended = True
        return body

    # -- the source's side

    def feed(self, data: bytes) -> None:
        """Hand over the next bytes."""
        sink = self._sink
        if sink is not None:
            sink.write(data)
            return
        if self._closed:
            return
        self._chunks.append(data)
        self._held += len(data)
        if self._held >= HIGH_WATER:
            self.pause()
        self._wake()

    def end(self, trailers: Headers = EMPTY_HEADERS) -> None:
        """Say that nothing more comes."""
        self._ended = True
        self.trailers = trailers
        self._source = None
        if self._sink is not None:
            self._sink.finish(trailers)
        self._wake()

    def fail(self, error: Exception) -> None:
        """Say that the rest will never come."""
        if self._ended or self._error is not None:
            return
        self._error = error
        self._source = None
        if self._sink is not None:
            self._sink.fail(error)
        self._wake()

    # -- the reader's side

    @property
    def is_complete(self) -> bool:
        """Whether the source has handed over everything."""
        return self._ended

    @property
    def is_empty(self) -> bool:
        """Whether there is no byte in it, known without reading."""
        return self._ended and not self._chunks and not self.begun

    def take(self) -> bytes:
        """Return what has arrived and was not taken yet, without waiting."""
        chunks = self._chunks
        if not chunks:
            return b""
        self.begun = True
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._held = 0
        return data

    def pipe(self, sink: Sink) -> None:
        """Send everything to `sink`, what has arrived at once and the rest as it comes."""
        self.begun = True
        data = self.take()
        self._sink = sink
        if data:
            sink.write(data)
        if self._error is not None:
            sink.fail(self._error)
        elif self._ended:
            sink.finish(self.trailers)
        else:
            self.resume()

    def pause(self) -> None:
        """Hold the source back."""
        if self._source is not None and not self._paused:
            self._paused = True
            self._source.pause()

    def resume(self) -> None:
        """Let the source go on."""
        if self._paused:
            self._paused = False
            if self._source is not None:
                self._source.resume()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes]:
        ask, self.ask = self.ask, None
        if ask is not None and not self._chunks:
            ask()
        while True:
            data = self.take()
            if data:
                yield data
                continue
            if self._error is not None:
                raise self._error
            if self._ended or self._closed:
                return
            self.resume()
            self._waiter = Waiter()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def read(self, limit: int) -> bytes:
        """
        Read to the end.

        Raises:
            BodyTooLargeError: There are more than `limit` bytes; the rest stays unread.

        """
        parts: list[bytes] = []
        size = 0
        async for chunk in self:
            size += len(chunk)
            parts.append(chunk)
            if size > limit:
                raise BodyTooLargeError(limit)
        return b"".join(parts)

    def owns(self, release: Callable[[], None]) -> None:
        """Call `release` once, when this body is closed."""
        if self._owned is None:
            self._owned = [release]
        else:
            self._owned.append(release)

    def close(self) -> None:
        """Give back what is owned and drop what has not come yet; harmless when repeated."""
        self._closed = True
        self._sink = None
        owned, self._owned = self._owned, None
        source, self._source = self._source, None
        if source is not None and not self._ended:
            source.cancel()
        if owned is not None:
            for release in owned:
                release()

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.resolve(None)


class BodyTooLargeError(Exception):
    """A body that had to be read whole is larger than whoever reads it allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")
        self.limit = limit


class Recorder(Protocol):
    """What counts exchanges: those of one route."""

    def record(self, exchange: Exchange, duration: float) -> None:
        """Count an exchange that has ended after `duration` seconds."""


@define(eq=False)
class Exchange:
    """
    One request with its answer: the one mutable thing that travels with it.

    The entrypoint opens it and closes it once, when the last byte is written or the
    stream is reset. Times are monotonic seconds; `first_byte_at` is 0 until there is one.
    `inform` sends the client an interim response (1xx).
    """

    entrypoint: str
    peer: str
    started_at: float
    client: str = ""
    request_id: str = ""
    router: str = ""
    service: str = ""
    backend: str = ""
    attempts: int = 0
    status: int = 0
    code: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    first_byte_at: float = 0.0
    counters: Recorder | None = None
    inform: Callable[[int, str, Headers], None] | None = None
    _closing: list[Callable[[], None]] = field(factory=list, init=False)

    def on_close(self, release: Callable[[], None]) -> None:
        """Call `release` once, when the exchange is closed; the last one added goes first."""
        self._closing.append(release)

    def close(self) -> None:
        """Release everything; harmless when repeated."""
        closing = self._closing
        while closing:
            closing.pop()()


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

    @property
    def target(self) -> str:
        """The origin form: path and query."""
        return self.path if self.query is None else f"{self.path}?{self.query}"


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


Handler = Callable[[Request], Awaitable[Response]]


class Middleware(Protocol):
    """A step around the rest of the chain."""

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer `request`, usually by awaiting `next`."""
        ...


def compose(middlewares: Iterable[Middleware], endpoint: Handler) -> Handler:
    """
    Wrap `endpoint` so that the first middleware listed sees a request first.

    Built once per snapshot, never per request.
    """
    handler = endpoint
    for middleware in reversed(tuple(middlewares)):
        handler = _link(middleware, handler)
    return handler


def _link(middleware: Middleware, next: Handler) -> Handler:
    return lambda request: middleware(request, next)

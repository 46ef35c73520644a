"""What follows a head: a one-shot stream, piped or read, with back-pressure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol, Self

from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.task import Waiter

HIGH_WATER: Final = 64 * 1024  # bytes an unpiped body may hold before its source is paused


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
        is_complete: The source has handed over everything.
        begun: Whether anything has been taken from it.
        ask: Set where the client waits to be asked for the body (100-continue): called when
            somebody here reads it; whoever pipes it passes the question on instead.
        on_failure: Set by whoever has to know that the source failed: called with the reason.

    """

    __slots__ = (
        "_chunks", "_closed", "_error", "_held", "_owned", "_paused", "_sink",
        "_source", "_waiter", "ask", "begun", "is_complete", "length", "on_failure", "trailers",
    )  # fmt: skip

    def __init__(self, source: Source | None = None, length: int | None = None) -> None:
        self.length = length
        self.trailers = EMPTY_HEADERS
        self.begun = False
        self.ask: Callable[[], None] | None = None
        self.on_failure: Callable[[Exception], None] | None = None
        self._source = source
        self._sink: Sink | None = None
        self._chunks: list[bytes] = []
        self._held = 0
        self.is_complete = False
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
        body.is_complete = True
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
        if self._waiter is not None:
            self._waiter.resolve(None)

    def end(self, trailers: Headers = EMPTY_HEADERS) -> None:
        """Say that nothing more comes."""
        self.is_complete = True
        self.trailers = trailers
        self._source = None
        if self._sink is not None:
            self._sink.finish(trailers)
        if self._waiter is not None:
            self._waiter.resolve(None)

    def fail(self, error: Exception) -> None:
        """Say that the rest will never come."""
        if self.is_complete or self._error is not None:
            return
        self._error = error
        self._source = None
        if self.on_failure is not None:
            self.on_failure(error)
        if self._sink is not None:
            self._sink.fail(error)
        if self._waiter is not None:
            self._waiter.resolve(None)

    def now_from(self, source: Source) -> None:
        """Let `source` feed it: it was made before there was one."""
        self._source = source
        if self._closed:
            source.cancel()

    # -- the reader's side

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

    def put_back(self, data: bytes) -> None:
        """Undo `take` or `pipe`: `data` is all that was taken, and nobody has acted on it."""
        self._sink = None
        self.begun = False
        if data:
            self._chunks.insert(0, data)
            self._held += len(data)

    def pipe(self, sink: Sink) -> None:
        """Send everything to `sink`, what has arrived at once and the rest as it comes."""
        self.begun = True
        data = self.take()
        self._sink = sink
        was_paused, self._paused = self._paused, False
        if data:
            sink.write(data)
        if self._error is not None:
            sink.fail(self._error)
        elif self.is_complete:
            sink.finish(self.trailers)
        elif was_paused and not self._paused and self._source is not None:
            self._source.resume()  # unless the sink has just asked for a pause itself

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
            if self.is_complete or self._closed:
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
        if source is not None and not self.is_complete:
            source.cancel()
        if owned is not None:
            for release in owned:
                release()


class BodyTooLargeError(Exception):
    """A body that had to be read whole is larger than whoever reads it allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than {limit} bytes")
        self.limit = limit


class NoBody(Body):
    """The body of a message that has none: nothing to read, and nothing to release."""

    __slots__ = ()

    def owns(self, release: Callable[[], None]) -> None:  # noqa: ARG002
        """Refuse: it is shared, so it is never closed."""
        raise TypeError("a body that is not there owns nothing; use Exchange.on_close")

    def pipe(self, sink: Sink) -> None:
        """End at once."""
        sink.finish(EMPTY_HEADERS)

    def close(self) -> None:
        """Do nothing."""


NO_BODY: Final = NoBody.of(b"")

"""The sending half of an HTTP/2 connection: field blocks, flow control, and whose turn it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from a3s_gateway.errors import LocalProtocolError
from a3s_gateway.headers import EMPTY_HEADERS, SECRET_NAME, Headers
from a3s_gateway.protocol.cache import TwoGenerations
from a3s_gateway.protocol.codec import Http2Event, WindowOpened

from . import frames
from .hpack import Encoder, Field
from .settings import Settings
from .stream import Stream

TURN: Final = 128 * 1024  # bytes that `send_waiting` makes before it asks whether they are taken
# For each frame that our answers cause, a peer may send so many that carry nothing.
_CREDIT: Final = 4
_MAX_CREDIT: Final = 1024
_CACHED_FIELD: Final = 256  # bytes

_fields: Final[TwoGenerations[bytes, Field]] = TwoGenerations(4096)


class Sender:
    """
    Makes frames, and keeps the data that the peer does not take yet.

    What is to be written is collected; `take_output` hands it over. Data that no window is
    open for waits in its stream, in the order in which it was sent; the streams that wait
    take turns, a frame each. To send on a stream that is gone is harmless: whoever sends may
    not have heard yet that the peer has reset it.

    Attributes:
        streams: Those that are open on either side, by number.
        is_held: The transport does not take more: data waits although windows are open.

    """

    __slots__ = (
        "_credit", "_encoder", "_largest_frame", "_out", "_peer_initial_window", "_send_window",
        "_waiting", "is_held", "local", "streams",
    )  # fmt: skip

    def __init__(self, local: Settings) -> None:
        self.local = local
        self.streams: dict[int, Stream] = {}
        self.is_held = False
        self._encoder = Encoder()
        self._out: list[bytes | memoryview] = []
        self._send_window = frames.DEFAULT_WINDOW
        self._peer_initial_window = frames.DEFAULT_WINDOW
        self._largest_frame = frames.DEFAULT_FRAME_SIZE
        self._waiting: dict[int, Stream] = {}  # those with data that could not be sent
        self._credit = _MAX_CREDIT

    def take_output(self) -> bytes:
        """Return what is to be written now."""
        out = self._out
        if not out:
            return b""
        self._out = []
        return b"".join(out)

    # -- what is sent

    def send_fields(self, number: int, fields: Iterable[Field], *, is_last: bool) -> None:
        """Send a head; `is_last` when nothing follows it."""
        stream = self._awaiting_head(number)
        if stream is not None:
            self._send_block(stream, self._encoder.encode(fields), is_last=is_last)

    def _awaiting_head(self, number: int) -> Stream | None:
        """Return the stream, if it is there: only what is sent may be encoded."""
        stream = self.streams.get(number)
        if stream is not None and (not stream.is_sending or stream.held):
            raise LocalProtocolError(f"a head on stream {number}, after its body")
        return stream

    def send_data(self, number: int, data: bytes, *, is_last: bool = False) -> bool:
        """
        Send bytes of a body.

        Returns:
            Whether all of it is on its way. What is not waits, and more should come only
            after `WindowOpened`.

        """
        stream = self.streams.get(number)
        if stream is None:
            return True
        if not stream.is_sending or stream.ends:
            raise LocalProtocolError(f"data on stream {number}, which has ended")
        size = len(data)
        if not size and not stream.held:
            if is_last:
                self._send_frame(stream, data, is_last=True)
            return True
        if (
            size <= stream.send_window
            and size <= self._send_window
            and size <= self._largest_frame
            and not self.is_held
            and not stream.held
        ):
            self._send_frame(stream, data, is_last=is_last)
            return True
        if size:
            if stream.pending is None:
                stream.pending = deque()
            stream.pending.append(data)
            stream.held += size
        stream.ends = is_last
        self._waiting[number] = stream
        if not self.is_held:
            self._send_pending(stream, stream.held)
        return number not in self._waiting

    def send_end(self, number: int, trailers: Headers = EMPTY_HEADERS) -> bool:
        """End a stream, after what waits in it; the same is returned as by `send_data`."""
        if not len(trailers):
            return self.send_data(number, b"", is_last=True)
        stream = self.streams.get(number)
        if stream is None:
            return True
        if not stream.is_sending or stream.ends:
            raise LocalProtocolError(f"trailers on stream {number}, which has ended")
        if not stream.held:
            block = self._encoder.encode(fields_of(trailers))
            self._send_block(stream, block, is_last=True)
            return True
        stream.ends = True
        stream.trailers = trailers
        return False

    def send_reset(self, number: int, code: int) -> None:
        """Break a stream off; harmless when it has ended."""
        stream = self.streams.get(number)
        if stream is not None:
            self._out.append(frames.rst_stream(number, code))
            self._drop(stream, by_us=True)

    def pending_on(self, number: int) -> int:
        """Bytes that wait in a stream for the peer to take them."""
        stream = self.streams.get(number)
        return 0 if stream is None else stream.held

    @property
    def can_send(self) -> bool:
        """Whether data waits for no more than a turn of `send_waiting`."""
        if self._send_window <= 0 or self.is_held:
            return False
        return any(stream.send_window > 0 for stream in self._waiting.values())

    def send_waiting(self) -> list[Http2Event]:
        """Send what windows are open for, a frame from each stream in turn, up to `TURN`."""
        events: list[Http2Event] = []
        budget = TURN
        progress = True
        while progress and budget > 0 and self._send_window > 0:
            progress = False
            for stream in tuple(self._waiting.values()):
                sent = self._send_pending(stream, self._largest_frame)
                if sent:
                    progress = True
                    budget -= sent
                if not stream.held:
                    events.append(WindowOpened(stream.number))
                elif sent:  # its turn is over
                    self._waiting[stream.number] = self._waiting.pop(stream.number)
                if budget <= 0 or self._send_window <= 0:
                    break
        return events

    # -- how

    def _send_block(self, stream: Stream, block: bytes, *, is_last: bool) -> None:
        self._out.append(frames.headers(stream.number, block, self._largest_frame, is_last=is_last))
        self._earn()
        if is_last:
            self._end_sending(stream)

    def _send_frame(self, stream: Stream, data: bytes, *, is_last: bool) -> None:
        size = len(data)
        out = self._out
        flags = frames.END_STREAM if is_last else 0
        out.append(frames.header(size, frames.DATA, flags, stream.number))
        out.append(data)
        stream.send_window -= size
        self._send_window -= size
        self._earn()
        if is_last:
            self._end_sending(stream)

    def _earn(self) -> None:
        if self._credit < _MAX_CREDIT:
            self._credit += _CREDIT

    def _send_pending(self, stream: Stream, most: int) -> int:
        """Send up to `most` bytes of what waits, as far as windows are open."""
        pending = stream.pending
        sent = 0
        while pending and sent < most:
            data = pending[0]
            room = min(stream.send_window, self._send_window, self._largest_frame)
            if room <= 0:
                return sent
            size = len(data)
            if size > room:
                piece: bytes | memoryview = memoryview(data)[:room]
                pending[0] = memoryview(data)[room:]
                size = room
                if room == self._largest_frame:  # not cut short by a window
                    self._earn()
            else:
                piece = data
                pending.popleft()
                self._earn()
            stream.send_window -= size
            self._send_window -= size
            stream.held -= size
            sent += size
            is_last = stream.ends and not pending and stream.trailers is None
            flags = frames.END_STREAM if is_last else 0
            self._out.append(frames.header(size, frames.DATA, flags, stream.number))
            self._out.append(piece)
            if is_last:
                self._end_sending(stream)
        if not pending:
            self._all_sent(stream)
        return sent

    def _all_sent(self, stream: Stream) -> None:
        self._waiting.pop(stream.number, None)
        stream.pending = None
        if stream.is_sending and stream.ends:
            trailers, stream.trailers = stream.trailers, None
            if trailers is None:
                self._send_frame(stream, b"", is_last=True)
            else:
                block = self._encoder.encode(fields_of(trailers))
                self._send_block(stream, block, is_last=True)

    def _end_sending(self, stream: Stream) -> None:
        stream.is_sending = False
        if not stream.is_receiving:
            self._drop(stream, by_us=False)

    def _drop(self, stream: Stream, *, by_us: bool) -> None:
        """Forget a stream; `by_us`: frames of it may still be on their way to us."""
        raise NotImplementedError


def fields_of(headers: Headers) -> list[Field]:
    """Return header lines as HPACK takes them."""
    known = _fields.young.get
    return [known(header.wire) or _field(header.name, header.value, header.wire)
            for header in headers]  # fmt: skip


def _field(name: str, value: str, wire: bytes) -> Field:
    field = _fields.get(wire)
    if field is None:
        field = (name.encode("latin-1"), value.encode("latin-1"))
        if len(wire) <= _CACHED_FIELD and not SECRET_NAME.search(name):
            _fields.put(wire, field)
    return field

"""The receiving half of an HTTP/2 connection: field blocks, data, windows, and faults."""

from __future__ import annotations

from typing import Final

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.protocol.codec import Data, End, Http2Event, Reset

from . import frames
from .allowance import Allowance
from .hpack import Decoder, Field, HeaderListTooLargeError, HpackError
from .sender import Sender
from .settings import Settings
from .stream import UNKNOWN_LENGTH, Stream

_MAX_BLOCK_FRAMES: Final = 16  # HEADERS and CONTINUATION; each but the last may hold 16 KiB
_REMEMBERED_RESETS: Final = 256  # streams that we reset and of which frames may still come
_MAX_GAPS: Final = 64  # skipped ranges of stream numbers that are remembered
_DEPENDS_ON_ITSELF: Final = 0x100  # beside the flags of HEADERS, which are of one byte


class ConnectionFaultError(RemoteProtocolError):
    """The peer broke a rule that ends the connection; `error` is the code for its GOAWAY."""

    def __init__(self, error: int, reason: str) -> None:
        super().__init__(reason)
        self.error = error


class Receiver(Sender):
    """
    Takes what belongs to streams, and keeps count of what is no use to anybody.

    Attributes:
        last_stream: The highest number that the peer has begun.

    """

    __slots__ = (
        "_announced_windows", "_block", "_block_flags", "_block_frames", "_block_size",
        "_block_stream", "_control", "_decoder", "_events", "_gaps", "_now", "_receive_window",
        "_resets", "_stream_window", "_unconsumed", "_was_reset", "last_stream",
    )  # fmt: skip

    def __init__(self, local: Settings) -> None:
        super().__init__(local)
        self.last_stream = 0
        self._events: list[Http2Event] = []
        self._now = 0.0
        self._decoder = Decoder(local.max_header_list)
        self._receive_window = local.connection_window
        self._unconsumed = 0
        self._stream_window = local.stream_window
        self._announced_windows = [local.stream_window]  # of SETTINGS not acknowledged yet
        self._block: list[bytes] = []  # of a field block that goes on
        self._block_stream = 0
        self._block_flags = 0
        self._block_size = 0
        self._block_frames = 0
        self._was_reset: dict[int, None] = {}
        self._gaps: list[range] = []
        self._control = Allowance(local.max_control_frames_per_second)
        self._resets = Allowance(local.max_resets_per_second)

    # -- what we allow

    def become(self, local: Settings) -> None:
        """Allow the peer other than before; it has been sent SETTINGS that say so."""
        before, self.local = self.local, local
        self._decoder.max_list_size = local.max_header_list
        self._control = Allowance(local.max_control_frames_per_second)
        self._resets = Allowance(local.max_resets_per_second)
        self._announced_windows.append(local.stream_window)
        self._grant(local.connection_window - before.connection_window)

    def _settings_are_known(self) -> None:
        """Take note that the peer goes by the SETTINGS that it was sent (RFC 9113 §6.9.2)."""
        if not self._announced_windows:
            return
        window = self._announced_windows.pop(0)
        change, self._stream_window = window - self._stream_window, window
        for stream in self.streams.values():
            stream.receive_window += change
            self.consumed(stream.number, 0)  # what it lacks now: it may be waiting for it

    # -- field blocks

    def _receive_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (frames.PADDED | frames.PRIORITY_FLAG):
            if flags & frames.PADDED:
                payload = _unpadded(payload)
            if flags & frames.PRIORITY_FLAG:
                if len(payload) < 5:
                    raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "HEADERS is too short")
                depends_on = frames.NUMBER.unpack_from(payload)[0] & frames.LAST_STREAM
                payload = payload[5:]
                if depends_on == number:
                    flags |= _DEPENDS_ON_ITSELF
        if flags & frames.END_HEADERS:
            self._receive_block(number, payload, flags)
            return
        self._block_stream, self._block_flags = number, flags
        self._block_frames, self._block_size = 1, len(payload)
        self._block = [payload]

    def _receive_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if not self._block_stream:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block_frames += 1
        self._block_size += len(payload)
        if (
            self._block_frames > _MAX_BLOCK_FRAMES
            or self._block_size > 2 * self.local.max_header_list
        ):
            # Up to twice the limit it is decoded, and refused. What is not decoded costs the
            # connection: its table is not the peer's any more.
            raise ConnectionFaultError(frames.ENHANCE_YOUR_CALM, "a field block is too large")
        self._block.append(payload)
        if flags & frames.END_HEADERS:
            block, self._block, self._block_stream = b"".join(self._block), [], 0
            self._receive_block(number, block, self._block_flags)

    def _receive_block(self, number: int, block: bytes, flags: int) -> None:
        try:
            fields: list[Field] | None = self._decoder.decode(block)
        except HpackError as error:
            raise ConnectionFaultError(frames.COMPRESSION_ERROR, str(error)) from None
        except HeaderListTooLargeError:
            fields = None
        is_last = bool(flags & frames.END_STREAM)
        stream = self.streams.get(number)
        if flags & _DEPENDS_ON_ITSELF:
            self._refuse_self_dependency(number)
        elif stream is None:
            self._receive_head_of_none(number, fields, is_last=is_last)
        elif not stream.is_receiving:
            self._fault(number, frames.STREAM_CLOSED, "HEADERS after the end of a stream")
        else:
            self._receive_fields(stream, fields, is_last=is_last)

    def _refuse_self_dependency(self, number: int) -> None:
        """Refuse what RFC 7540 §5.3.1 forbids; priorities are otherwise ignored (RFC 9113)."""
        self._note_number(number)
        self._fault(number, frames.PROTOCOL_ERROR, "a stream depends on itself")

    def _receive_head_of_none(
        self, number: int, fields: list[Field] | None, *, is_last: bool
    ) -> None:
        """Take a block for a stream that is not open: it may be a new one."""
        raise NotImplementedError

    def _receive_fields(self, stream: Stream, fields: list[Field] | None, *, is_last: bool) -> None:
        """Take a block on an open stream; None if it was larger than we accept."""
        raise NotImplementedError

    def _note_number(self, number: int) -> None:
        """Take note that the peer has begun a stream, and of the numbers that it has skipped."""
        if number <= self.last_stream:
            return
        if number > self.last_stream + 2:
            if len(self._gaps) >= _MAX_GAPS:
                del self._gaps[0]
            self._gaps.append(range(self.last_stream + 1, number))
        self.last_stream = number

    def _was_skipped(self, number: int) -> bool:
        return any(number in gap for gap in self._gaps)

    def _is_idle(self, number: int) -> bool:
        """Whether a stream that is not open has never been."""
        raise NotImplementedError

    # -- data

    def _receive_data(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "DATA on stream 0")
        size = len(payload)
        if size > self._receive_window:
            raise ConnectionFaultError(
                frames.FLOW_CONTROL_ERROR, "the connection's window is exceeded"
            )
        self._receive_window -= size
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        stream = self.streams.get(number)
        if stream is None or not stream.is_receiving:
            self._grant(size)
            self._receive_stray(number, "DATA")
            return
        if size > stream.receive_window:
            self._grant(size)
            self._fault(number, frames.FLOW_CONTROL_ERROR, "a stream's window is exceeded")
            return
        stream.receive_window -= size
        stream.unconsumed += size
        if size != len(payload):
            self.consumed(number, size - len(payload))
        self._receive_payload(stream, payload, is_last=bool(flags & frames.END_STREAM))

    def _receive_payload(self, stream: Stream, payload: bytes, *, is_last: bool) -> None:
        number = stream.number
        if not payload and not is_last:
            self._spend_control()
            return
        if stream.expected != UNKNOWN_LENGTH:
            stream.expected -= len(payload)
            if stream.expected < 0 or (is_last and stream.expected):
                self._fault(number, frames.PROTOCOL_ERROR, "DATA is not what Content-Length says")
                return
        if not stream.has_head:
            self._fault(number, frames.PROTOCOL_ERROR, "DATA before the head")
            return
        self._events.append(Data(payload, is_last, number))
        if is_last:
            self._end_receiving(stream)

    def consumed(self, number: int, size: int = frames.LARGEST_WINDOW) -> None:
        """Let the peer send `size` bytes more, or as many as have come: they found a reader."""
        stream = self.streams.get(number)
        if stream is None:
            return  # all that was not consumed was granted when it ended
        size = min(size, stream.unconsumed)
        stream.unconsumed -= size
        self._grant(size)
        if not stream.is_receiving:
            return
        window = self._stream_window
        free = window - stream.receive_window - stream.unconsumed
        if free * 2 >= window:
            stream.receive_window += free
            self._out.append(frames.window_update(number, free))

    def _grant(self, size: int) -> None:
        self._unconsumed += size
        unconsumed, left = self._unconsumed, self._receive_window
        if unconsumed > 0 and unconsumed * 4 >= min(self.local.connection_window, left * 4):
            self._receive_window += self._unconsumed
            self._out.append(frames.window_update(0, self._unconsumed))
            self._unconsumed = 0

    def _end_receiving(self, stream: Stream) -> None:
        stream.is_receiving = False
        if not stream.is_sending:
            self._drop(stream, by_us=False)

    def _receive_end(self, stream: Stream, event: End) -> None:
        """End a stream by trailers."""
        if stream.expected > 0:
            self._fault(
                stream.number, frames.PROTOCOL_ERROR, "DATA is not what Content-Length says"
            )
            return
        self._events.append(event)
        self._end_receiving(stream)

    def _drop(self, stream: Stream, *, by_us: bool) -> None:
        number = stream.number
        self.streams.pop(number, None)
        self._waiting.pop(number, None)
        if stream.unconsumed:
            self._grant(stream.unconsumed)
            stream.unconsumed = 0
        if by_us:
            self._remember_reset(number)

    def _remember_reset(self, number: int) -> None:
        """Remember that frames of a stream may still come, and that this is no fault."""
        was_reset = self._was_reset
        if len(was_reset) >= _REMEMBERED_RESETS:
            del was_reset[next(iter(was_reset))]
        was_reset[number] = None

    # -- faults

    def _receive_stray(self, number: int, what: str) -> None:
        """Judge a frame on a stream that does not receive."""
        if number in self._was_reset:
            self._spend_control()
        elif number not in self.streams and self._is_idle(number):
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, f"{what} on an idle stream")
        else:
            self._fault(number, frames.STREAM_CLOSED, f"{what} after the end of a stream")

    def _fault(self, number: int, code: int, reason: str) -> None:
        """Reset a stream for a fault of the peer's; it may do so only so often."""
        stream = self.streams.get(number)
        self._out.append(frames.rst_stream(number, code))
        if stream is None:
            self._remember_reset(number)
        else:
            self._drop(stream, by_us=True)
            self._events.append(Reset(number, code, reason))
        self._spend_reset()

    def _spend_reset(self) -> None:
        # Whoever resets, us too where the peer has provoked it: the work of a request is done.
        if not self._resets.take(self._now):
            raise ConnectionFaultError(frames.ENHANCE_YOUR_CALM, "too many streams are reset")

    def _spend_control(self) -> None:
        if self._credit > 0:
            self._credit -= 1
        elif not self._control.take(self._now):
            raise ConnectionFaultError(
                frames.ENHANCE_YOUR_CALM, "too many frames that carry nothing"
            )


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFaultError(frames.PROTOCOL_ERROR, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]

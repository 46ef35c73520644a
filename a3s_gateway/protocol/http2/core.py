"""
An HTTP/2 connection, whichever side one is on (RFC 9113).

`server.py` and `client.py` add what heads mean, and who may begin a stream.
"""

from __future__ import annotations

from typing import Final

from a3s_gateway.protocol.codec import (
    RESET_BY_PEER,
    Closed,
    GoingAway,
    Http2Event,
    Reset,
    WindowOpened,
)

from . import frames, settings
from .receiver import ConnectionFaultError, Receiver
from .settings import Settings

_OF_BLOCKS: Final = (frames.HEADERS, frames.CONTINUATION)
LARGEST_SENT: Final = 64 * 1024  # bytes of a frame, so that streams take turns


class Http2Core(Receiver):
    """
    Bytes in, events out; and it keeps count of what a peer does that is no use to anybody.

    The peer's faults are events: `Reset` for a stream, `Closed` for the connection. What
    the protocol itself answers (acknowledgements, windows, resets, GOAWAY) is added to what
    `take_output` returns.

    Attributes:
        is_closed: GOAWAY with an error is sent, nothing more is read.

    """

    __slots__ = ("_buffer", "_is_greeted", "is_closed")

    def __init__(self, local: Settings) -> None:
        super().__init__(local)
        self.is_closed = False
        self._buffer = b""
        self._is_greeted = False  # the peer's first SETTINGS has come

    # -- receiving

    @property
    def is_greeted(self) -> bool:
        """Whether the peer's SETTINGS have come."""
        return self._is_greeted

    @property
    def is_in_head(self) -> bool:
        """Whether the rest of a field block is to come, or what may be one."""
        if self._block_stream:
            return True
        buffer = self._buffer
        return bool(buffer) and (len(buffer) < 4 or buffer[3] in _OF_BLOCKS)

    def receive_data(self, data: bytes, now: float) -> list[Http2Event]:
        """
        Take the next bytes off the wire.

        Args:
            data: In any chunks.
            now: Monotonic time in seconds.

        """
        if self.is_closed:
            return []
        self._now = now
        if self._buffer:
            data = self._buffer + data
        events: list[Http2Event] = []
        self._events = events
        try:
            rest = self._receive_frames(data)
        except ConnectionFaultError as fault:
            self._close(fault)
        else:
            self._buffer = data[rest:] if rest else data
        self._events = []
        return events

    def _receive_frames(self, data: bytes) -> int:
        """Act on all whole frames; return where the first that is not whole begins."""
        at = 0
        end = len(data)
        unpack = frames.HEADER.unpack_from
        while end - at >= frames.HEADER_SIZE:
            high, low, kind, flags, number = unpack(data, at)
            length = high << 8 | low
            if length > frames.DEFAULT_FRAME_SIZE:
                raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "a frame is too large")
            if not self._is_greeted and (kind != frames.SETTINGS or flags & frames.ACK):
                raise ConnectionFaultError(frames.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            start = at + frames.HEADER_SIZE
            if end - start < length:
                break
            at = start + length
            self._receive_frame(kind, flags, number & frames.LAST_STREAM, data[start:at])
        return at

    def _receive_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block_stream and (kind != frames.CONTINUATION or number != self._block_stream):
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "a field block is interrupted")
        if kind == frames.HEADERS:
            self._receive_headers(flags, number, payload)
        elif kind == frames.DATA:
            self._receive_data(flags, number, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._receive_window_update(number, payload)
        elif kind == frames.SETTINGS:
            self._receive_settings(flags, number, payload)
        elif kind == frames.RST_STREAM:
            self._receive_reset(number, payload)
        elif kind == frames.CONTINUATION:
            self._receive_continuation(flags, number, payload)
        else:
            self._receive_other(kind, flags, number, payload)

    def _receive_other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.PING:
            self._receive_ping(flags, number, payload)
        elif kind == frames.PRIORITY:
            self._receive_priority(number, payload)
        elif kind == frames.GOAWAY:
            self._receive_goaway(number, payload)
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "nobody may push")
        else:
            self._spend_control()  # §4.1: unknown types are ignored

    # -- windows and settings

    def _receive_window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not of 4 bytes")
        self._spend_control()
        increment = frames.NUMBER.unpack(payload)[0] & frames.LARGEST_WINDOW
        if number:
            self._widen(number, increment)
            return
        if not increment:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "a window is increased by nothing")
        self._send_window += increment
        if self._send_window > frames.LARGEST_WINDOW:
            raise ConnectionFaultError(frames.FLOW_CONTROL_ERROR, "the window is too large")
        self._open_windows()

    def _widen(self, number: int, increment: int) -> None:
        """Let a stream send more."""
        stream = self.streams.get(number)
        if stream is None:
            if self._is_idle(number):
                raise ConnectionFaultError(frames.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            return
        if not increment:
            self._fault(number, frames.PROTOCOL_ERROR, "a window is increased by nothing")
            return
        stream.send_window += increment
        if stream.send_window > frames.LARGEST_WINDOW:
            self._fault(number, frames.FLOW_CONTROL_ERROR, "a stream's window is too large")
        elif number in self._waiting and not self.is_held:
            self._send_pending(stream, stream.held)
            if number not in self._waiting:
                self._events.append(WindowOpened(number))

    def _open_windows(self) -> None:
        if self._waiting and not self.is_held:
            self._events += self.send_waiting()

    def _receive_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFaultError(
                    frames.FRAME_SIZE_ERROR, "SETTINGS acknowledged with values"
                )
            self._spend_control()
            self._settings_are_known()
            return
        if len(payload) % 6:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "SETTINGS is cut short")
        if self._is_greeted:
            self._spend_control()
        self._is_greeted = True
        self.apply_settings(payload)
        self._out.append(frames.SETTINGS_ACK)

    def apply_settings(self, payload: bytes) -> None:
        """
        Do as the peer's SETTINGS say.

        Raises:
            ConnectionFaultError: A value is out of range.

        """
        for identifier, value in settings.parse(payload):
            code = settings.fault_in(identifier, value)
            if code:
                raise ConnectionFaultError(code, f"setting {identifier} is out of range")
            self._apply(identifier, value)

    def _apply(self, identifier: int, value: int) -> None:
        if identifier == frames.INITIAL_WINDOW_SIZE:
            change = value - self._peer_initial_window
            self._peer_initial_window = value
            for stream in self.streams.values():
                stream.send_window += change
                if stream.send_window > frames.LARGEST_WINDOW:
                    raise ConnectionFaultError(frames.FLOW_CONTROL_ERROR, "a window is too large")
            if change > 0:
                self._open_windows()
        elif identifier == frames.MAX_FRAME_SIZE:
            self._largest_frame = min(value, LARGEST_SENT)
        elif identifier == frames.HEADER_TABLE_SIZE:
            self._encoder.allow(value)

    # -- the rest

    def _receive_reset(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "RST_STREAM is not of 4 bytes")
        if not number:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "RST_STREAM on stream 0")
        stream = self.streams.get(number)
        if stream is None:
            if self._is_idle(number):
                raise ConnectionFaultError(frames.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
            self._spend_control()
            return
        self._drop(stream, by_us=False)
        self._events.append(Reset(number, frames.NUMBER.unpack(payload)[0], RESET_BY_PEER))
        self._spend_reset()

    def _receive_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "PING is not of 8 bytes")
        self._spend_control()
        if not flags & frames.ACK:
            self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _receive_priority(self, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "PRIORITY on stream 0")
        self._spend_control()
        if len(payload) != 5:
            self._fault(number, frames.FRAME_SIZE_ERROR, "PRIORITY is not of 5 bytes")
        elif frames.NUMBER.unpack_from(payload)[0] & frames.LAST_STREAM == number:
            self._fault(number, frames.PROTOCOL_ERROR, "a stream depends on itself")

    def _receive_goaway(self, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFaultError(frames.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFaultError(frames.FRAME_SIZE_ERROR, "GOAWAY is too short")
        self._spend_control()
        last = frames.NUMBER.unpack_from(payload)[0] & frames.LAST_STREAM
        self._events.append(GoingAway(last, frames.NUMBER.unpack_from(payload, 4)[0]))

    def _close(self, fault: ConnectionFaultError) -> None:
        self.is_closed = True
        self._buffer = b""
        self._out.append(frames.goaway(self.last_stream, fault.error, fault.reason))
        self._events.append(Closed(fault.error, fault.reason))

    def send_goaway(self, last: int, code: int = frames.NO_ERROR) -> None:
        """Say which streams are still served: those up to `last`."""
        self._out.append(frames.goaway(last, code))

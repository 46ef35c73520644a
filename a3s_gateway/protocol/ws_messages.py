"""
The server's side of an open WebSocket (RFC 6455): bytes in, whole messages out, and frames to send.

wsproto reads and writes the frames. Its `Connection` is not used, since each has a generator that
refers to it: a cycle, which is not collected once it is frozen.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import define, field, frozen
from wsproto.frame_protocol import (
    CloseReason,
    Frame,
    FrameDecoder,
    FrameProtocol,
    MessageDecoder,
    Opcode,
    ParseFailed,
)

__all__ = [
    "Binary", "Close", "CloseReason", "Event", "Ping", "Reader", "Text", "closing", "framed",
    "ping", "pong",
]  # fmt: skip


@frozen
class Text:
    """A whole text message."""

    text: str


@frozen
class Binary:
    """The beginning of a message that is not text."""


@frozen
class Ping:
    """The peer wants to know whether somebody is there."""

    payload: bytes


@frozen
class Close:
    """
    The end, since the peer closes, or breaks a rule.

    `code` is what a closing frame in return should say; None: the peer gave none.
    """

    code: int | None


Event = Text | Binary | Ping | Close


@define(eq=False)
class Reader:
    """
    Reads what a client sends; nothing is read after a `Close`.

    Args:
        max_message: Bytes of the longest message.

    """

    max_message: int
    _frames: FrameDecoder = field(factory=lambda: FrameDecoder(client=False), init=False)
    _messages: MessageDecoder = field(factory=MessageDecoder, init=False)
    _parts: list[str] = field(factory=list, init=False)  # of a message that is not complete
    _size: int = field(default=0, init=False)
    _is_over: bool = field(default=False, init=False)

    def receive_data(self, data: bytes) -> list[Event]:
        """Take the next bytes; returns what is complete with them."""
        events: list[Event] = []
        if self._is_over:
            return events
        self._frames.receive_bytes(data)
        try:
            while not self._is_over and (frame := self._frames.process_buffer()) is not None:
                event = self._read(frame)
                if event is not None:
                    events.append(event)
        except ParseFailed as failed:
            events.append(self._end(failed.code))
        return events

    def _read(self, frame: Frame) -> Event | None:
        match frame.opcode:
            case Opcode.PING:
                return Ping(bytes(frame.payload))  # type: ignore[arg-type]  # of a control frame
            case Opcode.PONG:
                return None
            case Opcode.CLOSE:
                return self._end(_code_of(bytes(frame.payload)))  # type: ignore[arg-type]
            case _:
                return self._add(len(frame.payload), self._messages.process_frame(frame))

    def _add(self, size: int, part: Frame) -> Event | None:
        if part.opcode is Opcode.BINARY:
            self._is_over = True
            return Binary()
        assert isinstance(part.payload, str)
        self._size += size
        if self._size > self.max_message:
            return self._end(CloseReason.MESSAGE_TOO_BIG)
        if part.payload:
            self._parts.append(part.payload)
        if not part.message_finished:
            return None
        text, self._parts, self._size = "".join(self._parts), [], 0
        return Text(text)

    def _end(self, code: int | None) -> Close:
        self._is_over = True
        return Close(code)


def _code_of(payload: bytes) -> int | None:
    """Return the code of a closing frame, None where there is none (RFC 6455 §5.5.1, §7.4)."""
    if not payload:
        return None
    if len(payload) == 1:
        raise ParseFailed("a code of one byte")
    (code,) = struct.unpack("!H", payload[:2])
    is_known = code in _SENDABLE or _FIRST_OF_LIBRARIES <= code <= _LAST
    if not is_known:
        raise ParseFailed(f"the code {code} cannot be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError as error:
        raise ParseFailed(str(error), CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None
    return int(code)


# RFC 6455 §7.4.1: three codes only say what was not sent.
_SENDABLE: Final = frozenset(CloseReason) - {
    CloseReason.NO_STATUS_RCVD,
    CloseReason.ABNORMAL_CLOSURE,
    CloseReason.TLS_HANDSHAKE_FAILED,
}
_FIRST_OF_LIBRARIES: Final = 3000
_LAST: Final = 4999

_WRITER: Final = FrameProtocol(client=False, extensions=[])  # keeps nothing between whole messages


def framed(text: str) -> bytes:
    """Put a text message into a frame; a server's are not masked, so it is one for everybody."""
    return bytes(_WRITER.send_data(text))


def ping() -> bytes:
    """Ask whether somebody is there."""
    return bytes(_WRITER.ping())


def pong(payload: bytes) -> bytes:
    """Answer that somebody is."""
    return bytes(_WRITER.pong(payload))


def closing(code: int | None, reason: str = "") -> bytes:
    """Say that nothing more comes."""
    return bytes(_WRITER.close(code, reason if code is not None else None))

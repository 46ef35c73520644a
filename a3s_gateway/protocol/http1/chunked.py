"""The chunked transfer coding (RFC 9112 §7.1), decoded and encoded."""

from __future__ import annotations

import re
from typing import Final

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import EMPTY_HEADERS, Headers

from . import fields

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*+;[ \t]*+" + _TOKEN
    + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+)*+"
)  # fmt: skip
LONGEST_PLAIN_SIZE: Final = 8  # bytes with CRLF: no piece has more than 256 KiB
MAX_SIZE_LINE: Final = 4096  # bytes, with extensions
# Extensions cost the sender one byte and us a parse: allow them in proportion to payload.
MAX_OVERHEAD: Final = 16 * 1024  # bytes

_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4


class ChunkedDecoder:
    """
    Takes the coding in any cuts, gives the payload; `rest` is what follows the message.

    Attributes:
        is_done: The last chunk and the trailers have been read.
        trailers: Valid once `is_done`.
        rest: The bytes behind the end, once `is_done`.

    """

    __slots__ = (
        "_buffer",
        "_max_trailers",
        "_overhead",
        "_remaining",
        "_state",
        "rest",
        "trailers",
    )

    def __init__(self, max_trailers: int) -> None:
        self._buffer = b""
        self._max_trailers = max_trailers
        self._overhead = 0
        self._remaining = 0
        self._state = _SIZE
        self.rest = b""
        self.trailers: Headers = EMPTY_HEADERS

    @property
    def is_done(self) -> bool:
        """Whether the message has ended."""
        return self._state == _DONE

    def feed(self, data: bytes) -> bytes:
        """
        Decode the next bytes; returns the payload in them.

        Raises:
            RemoteProtocolError: The coding is malformed or abused.

        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        elif self._state == _SIZE and not self._overhead:
            # A piece of a stream is often one chunk: compared with how we would write its size.
            start = data.find(b"\r\n", 0, LONGEST_PLAIN_SIZE)
            payload = data[start + 2 : -2]
            if payload and data.endswith(b"\r\n") and data[:start] == b"%x" % len(payload):
                return payload
        parts: list[bytes] = []
        position = 0
        size = len(data)
        while position < size:
            if self._state == _DATA:
                piece = data[position : position + self._remaining]
                parts.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
                if self._remaining == 0:
                    self._state = _DATA_END
                continue
            advanced = self._read_framing(data, position)
            if advanced == position:
                self._buffer = data[position:]
                break
            position = advanced
            if self._state == _DONE:
                self.rest = data[position:]
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_framing(self, data: bytes, position: int) -> int:
        """Read one line or the trailers; returns `position` when they are not all there."""
        if self._state == _SIZE:
            return self._read_size(data, position)
        if self._state == _DATA_END:
            return self._read_data_end(data, position)
        return self._read_trailers(data, position)

    def _read_size(self, data: bytes, position: int) -> int:
        end = data.find(b"\r\n", position)
        if end < 0:
            self._check_unfinished(data, position)
            return position
        if end - position > MAX_SIZE_LINE:
            raise RemoteProtocolError("a chunk extension is too long")
        match = _SIZE_LINE.fullmatch(data, position, end)
        if match is None:
            raise RemoteProtocolError("a chunk size is malformed")
        self._remaining = int(match[1], 16)
        self._overhead = max(0, self._overhead + (end - position) - 16 - 2 * self._remaining)
        if self._overhead > MAX_OVERHEAD:
            raise RemoteProtocolError("chunk extensions outweigh the data")
        self._state = _DATA if self._remaining else _TRAILERS
        return end + 2

    def _check_unfinished(self, data: bytes, position: int) -> None:
        if len(data) - position > MAX_SIZE_LINE + 1:  # of the two bytes that end it
            raise RemoteProtocolError("a chunk size line is too long")
        tail = data[position:]
        if b"\n" in tail or b"\r" in tail[:-1]:
            raise RemoteProtocolError("a chunk size line does not end in CRLF")

    def _read_data_end(self, data: bytes, position: int) -> int:
        end = data[position : position + 2]
        if end == b"\r\n":
            self._state = _SIZE
            return position + 2
        if end == b"\r":
            return position
        raise RemoteProtocolError("chunk data does not end in CRLF")

    def _read_trailers(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self._state = _DONE
            return position + 2
        end = data.find(b"\r\n\r\n", position)
        if (len(data) - 3 if end < 0 else end) - position > self._max_trailers:
            raise RemoteProtocolError("the trailers are too large", "HEADERS_TOO_LARGE")
        if end < 0:
            if fields.has_bare_line_end(data[position:]):
                raise RemoteProtocolError("a trailer line does not end in CRLF")
            return position
        self.trailers = fields.trailers(data[position:end].split(b"\r\n"))
        self._state = _DONE
        return end + 4


def chunk(data: bytes) -> bytes:
    """Encode one chunk; empty data is no chunk, since that would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: Headers) -> bytes:
    """Encode the end of a message."""
    return b"0\r\n%b\r\n" % trailers.wire

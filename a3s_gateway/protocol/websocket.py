"""How a WebSocket opens, and where its frames end (RFC 6455)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import Headers

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
VERSION: Final = "13"  # the only one there is


def key_of(nonce: bytes) -> str:
    """Make a Sec-WebSocket-Key of 16 random bytes."""
    return base64.b64encode(nonce).decode("ascii")


def accept_of(key: str) -> str:
    """Compute the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    digest = hashlib.sha1((key + _GUID).encode("latin-1"), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def check_handshake(method: str, headers: Headers) -> None:
    """
    Check the client's opening handshake over HTTP/1.1 (RFC 6455 §4.2.1).

    Raises:
        RemoteProtocolError: It is not one, or is for another version of the protocol.

    """
    if method != "GET":
        raise RemoteProtocolError("a WebSocket is opened by GET")
    if headers.all("sec-websocket-version") != [VERSION]:
        raise RemoteProtocolError("", "UPGRADE_REQUIRED")
    keys = headers.all("sec-websocket-key")
    if len(keys) != 1 or _KEY.fullmatch(keys[0]) is None:
        raise RemoteProtocolError("Sec-WebSocket-Key is missing, malformed or repeated")


GOING_AWAY: Final = b"\x88\x02\x03\xe9"  # a Close frame with code 1001 (RFC 6455 §5.2, §7.4.1)
GOING_AWAY_MASKED: Final = b"\x88\x82\0\0\0\0\x03\xe9"  # as a client has to send it
_CLOSE: Final = 8
_MAX_FOLLOWED: Final = 8  # frames in one piece; more are not looked at, at some price each
_LOST: Final = -1


class Frames:
    """
    Follows the frames of one direction, to know whether another may be put behind them.

    A piece of many small frames is not looked at; the next that is one whole frame shows
    where frames begin again.
    """

    __slots__ = ("_head", "_is_closed", "_left")

    def __init__(self) -> None:
        self._left = 0  # bytes to come of the frame that has begun; `_LOST`: not known
        self._head = b""  # of a frame whose length is not known yet
        self._is_closed = False

    @property
    def may_be_closed(self) -> bool:
        """Whether a Close frame may come next: none has come, and no frame is cut in two."""
        return not (self._left or self._head or self._is_closed)

    def follow(self, data: bytes) -> None:
        """Take note of the next bytes."""
        size = len(data)
        if size > 3 and self._left <= 0 and not self._head and data[0] & 15 != _CLOSE:
            length = data[1]
            if length < 126:
                whole = length + 2
            elif length & 127 == 126:
                whole = (data[2] << 8) + data[3] + (8 if length & 128 else 4)
            else:
                whole = length - 122  # without the mask's bit, with the mask; or it is longer
            if whole == size and length & 127 != 127:
                self._left = 0
                return
        if self._left != _LOST:
            self._follow(data)

    def _follow(self, data: bytes) -> None:
        data = self._head + data
        at, end = self._left, len(data)
        self._head = b""
        for _ in range(_MAX_FOLLOWED):
            if at >= end:
                self._left = at - end
                return
            whole = _frame_size(data, at)
            if whole == 0:
                self._left = 0
                self._head = data[at:]
                return
            self._is_closed = self._is_closed or data[at] & 15 == _CLOSE
            at += whole
        self._left = at - end if at >= end else _LOST


def _frame_size(data: bytes, at: int) -> int:
    """Return the size of the frame that begins there; 0 if its head is not all there."""
    if len(data) < at + 2:
        return 0
    length = data[at + 1] & 127
    head = 6 if data[at + 1] & 128 else 2
    if length < 126:
        return head + length
    more = 2 if length == 126 else 8
    if len(data) < at + 2 + more:
        return 0
    return head + more + int.from_bytes(data[at + 2 : at + 2 + more])

"""How a WebSocket opens (RFC 6455 §4)."""

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

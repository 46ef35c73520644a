"""
The first message of a TLS client, read without taking part: whom it wants to talk to, and how.

What is read stays for whoever speaks TLS with the client. RFC 8446 §4.1.2, §5.1; RFC 6066 §3;
RFC 7301 §3.1.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

MAX_HELLO: Final = 16 * 1024  # bytes; with post-quantum key shares a browser's is 2 KiB
_RECORD_HEADER: Final = 5  # bytes: type, version, length
_HANDSHAKE_HEADER: Final = 4  # bytes: type, length
_MAX_RECORD: Final = 16 * 1024  # bytes of plain text
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_NAME: Final = re.compile(rb"[0-9A-Za-z_-]{1,63}(?:\.[0-9A-Za-z_-]{1,63})*\.?")
_MAX_NAME: Final = 255  # bytes


class NotTlsError(ValueError):
    """The client does not begin as TLS does."""


class HelloError(ValueError):
    """The client begins as TLS does and goes on as it must not."""


@frozen
class ClientHello:
    """
    What a client says in clear.

    Attributes:
        server_name: In lower case, without a trailing dot; empty if it names none.
        alpn: The protocols it offers, the preferred one first.

    """

    server_name: str = ""
    alpn: tuple[str, ...] = ()


def read_client_hello(data: bytes) -> ClientHello | int:
    """
    Read a ClientHello, which may be spread over records as the client likes.

    Args:
        data: All that has come, from the first byte on.

    Returns:
        How many bytes there must at least be to tell more, if it is not complete.

    Raises:
        NotTlsError: This is something else.
        HelloError: It is malformed, or longer than `MAX_HELLO`.

    """
    for index, expected in enumerate((_HANDSHAKE, 3)):
        if len(data) > index and data[index] != expected:
            raise NotTlsError("not a TLS handshake")
    message = bytearray()
    at = 0
    while True:
        if len(data) < at + _RECORD_HEADER:
            return _bounded(at + _RECORD_HEADER)
        length = _record_length(data, at)
        body = data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        message += body
        end = at + _RECORD_HEADER + length
        size = _message_size(message)
        if size is not None and len(message) >= size:
            return _parse(bytes(message[_HANDSHAKE_HEADER:size]))
        if len(body) < length:
            missing = (size or _HANDSHAKE_HEADER) - len(message)
            return _bounded(min(end, len(data) + missing))
        at = end


def _bounded(wanted: int) -> int:
    if wanted > MAX_HELLO:
        raise HelloError(f"the ClientHello is longer than {MAX_HELLO} bytes")
    return wanted


def _record_length(data: bytes, at: int) -> int:
    if data[at] != _HANDSHAKE or data[at + 1] != 3:
        raise HelloError("a record of another kind within the ClientHello")
    length = int.from_bytes(data[at + 3 : at + 5], "big")
    if not 0 < length <= _MAX_RECORD:
        raise HelloError(f"a record of {length} bytes")
    return length


def _message_size(message: bytearray) -> int | None:
    """Return the size of the handshake message with its header; None: it is not told yet."""
    if message and message[0] != _CLIENT_HELLO:
        raise HelloError("the first message is not a ClientHello")
    if len(message) < _HANDSHAKE_HEADER:
        return None
    return _bounded(_HANDSHAKE_HEADER + int.from_bytes(message[1:4], "big"))


class _Cursor:
    """Takes fields from the front; raises `HelloError` where there are none left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise HelloError("a field is longer than what it stands in")
        found = self._data[self._at : end]
        self._at = end
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int, least: int, most: int = 0xFFFF) -> bytes:
        """Take what a length of `size` bytes stands before."""
        length = self.number(size)
        if not least <= length <= most:
            raise HelloError(f"a field of {length} bytes")
        return self.take(length)

    def end(self) -> None:
        if not self.is_at_end:
            raise HelloError("bytes are left over in a field")


def _parse(body: bytes) -> ClientHello:
    cursor = _Cursor(body)
    cursor.take(2 + 32)  # legacy_version, random
    cursor.vector(1, 0, 32)  # legacy_session_id
    if len(cursor.vector(2, 2)) % 2:
        raise HelloError("half a cipher suite")
    cursor.vector(1, 1)  # legacy_compression_methods
    if cursor.is_at_end:
        return ClientHello()  # TLS 1.2 and before may have no extensions
    extensions = _Cursor(cursor.vector(2, 0))
    cursor.end()
    found: dict[int, bytes] = {}
    while not extensions.is_at_end:
        kind = extensions.number(2)
        if kind in found:
            raise HelloError(f"extension {kind} stands there twice")
        found[kind] = extensions.vector(2, 0)
    name, alpn = found.get(_SERVER_NAME), found.get(_ALPN)
    return ClientHello(
        "" if name is None else _read_name(name), () if alpn is None else _read_alpn(alpn)
    )


def _read_name(extension: bytes) -> str:
    outer = _Cursor(extension)
    names = _Cursor(outer.vector(2, 1))
    outer.end()
    if names.number(1) != 0:
        raise HelloError("a server name that is not the name of a host")
    name = names.vector(2, 1, _MAX_NAME)
    names.end()
    if not _NAME.fullmatch(name):
        raise HelloError("a server name that no host can have")
    return name.decode("ascii").lower().removesuffix(".")


def _read_alpn(extension: bytes) -> tuple[str, ...]:
    outer = _Cursor(extension)
    protocols = _Cursor(outer.vector(2, 2))
    outer.end()
    found = []
    while not protocols.is_at_end:
        found.append(protocols.vector(1, 1).decode("latin-1"))
    return tuple(found)

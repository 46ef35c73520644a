"""gRPC-Web: gRPC for browsers, whose trailers are the last frame of the body (PROTOCOL-WEB.md)."""

from __future__ import annotations

import binascii
import re
from typing import Final

from a3s_gateway.headers import Headers

_TYPE: Final = re.compile(r"application/grpc-web(-text)?([+;].*)?", re.DOTALL)
_TRAILERS: Final = b"\x80"  # the flag of a frame that is trailers


def read_type(content_type: str) -> tuple[bool, str] | None:
    """Return whether it is the form in base64, and the content type of gRPC; None for others."""
    match = _TYPE.fullmatch(content_type)
    if match is None:
        return None
    return match[1] is not None, "application/grpc" + (match[2] or "")


def write_type(content_type: str, *, is_text: bool) -> str | None:
    """Return what a content type of gRPC is in gRPC-Web; None for others."""
    before, sep, after = content_type.partition("application/grpc")
    if before or not sep or after[:1] not in ("", "+", ";"):
        return None
    return f"application/grpc-web{'-text' if is_text else ''}{after}"


def trailers_frame(trailers: Headers) -> bytes:
    """Write trailers as a frame."""
    block = b"".join(f"{each.name}: {each.value}\r\n".encode("latin-1") for each in trailers)
    return _TRAILERS + len(block).to_bytes(4) + block


def to_base64(data: bytes) -> bytes:
    """Encode a piece; pieces are padded each, and follow each other."""
    return binascii.b2a_base64(data, newline=False)


class Base64Decoder:
    """Decodes pieces that are cut anywhere, and padded wherever one ended for the client."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Decode what is whole; raises `ValueError` for what is not base64."""
        data = self._rest + data
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        parts = []
        start = 0
        while start < whole:
            padding = data.find(b"=", start, whole)
            end = whole if padding < 0 else padding - padding % 4 + 4
            parts.append(binascii.a2b_base64(data[start:end], strict_mode=True))
            start = end
        return b"".join(parts)

    def finish(self, trailers: Headers) -> bytes:  # noqa: ARG002 - requests have none
        """Return what is left: nothing; raises `ValueError` if a piece is cut short."""
        if self._rest:
            raise ValueError("base64 that is cut short")
        return b""

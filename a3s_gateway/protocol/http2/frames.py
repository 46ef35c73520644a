"""The frames of HTTP/2 as they are written, and the numbers in them (RFC 9113 §4, §6, §7)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # §3.4

# Types of frames, §6
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

# Flags, §6
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

# Settings, §6.5.2, and RFC 8441 §3
HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8

# Error codes, §7
NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB
HTTP_1_1_REQUIRED: Final = 0xD

DEFAULT_WINDOW: Final = 65535  # bytes, §6.9.2
DEFAULT_FRAME_SIZE: Final = 16384  # bytes, §4.2
LARGEST_FRAME_SIZE: Final = 2**24 - 1  # bytes, §4.2
LARGEST_WINDOW: Final = 2**31 - 1  # bytes, §6.9.1
LAST_STREAM: Final = 2**31 - 1
HEADER_SIZE: Final = 9  # bytes, §4.1

# The length in 16 and 8 bits, type, flags, stream.
HEADER: Final = struct.Struct(">HBBBL")
SETTING: Final = struct.Struct(">HL")
NUMBER: Final = struct.Struct(">L")
_TWO_NUMBERS: Final = struct.Struct(">LL")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write one frame."""
    length = len(payload)
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def header(length: int, kind: int, flags: int, stream: int) -> bytes:
    """Write what stands before a payload of `length` bytes."""
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream)


def headers(stream: int, block: bytes, largest: int, *, is_last: bool) -> bytes:
    """Write a field block, in frames of at most `largest` bytes."""
    flags = END_STREAM if is_last else 0
    if len(block) <= largest:
        return frame(HEADERS, flags | END_HEADERS, stream, block)
    parts = [frame(HEADERS, flags, stream, block[:largest])]
    for start in range(largest, len(block), largest):
        ends = END_HEADERS if start + largest >= len(block) else 0
        parts.append(frame(CONTINUATION, ends, stream, block[start : start + largest]))
    return b"".join(parts)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """Write SETTINGS."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*each) for each in values))


def window_update(stream: int, increment: int) -> bytes:
    """Write WINDOW_UPDATE; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, NUMBER.pack(increment))


def rst_stream(stream: int, code: int) -> bytes:
    """Write RST_STREAM."""
    return frame(RST_STREAM, 0, stream, NUMBER.pack(code))


def goaway(last: int, code: int, why: str = "") -> bytes:
    """Write GOAWAY; `why` is for people who look at the wire."""
    return frame(GOAWAY, 0, 0, _TWO_NUMBERS.pack(last, code) + why.encode("ascii", "replace"))


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)

"""What of gRPC over HTTP/2 concerns a proxy: deadlines, and statuses in words of its own."""

from __future__ import annotations

import re
from typing import Final

_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

# https://grpc.io/docs/guides/status-codes, and `http-grpc-status-mapping` in gRPC's repository
# for who sees but the HTTP status. We know more: that a limit was met (8), that it was time (4).
_BY_HTTP_STATUS: Final = {
    400: 13, 401: 16, 403: 7, 404: 12, 408: 4, 413: 8, 429: 8, 431: 8, 499: 1,
    502: 14, 503: 14, 504: 4,
}  # fmt: skip
_UNKNOWN: Final = 2


def timeout_of(value: str) -> float | None:
    """Return the seconds that a `grpc-timeout` field gives, or None if it is malformed."""
    match = _TIMEOUT.fullmatch(value)
    return None if match is None else int(match[1]) * _SECONDS[match[2]]


def status_of(http_status: int) -> int:
    """Return the `grpc-status` of an answer that in HTTP would have this status."""
    return _BY_HTTP_STATUS.get(http_status, _UNKNOWN)


def encode_message(text: str) -> str:
    """Write a text as `grpc-message` does: percent-encoded but for visible ASCII and blanks."""
    return "".join(
        chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}"
        for byte in text.encode()
    )

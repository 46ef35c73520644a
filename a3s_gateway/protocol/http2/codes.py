"""Error codes in words, for people (RFC 9113 §7)."""

from __future__ import annotations

from typing import Final

_NAMES: Final = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
    "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
    "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)  # fmt: skip


def name_of(code: int) -> str:
    """Return the name of a code, or its number."""
    return _NAMES[code] if code < len(_NAMES) else f"error {code}"

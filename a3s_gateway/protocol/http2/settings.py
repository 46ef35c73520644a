"""What the two sides of a connection tell each other about it (RFC 9113 §6.5)."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from . import frames

_VALUES: Final = {
    frames.ENABLE_PUSH: (range(2), frames.PROTOCOL_ERROR),
    frames.INITIAL_WINDOW_SIZE: (range(frames.LARGEST_WINDOW + 1), frames.FLOW_CONTROL_ERROR),
    frames.MAX_FRAME_SIZE: (
        range(frames.DEFAULT_FRAME_SIZE, frames.LARGEST_FRAME_SIZE + 1),
        frames.PROTOCOL_ERROR,
    ),
    frames.ENABLE_CONNECT_PROTOCOL: (range(2), frames.PROTOCOL_ERROR),
}


@frozen
class Settings:
    """
    What we allow the peer, and how much it may cost us; sizes in bytes.

    Attributes:
        max_concurrent_streams: That the peer may have open.
        stream_window: Bytes of a body that may be on their way to whoever reads it.
        connection_window: The same, of all bodies together; that of all streams, or those that
            nobody reads stop the others.
        max_header_list: Of a head, as HPACK counts.
        max_resets_per_second: Streams that end before their time, by whoever's reset.
        max_control_frames_per_second: Frames that carry nothing, beyond what answers cause.

    """

    max_concurrent_streams: int = 128
    stream_window: int = 128 * 1024
    connection_window: int = 16 * 1024 * 1024
    max_header_list: int = 32 * 1024
    max_resets_per_second: int = 50
    max_control_frames_per_second: int = 200


DEFAULT_SETTINGS: Final = Settings()


def parse(payload: bytes) -> list[tuple[int, int]]:
    """Return identifiers and values; the payload's length is a multiple of six."""
    return [frames.SETTING.unpack_from(payload, at) for at in range(0, len(payload), 6)]


def fault_in(identifier: int, value: int) -> int:
    """Return the code of the error that a value is, or 0; unknown identifiers have none."""
    known = _VALUES.get(identifier)
    return frames.NO_ERROR if known is None or value in known[0] else known[1]

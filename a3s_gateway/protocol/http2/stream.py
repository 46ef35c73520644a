"""One stream of a connection, as the codec sees it."""

from __future__ import annotations

from collections import deque
from typing import Final

from a3s_gateway.headers import Headers

UNKNOWN_LENGTH: Final = -1


class Stream:
    """
    What is open, on either side, and what flow control allows; owned by the codec.

    Attributes:
        number: Its identifier.
        send_window: Bytes of DATA that the peer still takes.
        receive_window: Bytes of DATA that it may still send.
        unconsumed: Bytes of it that were received and are to be granted again.
        expected: Bytes of DATA that Content-Length still announces, or `UNKNOWN_LENGTH`.
        has_head: The final head, not an interim one, has been received.
        is_receiving: The peer has not ended it.
        is_sending: We have not ended it.
        pending: Data that no window was open for.
        held: Bytes in `pending`.
        ends: It ends when `pending` is sent.
        trailers: What it ends with then.

    """

    __slots__ = (
        "ends", "expected", "has_head", "held", "is_receiving", "is_sending", "number", "pending",
        "receive_window", "send_window", "trailers", "unconsumed",
    )  # fmt: skip

    def __init__(self, number: int, send_window: int, receive_window: int) -> None:
        self.number = number
        self.send_window = send_window
        self.receive_window = receive_window
        self.unconsumed = 0
        self.expected = UNKNOWN_LENGTH
        self.has_head = False
        self.is_receiving = True
        self.is_sending = True
        self.pending: deque[bytes | memoryview] | None = None
        self.held = 0
        self.ends = False
        self.trailers: Headers | None = None

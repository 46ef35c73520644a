"""What waits for a client that reads too slowly, within bounds."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field

from .hub import ChannelCounters

_JOINED: Final = 64 * 1024  # bytes that are written as one


@define(eq=False)
class Outbox:
    """
    Frames on their way to one client.

    Answers are never left out: while they wait, nothing more is read from that client.

    Args:
        max_messages: Messages that may wait.
        max_bytes: Their bytes.

    """

    max_messages: int
    max_bytes: int
    _waiting: deque[tuple[bytes, ChannelCounters | None]] = field(factory=deque, init=False)
    _messages: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._waiting)

    def add_answer(self, frame: bytes) -> None:
        """Have an answer wait."""
        self._waiting.append((frame, None))

    def has_room_for(self, frame: bytes) -> bool:
        """Tell whether a message may wait without another one having to go."""
        is_small = self._bytes + len(frame) <= self.max_bytes
        return is_small and self._messages < self.max_messages

    def add_message(self, frame: bytes, counters: ChannelCounters) -> None:
        """Have a message wait; the oldest go where there is no room, and are counted."""
        if len(frame) > self.max_bytes:
            counters.dropped += 1
            return
        while not self.has_room_for(frame):
            self._drop_oldest()
        self._waiting.append((frame, counters))
        self._messages += 1
        self._bytes += len(frame)

    def take(self) -> bytes:
        """Take what comes next, some of it joined; empty when nothing waits."""
        frames: list[bytes] = []
        size = 0
        waiting = self._waiting
        while waiting and size < _JOINED:
            frame, counters = waiting.popleft()
            if counters is not None:
                self._messages -= 1
                self._bytes -= len(frame)
                counters.delivered += 1
            frames.append(frame)
            size += len(frame)
        return b"".join(frames)

    def clear(self) -> None:
        """Forget all of it; the messages are counted as dropped."""
        for _, counters in self._waiting:
            if counters is not None:
                counters.dropped += 1
        self._waiting.clear()
        self._messages = self._bytes = 0

    def _drop_oldest(self) -> None:
        for index, (frame, counters) in enumerate(self._waiting):
            if counters is not None:
                del self._waiting[index]
                self._messages -= 1
                self._bytes -= len(frame)
                counters.dropped += 1
                return

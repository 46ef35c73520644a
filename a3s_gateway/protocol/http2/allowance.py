"""How often a peer may do what costs us work and brings it nothing."""

from __future__ import annotations

BURST_SECONDS = 10  # of the rate may be used up at once


class Allowance:
    """
    A bucket that fills with time; it is looked at only when something is taken.

    Args:
        rate: Per second; ten times as many may come at once.

    """

    __slots__ = ("_left", "_most", "_rate", "_seen_at")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = self._left = rate * BURST_SECONDS
        self._seen_at = 0.0

    def take(self, now: float) -> bool:
        """Take one; false when none is left. `now` is monotonic, in seconds."""
        left = min(self._left + (now - self._seen_at) * self._rate, self._most)
        self._seen_at = now
        if left < 1:
            self._left = left
            return False
        self._left = left - 1
        return True

"""
Token buckets: so many requests per time, and so many at once after a pause.

A bucket is one number, the time at which it will be full again (the generic cell rate algorithm):
a request that is let in moves it on by the time that a token takes to come back.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from attrs import define, field

_NOISE: Final = 1e-6  # seconds that sums of floats may be off


@define(eq=False)
class Buckets:
    """
    One bucket for each key, within bounded memory: those not used for longest are forgotten.

    Args:
        interval: Seconds that a token takes to come back.
        burst: Tokens that a bucket holds.
        max_keys: Buckets that are remembered; one that is full costs nothing to forget.

    """

    interval: float
    burst: int
    max_keys: int
    capacity: float = field(init=False)  # seconds that an empty bucket takes to fill
    _full_at: OrderedDict[str, float] = field(factory=OrderedDict, init=False)

    @capacity.default
    def _measure(self) -> float:
        return self.interval * self.burst

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float) -> float:
        """
        Take a token, if one is there.

        Args:
            key: Whose bucket.
            now: Monotonic time in seconds.

        Returns:
            Seconds until the bucket is full; or, as a negative number, until a token is there,
            if none was.

        """
        buckets = self._full_at
        full_at = buckets.get(key, now)
        ahead = (full_at - now if full_at > now else 0.0) + self.interval
        if ahead > self.capacity + _NOISE:
            buckets.move_to_end(key)
            return self.capacity - ahead
        buckets[key] = now + ahead
        buckets.move_to_end(key)
        if len(buckets) > self.max_keys:
            buckets.popitem(last=False)
        return ahead

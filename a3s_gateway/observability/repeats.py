"""Keeping a log readable when the same thing goes wrong a thousand times a second."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from attrs import define, field

QUIET: Final = 10.0  # seconds after a line in which its like is only counted


@define(eq=False)
class Repeats:
    """Lets one of many equal lines through; the keys are the configuration's, so they are few."""

    _last: dict[Hashable, float] = field(factory=dict, init=False)
    _withheld: dict[Hashable, int] = field(factory=dict, init=False)

    def note(self, key: Hashable, now: float) -> int | None:
        """
        Take note of a line.

        Returns:
            None when it should not be written, since its like was less than `QUIET` seconds ago;
            otherwise how many were withheld since then.

        """
        last = self._last.get(key)
        if last is not None and now - last < QUIET:
            self._withheld[key] = self._withheld.get(key, 0) + 1
            return None
        self._last[key] = now
        return self._withheld.pop(key, 0)

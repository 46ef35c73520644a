"""Deadlines that move very often and pass seldom: slots of a tenth of a second; no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, inf

SLOTS_PER_SECOND = 10  # a deadline is noticed at most one slot late
NOWHERE = 1 << 62  # a slot that never comes


class WheelTimer:
    """A deadline, and what to call when it has passed; belongs to one wheel."""

    __slots__ = ("__weakref__", "callback", "deadline", "slot")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.deadline = inf  # in seconds of the caller's clock; infinite when not set
        self.slot = NOWHERE  # where the wheel will look at it

    @property
    def active(self) -> bool:
        """Whether a deadline is set that has not passed."""
        return self.deadline < inf


class TimerWheel:
    """
    Keeps timers in slots by their deadline.

    A timer whose deadline moves later stays where it is and is put right when its slot comes
    up, so that moving it costs one comparison. Cancelling takes it out at once: a closed
    connection is not kept alive by the deadline that it had.
    """

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: dict[int, dict[WheelTimer, None]] = {}

    def set(self, timer: WheelTimer, deadline: float) -> bool:
        """Let the timer be due at `deadline`; true when the wheel has to look earlier for it."""
        timer.deadline = deadline
        slot = ceil(deadline * SLOTS_PER_SECOND)
        if slot >= timer.slot:
            return False
        self._remove(timer)
        self._insert(timer, slot)
        return True

    def cancel(self, timer: WheelTimer) -> None:
        """Forget the timer until it is set again."""
        timer.deadline = inf
        self._remove(timer)

    def next_look(self) -> float | None:
        """Time of the next `expire` that can find something; `None` when no timer is set."""
        return min(self._slots) / SLOTS_PER_SECOND if self._slots else None

    def expire(self, now: float) -> Iterator[WheelTimer]:
        """
        Yield the timers that are due, those of earlier slots first.

        A timer that is set anew or cancelled while this runs is not yielded.
        """
        for timer in self._take(now):
            if timer.deadline <= now:
                timer.deadline = inf
                yield timer

    def _take(self, now: float) -> list[WheelTimer]:
        """Empty the slots that have passed; what is not due yet goes to its later slot."""
        due = []
        for slot in sorted(s for s in self._slots if s <= now * SLOTS_PER_SECOND):
            for timer in self._slots.pop(slot):
                timer.slot = NOWHERE
                if timer.deadline <= now:
                    due.append(timer)
                else:
                    self._insert(timer, ceil(timer.deadline * SLOTS_PER_SECOND))
        return due

    def _insert(self, timer: WheelTimer, slot: int) -> None:
        timer.slot = slot
        self._slots.setdefault(slot, {})[timer] = None

    def _remove(self, timer: WheelTimer) -> None:
        if timer.slot != NOWHERE:
            timers = self._slots[timer.slot]
            del timers[timer]
            if not timers:
                del self._slots[timer.slot]
            timer.slot = NOWHERE

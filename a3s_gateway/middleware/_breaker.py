"""A circuit breaker: three states and a clock."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from attrs import define, field

NOBODY: Final = -1  # in place of a number: the request is not let through


class State(IntEnum):
    """Whether requests pass; the numbers stand in the metrics."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@define(eq=False)
class Breaker:
    """
    Opens when so many requests in a row have failed, and tries again after a rest.

    Each change of state begins a new epoch, whose number a request carries: what becomes of one
    that was let through in an earlier epoch says nothing of this one, so stragglers neither
    lengthen a rest nor end it.

    Args:
        failure_threshold: Failures in a row that open it.
        cooldown: Seconds of rest.
        success_threshold: Successes in a row that close it again.
        max_probes: Requests at a time that try whether it may be closed.

    Attributes:
        opened: How often it has opened.

    """

    failure_threshold: int
    cooldown: float
    success_threshold: int
    max_probes: int
    state: State = field(default=State.CLOSED, init=False)
    opened: int = field(default=0, init=False)
    _epoch: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _successes: int = field(default=0, init=False)
    _probes: int = field(default=0, init=False)
    _opened_at: float = field(default=0.0, init=False)

    def admit(self, now: float) -> int:
        """Let a request through: returns the epoch to report it with, or `NOBODY`."""
        if self.state is State.CLOSED:
            return self._epoch
        if self.state is State.OPEN:
            if now - self._opened_at < self.cooldown:
                return NOBODY
            self._enter(State.HALF_OPEN)
        if self._probes >= self.max_probes:
            return NOBODY
        self._probes += 1
        return self._epoch

    def wait(self, now: float) -> float:
        """Return the seconds for which it is certain to let nobody through."""
        if self.state is not State.OPEN:
            return 0.0
        return max(self._opened_at + self.cooldown - now, 0.0)

    def succeeded(self, epoch: int) -> None:
        """Hear that a request went well."""
        if epoch != self._epoch:
            return
        self._failures = 0
        if self.state is State.HALF_OPEN:
            self._probes -= 1
            self._successes += 1
            if self._successes >= self.success_threshold:
                self._enter(State.CLOSED)

    def failed(self, epoch: int, now: float) -> None:
        """Hear that a request failed."""
        if epoch != self._epoch:
            return
        self._failures += 1
        if self.state is State.HALF_OPEN or self._failures >= self.failure_threshold:
            self._enter(State.OPEN)
            self._opened_at = now
            self.opened += 1

    def abandoned(self, epoch: int) -> None:
        """Hear that nobody knows: the client went away."""
        if epoch == self._epoch and self.state is State.HALF_OPEN:
            self._probes -= 1

    def _enter(self, state: State) -> None:
        self.state = state
        self._epoch += 1
        self._failures = self._successes = self._probes = 0

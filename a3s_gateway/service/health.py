"""What is known of one server's health, by probes and by real requests; time is an argument."""

from __future__ import annotations

from bisect import bisect_left
from enum import Enum
from math import inf
from typing import Final, Protocol

from attrs import define, field

from a3s_gateway.config.balancing import PassiveHealthConfig

MAX_EJECTION: Final = 300.0  # seconds that back-off comes to, unless `ejection` is longer
JITTER: Final = 0.1  # share of an ejection that chance may take off, so that not all end at once
_MAX_DOUBLINGS: Final = 16  # beyond every limit, and far from the limits of a float


class ProbeError(Exception):
    """The server is not as it should be; the text says why."""


class Probe(Protocol):
    """Looks at one server, each time over a connection of its own."""

    async def look(self) -> None:
        """
        Come back if the server is well; cancelling drops the connection.

        Raises:
            ProbeError: It is not.

        """

    def close(self) -> None:
        """Drop what is still read of the last answer."""


@define(eq=False)
class ActiveHealth:
    """
    The verdict of probes: a server is well until they fail several times in a row.

    Attributes:
        is_up: The verdict.
        failures: Probes that failed in a row, up to now.
        successes: Probes that succeeded in a row, up to now.
        fault: Why the last probe failed; empty after one that succeeded.

    """

    is_up: bool = field(default=True, init=False)
    failures: int = field(default=0, init=False)
    successes: int = field(default=0, init=False)
    fault: str = field(default="", init=False)

    def succeeded(self, threshold: int) -> bool:
        """Count a probe that succeeded; true when it is the one that brings the server back."""
        self.successes += 1
        self.failures, self.fault = 0, ""
        if self.is_up or self.successes < threshold:
            return False
        self.is_up = True
        return True

    def failed(self, fault: str, threshold: int) -> bool:
        """Count a probe that failed; true when it is the one that takes the server out."""
        self.failures += 1
        self.successes, self.fault = 0, fault
        if not self.is_up or self.failures < threshold:
            return False
        self.is_up = False
        return True

    def forget(self) -> None:
        """Think well of it again, because nobody probes it any more."""
        self.is_up = True
        self.failures = self.successes = 0
        self.fault = ""


class Standing(Enum):
    """What real requests have made of a server."""

    SERVING = "serving"
    EJECTED = "ejected"  # no requests until a time
    HALF_OPEN = "half-open"  # the next request is a trial
    ON_TRIAL = "on trial"  # no further request until the trial is over


class TransitionError(Exception):
    """A standing was asked for what it does not allow: an error in the gateway."""


@define(eq=False)
class Outlier:
    """
    The verdict of real requests, as a circuit breaker has it.

    `SERVING` -eject-> `EJECTED` -time-> `HALF_OPEN` -try_out-> `ON_TRIAL`, and from there back
    to `SERVING` by `readmit`, to `EJECTED` by `eject`, or to `HALF_OPEN` when the trial came to
    nothing. Each ejection in a row is twice as long as the one before.

    Attributes:
        standing: The verdict.
        until: When the last ejection ends or ended, in seconds of the caller's clock.
        length: Seconds that it takes or took.
        ejections: How often it was ejected.
        trial: The number of the last trial.

    """

    standing: Standing = field(default=Standing.SERVING, init=False)
    until: float = field(default=0.0, init=False)
    length: float = field(default=0.0, init=False)
    ejections: int = field(default=0, init=False)
    trial: int = field(default=0, init=False)
    _failures: list[float] = field(factory=list, init=False)  # when; the oldest first
    _in_a_row: int = field(default=0, init=False)  # ejections
    _serving_since: float = field(default=-inf, init=False)
    _watched_trial: int = field(default=0, init=False)

    @property
    def recent_failures(self) -> int:
        """How many failures are remembered: no more than it takes to be ejected."""
        return len(self._failures)

    def failed(self, now: float, config: PassiveHealthConfig) -> bool:
        """Count a failure while it serves; true when there are too many of them in the window."""
        failures = self._failures
        failures.append(now)
        outdated = bisect_left(failures, now - config.window)
        del failures[: max(outdated, len(failures) - config.failures)]
        return len(failures) >= config.failures

    def eject(self, now: float, config: PassiveHealthConfig, chance: float) -> None:
        """
        Leave it out; `chance` in [0, 1) makes the time up to a tenth shorter.

        One that has served well for long enough (for `window`, and for as long as it was last
        left out) begins with `ejection` again.
        """
        match self.standing:
            case Standing.SERVING:
                if now - self._serving_since >= max(config.window, self.length):
                    self._in_a_row = 0
            case Standing.ON_TRIAL:
                pass
            case _:
                raise TransitionError(f"a server that is {self.standing.value} cannot be ejected")
        longest = max(config.ejection, MAX_EJECTION)
        doublings = min(self._in_a_row, _MAX_DOUBLINGS)
        self.length = min(config.ejection * 2**doublings, longest) * (1 - JITTER * chance)
        self._in_a_row += 1
        self.ejections += 1
        self.until = now + self.length
        self._failures.clear()
        self.standing = Standing.EJECTED

    def look(self, now: float) -> None:
        """
        Take note of the time: an ejection may be over, or a trial take too long.

        A trial that two looks have found is not waited for any longer: the next one may begin.
        """
        match self.standing:
            case Standing.EJECTED if now >= self.until:
                self.standing = Standing.HALF_OPEN
            case Standing.ON_TRIAL if self._watched_trial == self.trial:
                self.standing = Standing.HALF_OPEN
            case Standing.ON_TRIAL:
                self._watched_trial = self.trial
            case _:
                pass

    def try_out(self) -> int:
        """Begin a trial; returns its number, by which it is known later."""
        if self.standing is not Standing.HALF_OPEN:
            raise TransitionError(f"a server that is {self.standing.value} cannot be tried out")
        self.standing = Standing.ON_TRIAL
        self.trial += 1
        return self.trial

    def is_tried_by(self, trial: int) -> bool:
        """Tell whether this trial is the one that decides."""
        return self.standing is Standing.ON_TRIAL and trial == self.trial

    def abandon(self, trial: int) -> None:
        """End a trial that has decided nothing; harmless when it was over already."""
        if self.is_tried_by(trial):
            self.standing = Standing.HALF_OPEN

    def readmit(self, now: float) -> None:
        """Let it serve again; how often it was ejected in a row is remembered for a while."""
        if self.standing is Standing.SERVING:
            raise TransitionError("a server that is serving cannot be readmitted")
        self.standing = Standing.SERVING
        self._serving_since = now

"""Timers of a reactor that cost next to nothing to move: the shell around `wheel.py`."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from weakref import WeakValueDictionary

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from .poller import Reactor
from .wheel import SLOTS_PER_SECOND, TimerWheel, WheelTimer

log = Logger()


class Timer(WheelTimer):
    """Calls back once each time it was set; made by `Timers.timer`."""

    __slots__ = ("_timers",)

    def __init__(self, timers: Timers, callback: Callable[[], None]) -> None:
        super().__init__(callback)
        self._timers = timers

    def set(self, delay: float) -> None:
        """Call back in `delay` seconds, not earlier and about a tenth later at most."""
        deadline = self._timers.seconds() + delay
        if deadline * SLOTS_PER_SECOND >= self.slot:
            self.deadline = deadline
        else:
            self._timers.insert(self, deadline)

    def cancel(self) -> None:
        """Do not call back, unless set again."""
        if self.deadline != inf:
            self._timers.remove(self)

    def end(self) -> None:
        """Never call back again: what ends breaks the cycle with whom it would have called."""
        self.cancel()
        self.callback = _nobody


def _nobody() -> None:
    """Stand in for the callback of a timer that has ended."""


class Timers:
    """The wheel of one reactor; asks to be called later only while a timer is set."""

    __slots__ = ("__weakref__", "_call", "_call_at", "_reactor", "_wheel", "seconds")

    def __init__(self, reactor: Reactor) -> None:
        self.seconds = reactor.seconds
        self._reactor = reactor
        self._wheel = TimerWheel()
        self._call: IDelayedCall | None = None
        self._call_at = inf

    @property
    def clock(self) -> IReactorTime:
        """The reactor, for those of Twisted's parts that keep time themselves."""
        return IReactorTime(self._reactor)

    def timer(self, callback: Callable[[], None]) -> Timer:
        """Make a timer that is not set; hold it, the wheel does so only while it is set."""
        return Timer(self, callback)

    def insert(self, timer: Timer, deadline: float) -> None:
        """Set a timer whose deadline has come nearer."""
        if self._wheel.set(timer, deadline):
            self._plan()

    def remove(self, timer: Timer) -> None:
        """Cancel a timer."""
        self._wheel.cancel(timer)
        if self._wheel.next_look() is None:
            self._plan()

    def _plan(self) -> None:
        """Be called when the first slot comes up; it may be called for nothing after a cancel."""
        look = self._wheel.next_look()
        if look is None:
            if self._call is not None:
                self._call.cancel()
            self._call, self._call_at = None, inf
        elif look < self._call_at:
            if self._call is not None:
                self._call.cancel()
            self._call_at = look
            self._call = self._reactor.callLater(max(0.0, look - self.seconds()), self._tick)

    def _tick(self) -> None:
        self._call, self._call_at = None, inf
        for timer in self._wheel.expire(self.seconds()):
            try:
                timer.callback()
            except Exception:  # noqa: BLE001 - the other timers have to be served
                log.failure("Unhandled error in a timer")
        self._plan()


_all_timers: WeakValueDictionary[Reactor, Timers] = WeakValueDictionary()


def timers_for(reactor: Reactor) -> Timers:
    """Find the reactor's timers, or make them; they live as long as somebody holds one."""
    timers = _all_timers.get(reactor)
    if timers is None:
        timers = _all_timers[reactor] = Timers(reactor)
    return timers

from __future__ import annotations

import random
import threading
import time
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, capturedLogs
from twisted.trial.unittest import TestCase

from a3s_gateway.observability.stall_service import StallWatch
from a3s_gateway.observability.stalls import LASTING, LOOK_EVERY, STALL
from tests.support import eventually, passed

reactor: Any = global_reactor


def dawdle(seconds: float) -> None:
    time.sleep(seconds)


def compute(seconds: float) -> None:
    """Never let another thread run for long, as an evil regular expression does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))


class StallWatchTests(TestCase):
    def setUp(self) -> None:
        self.watch = StallWatch(reactor)
        self.watch.startService()
        self.addCleanup(self.end)

    def end(self) -> None:
        if self.watch.running:
            self.watch.stopService()

    async def told_of(self, call: Any, seconds: float) -> list[LogEvent]:
        with capturedLogs() as events:
            await passed(0.01)
            reactor.callLater(0, call, seconds)
            await passed(2 * LOOK_EVERY)
        # The machine itself may hold up a test now and then, which is told as well.
        return [event for event in events if f"{call.__name__} (" in str(event.get("where"))]

    async def test_one_line_for_each(self) -> None:
        """However often the thread looked meanwhile; the length is right to a look."""
        (event,) = await self.told_of(dawdle, 0.4)
        assert event["log_level"] is LogLevel.warn
        assert event["seconds"] >= 0.4 - LOOK_EVERY
        assert "dawdle (observability/test_stall_service.py:" in event["where"]

    async def test_what_computes_is_seen(self) -> None:
        """Not only what waits."""
        (event,) = await self.told_of(compute, 0.4)
        assert event["seconds"] >= 0.4 - LOOK_EVERY
        assert "compute (observability/test_stall_service.py:" in event["where"]

    async def test_a_tenth_of_a_second_is_always_told(self) -> None:
        """Whenever it begins between two looks."""
        for _ in range(5):
            await passed(LOOK_EVERY * random.random())
            assert len(await self.told_of(dawdle, STALL + 0.005)) == 1

    async def test_what_lasts_is_told_while_it_lasts(self) -> None:
        """With the whole stack, and long before it ends, if it ever does."""
        ended_at = 0.0

        def hang(seconds: float) -> None:
            nonlocal ended_at
            dawdle(seconds)
            ended_at = time.time()

        with capturedLogs() as events:
            reactor.callLater(0, hang, LASTING + 3 * LOOK_EVERY)
            await eventually(lambda: ended_at)
        (event,) = [each for each in events if each["log_level"] is LogLevel.error]
        assert event["log_time"] < ended_at
        assert event["where"].startswith("dawdle (observability/test_stall_service.py:")
        assert "runUntilCurrent (internet/base.py:" in event["where"]

    async def test_a_reactor_that_waits_is_not_woken(self) -> None:
        """A process with nothing to do stays asleep, but for the look at it."""
        woken: list[object] = []
        self.patch(reactor, "callFromThread", lambda *call: woken.append(call))
        await deferLater(reactor, 20 * LOOK_EVERY)
        # While a test begins and ends, the reactor is at work, and may be seen so.
        assert len(woken) <= 2

    async def test_its_thread_ends_with_it(self) -> None:
        """Nothing is left that could keep a process, or a test, from ending."""
        assert "stalls" in [thread.name for thread in threading.enumerate()]
        self.watch.stopService()
        assert "stalls" not in [thread.name for thread in threading.enumerate()]
        self.watch.startService()
        await eventually(lambda: self.watch.running)

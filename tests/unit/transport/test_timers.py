"""The shell around the timer wheel, with a clock that the test moves."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from a3s_gateway.transport.timers import Timers, timers_for


class TimersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.timers = Timers(self.clock)
        self.fired: list[str] = []

    def test_fires_once_after_its_delay(self) -> None:
        """The callback comes once, not before the delay is over and soon after it."""
        timer = self.timers.timer(lambda: self.fired.append("a"))
        timer.set(0.25)
        self.clock.advance(0.24)
        self.assertEqual(self.fired, [])
        self.clock.advance(0.11)
        self.assertEqual(self.fired, ["a"])
        self.clock.advance(10)
        self.assertEqual(self.fired, ["a"])

    def test_a_deadline_that_moves_does_not_fire(self) -> None:
        """A connection that is busy each second never sees its idle timeout of two."""
        timer = self.timers.timer(lambda: self.fired.append("idle"))
        for _ in range(30):
            timer.set(2)
            self.clock.advance(1)
        self.assertEqual(self.fired, [])
        self.clock.advance(1.1)
        self.assertEqual(self.fired, ["idle"])

    def test_moving_a_deadline_later_asks_nothing_of_the_reactor(self) -> None:
        """A thousand requests cost no more calls of the reactor than one."""
        timer = self.timers.timer(lambda: None)
        timer.set(60)
        (before,) = self.clock.getDelayedCalls()
        for _ in range(1000):
            self.clock.advance(0.01)
            timer.set(60)
        self.assertEqual(self.clock.getDelayedCalls(), [before])

    def test_a_nearer_deadline_is_kept(self) -> None:
        """A short timeout after a long one fires when the short one is over."""
        timer = self.timers.timer(lambda: self.fired.append("a"))
        timer.set(60)
        timer.set(0.5)
        self.clock.advance(0.6)
        self.assertEqual(self.fired, ["a"])

    def test_leaves_no_delayed_call_behind(self) -> None:
        """While no timer is set, a reactor has nothing of this in its list."""
        one, other = (self.timers.timer(lambda: None) for _ in range(2))
        one.set(1)
        other.set(2)
        one.cancel()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        other.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        one.set(1)
        self.clock.advance(1.1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_cancelled_timer_can_be_set_again(self) -> None:
        """Cancelling is not the end of a timer."""
        timer = self.timers.timer(lambda: self.fired.append("a"))
        timer.set(1)
        timer.cancel()
        timer.cancel()
        self.assertFalse(timer.active)
        timer.set(2)
        self.assertTrue(timer.active)
        self.clock.advance(2.1)
        self.assertEqual(self.fired, ["a"])
        self.assertFalse(timer.active)

    def test_a_timer_may_set_itself_when_it_fires(self) -> None:
        """A periodic job is a timer that sets itself."""
        timer = self.timers.timer(lambda: (self.fired.append("tick"), timer.set(1)))
        timer.set(1)
        self.clock.pump([0.1] * 35)
        self.assertEqual(self.fired, ["tick"] * 3)

    def test_an_error_in_one_does_not_stop_the_others(self) -> None:
        """The fault is in the log, and the timers behind it fire."""

        def fail() -> None:
            raise ValueError("of this test")

        for callback in (fail, lambda: self.fired.append("b")):
            self.timers.timer(callback).set(1)
        self.clock.advance(1.1)
        self.assertEqual(self.fired, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_one_wheel_per_reactor_and_none_without_users(self) -> None:
        """Whoever asks for the same reactor shares a wheel; nothing of it outlives them."""
        first = timers_for(self.clock)
        self.assertIs(timers_for(self.clock), first)
        self.assertIsNot(timers_for(Clock()), first)
        gone = weakref.ref(first)
        del first
        gc.collect()
        self.assertIsNone(gone())

"""The timer wheel against a list that looks at every deadline."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.transport.wheel import SLOTS_PER_SECOND, TimerWheel, WheelTimer

TIMERS = 4
SLOT = 1 / SLOTS_PER_SECOND

steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, TIMERS - 1), st.floats(0, 3)),
        st.tuples(st.just("cancel"), st.integers(0, TIMERS - 1), st.just(0.0)),
        st.tuples(st.just("pass"), st.just(0), st.floats(0, 1)),
    ),
    max_size=60,
)


def nothing() -> None:
    """Be the callback of a timer whose firing is seen elsewhere."""


@given(steps)
def test_fires_what_is_due_not_earlier_and_one_slot_later_at_most(
    script: list[tuple[str, int, float]],
) -> None:
    """However deadlines move, a timer fires once, after its last deadline, and soon after it."""
    wheel = TimerWheel()
    timers = [WheelTimer(nothing) for _ in range(TIMERS)]
    deadlines = [inf] * TIMERS
    now = 0.0
    for step, number, amount in script:
        match step:
            case "set":
                deadlines[number] = now + amount
                wheel.set(timers[number], now + amount)
            case "cancel":
                deadlines[number] = inf
                wheel.cancel(timers[number])
            case _:
                now += amount
        fired = [timers.index(timer) for timer in wheel.expire(now)]
        assert len(set(fired)) == len(fired)
        for one in fired:
            assert deadlines[one] <= now
            deadlines[one] = inf
        assert all(deadline > now - SLOT - 1e-9 for deadline in deadlines)
        assert [timer.active for timer in timers] == [d < inf for d in deadlines]


@given(steps)
def test_looks_are_announced(script: list[tuple[str, int, float]]) -> None:
    """Nobody has to look before `next_look`; without timers there is nothing to look for."""
    wheel = TimerWheel()
    timers = [WheelTimer(nothing) for _ in range(TIMERS)]
    now = 0.0
    for step, number, amount in script:
        match step:
            case "set":
                wheel.set(timers[number], now + amount)
            case "cancel":
                wheel.cancel(timers[number])
            case _:
                now += amount
        look = wheel.next_look()
        if look is None or look > now:
            assert list(wheel.expire(now)) == []
        assert look is not None or not any(timer.active for timer in timers)


def test_a_cancelled_timer_is_let_go() -> None:
    """A closed connection does not stay in memory until the deadline that it had."""
    wheel = TimerWheel()
    timer = WheelTimer(nothing)
    wheel.set(timer, 60.0)
    wheel.cancel(timer)
    assert wheel.next_look() is None


def test_a_later_deadline_leaves_the_timer_in_its_slot() -> None:
    """Moving a deadline later needs no work; it is done when the old slot comes up."""
    wheel = TimerWheel()
    timer = WheelTimer(nothing)
    assert wheel.set(timer, 1.0)
    assert not wheel.set(timer, 5.0)
    assert wheel.next_look() == 1.0
    assert list(wheel.expire(1.0)) == []
    assert wheel.next_look() == 5.0
    assert list(wheel.expire(5.0)) == [timer]


def test_an_earlier_deadline_moves_the_timer() -> None:
    """A deadline that comes nearer is kept."""
    wheel = TimerWheel()
    timer = WheelTimer(nothing)
    wheel.set(timer, 5.0)
    assert wheel.set(timer, 1.0)
    assert list(wheel.expire(1.0)) == [timer]
    assert list(wheel.expire(5.0)) == []


def test_what_fires_may_cancel_and_set_others_that_are_due() -> None:
    """A timer that is cancelled, or set anew, by one that fired just before does not fire."""
    wheel = TimerWheel()
    first, second, third = (WheelTimer(nothing) for _ in range(3))
    for timer in (first, second, third):
        wheel.set(timer, 1.0)
    fired = []
    for timer in wheel.expire(1.0):
        fired.append(timer)
        wheel.cancel(second)
        wheel.set(third, 2.0)
    assert fired == [first]
    assert list(wheel.expire(2.0)) == [third]

"""The states of a circuit breaker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.middleware._breaker import NOBODY, Breaker, State


def opened(**options: int) -> Breaker:
    """Open one at time 0, that rests for 10 seconds."""
    breaker = Breaker(1, 10.0, options.get("successes", 1), options.get("probes", 1))
    breaker.failed(breaker.admit(0.0), 0.0)
    assert breaker.state is State.OPEN
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """A success between them begins anew."""
    breaker = Breaker(3, 10.0, 1, 1)
    for went_well in (False, False, True, False, False):
        epoch = breaker.admit(0.0)
        breaker.succeeded(epoch) if went_well else breaker.failed(epoch, 0.0)
    assert breaker.state is State.CLOSED
    breaker.failed(breaker.admit(0.0), 0.0)
    assert (breaker.state, breaker.opened) == (State.OPEN, 1)
    assert breaker.admit(9.9) == NOBODY
    assert breaker.wait(9.0) == 1.0


def test_only_so_many_try_whether_it_may_be_closed() -> None:
    """The original let everybody through."""
    breaker = opened(probes=2, successes=3)
    probes = [breaker.admit(10.0) for _ in range(4)]
    assert probes[2:] == [NOBODY, NOBODY]
    breaker.succeeded(probes[0])
    assert breaker.admit(10.0) != NOBODY
    breaker.succeeded(probes[1])
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded(probes[0])
    assert breaker.state is State.CLOSED


def test_a_failure_while_it_is_tried_opens_it_again() -> None:
    """For another whole rest."""
    breaker = opened(successes=2)
    breaker.succeeded(breaker.admit(10.0))
    breaker.failed(breaker.admit(11.0), 11.0)
    assert breaker.opened == 2
    assert breaker.admit(20.9) == NOBODY
    assert breaker.admit(21.0) != NOBODY


def test_stragglers_do_not_lengthen_the_rest() -> None:
    """In the original each late failure began it anew."""
    breaker = Breaker(1, 10.0, 1, 1)
    first, second, third = (breaker.admit(0.0) for _ in range(3))
    breaker.failed(first, 0.0)
    breaker.failed(second, 9.0)
    probe = breaker.admit(10.0)
    assert probe != NOBODY
    breaker.succeeded(third)  # let through long ago: it says nothing of now
    assert breaker.state is State.HALF_OPEN
    breaker.succeeded(probe)
    assert breaker.state is State.CLOSED


def test_a_probe_whose_client_goes_away_makes_room() -> None:
    """Or it would stay half-open for ever."""
    breaker = opened()
    breaker.abandoned(breaker.admit(10.0))
    probe = breaker.admit(10.0)
    assert probe != NOBODY
    breaker.abandoned(0)  # of another epoch
    assert breaker.admit(10.0) == NOBODY


STEPS = st.lists(st.tuples(st.sampled_from("asfg"), st.integers(0, 5), st.integers(0, 3)))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), STEPS)
def test_it_never_gets_stuck(
    failures: int, successes: int, probes: int, steps: list[tuple[str, int, int]]
) -> None:
    """However requests come and end: when all have ended, a rest later one gets through."""
    breaker = Breaker(failures, 5.0, successes, probes)
    now = 0.0
    pending: list[int] = []
    for kind, which, pause in steps:
        now += pause
        if kind == "a":
            epoch = breaker.admit(now)
            if epoch != NOBODY:
                pending.append(epoch)
        elif pending:
            epoch = pending.pop(which % len(pending))
            if kind == "s":
                breaker.succeeded(epoch)
            elif kind == "f":
                breaker.failed(epoch, now)
            else:
                breaker.abandoned(epoch)
        assert sum(1 for each in pending if each == breaker._epoch) <= probes or (  # noqa: SLF001
            breaker.state is State.CLOSED
        )
    for epoch in pending:
        breaker.abandoned(epoch)
    assert breaker.admit(now + 5.0) != NOBODY

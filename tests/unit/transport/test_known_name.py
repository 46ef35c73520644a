from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.transport.known_name import AVOIDED_FOR, FIRST_RETRY, STALE_FOR, KnownName
from a3s_gateway.transport.targets import IpTarget

TTL = 30.0
LONGEST = 30.0


def v4(last: int) -> IpTarget:
    return socket.AF_INET, (f"192.0.2.{last}", 0)


def v6(last: int) -> IpTarget:
    return socket.AF_INET6, (f"2001:db8::{last}", 0, 0, 0)


def known(*addresses: IpTarget) -> KnownName:
    name = KnownName()
    name.learn(addresses, TTL, 0.0)
    return name


def test_nothing_is_known_at_first() -> None:
    """So it is asked for, and waited for."""
    name = KnownName()
    assert name.is_due(0.0)
    assert name.is_worth_a_wait(0.0)
    assert not name.is_usable(0.0)


@pytest.mark.parametrize(
    ("now", "is_due", "is_worth_a_wait"),
    [(0, False, False), (29, False, False), (30, True, False), (59, True, False), (60, True, True)],
)
def test_an_answer_grows_old(now: float, is_due: bool, is_worth_a_wait: bool) -> None:  # noqa: FBT001
    """Nobody waits for the next one unless the name was idle for long."""
    name = known(v4(1))
    assert (name.is_due(now), name.is_worth_a_wait(now)) == (is_due, is_worth_a_wait)
    assert name.is_usable(now)


def test_the_former_answer_stands_in_for_a_bounded_time() -> None:
    """Nobody waits for a name server that is known to be down, until the answer is too old."""
    name = known(v4(1))
    name.fail(LONGEST, TTL)
    assert name.is_usable(TTL + STALE_FOR - 1)
    assert not name.is_worth_a_wait(TTL + STALE_FOR - 1)
    assert not name.is_usable(TTL + STALE_FOR)
    assert name.is_worth_a_wait(TTL + STALE_FOR)


def test_failures_are_followed_by_longer_and_longer_pauses() -> None:
    """At most as long as an answer would be good for; an answer ends that."""
    name = KnownName()
    pauses: list[float] = []
    for _ in range(8):
        name.fail(LONGEST, 0.0)
        pauses.append(next(t for t in range(100) if name.is_due(t)))
    assert pauses == [FIRST_RETRY, 2, 4, 8, 16, 30, 30, 30]
    name.learn([v4(1)], TTL, 0.0)
    assert name.failures == 0


def test_every_address_is_the_first_in_its_turn() -> None:
    """And the others follow, should it not answer."""
    name = known(v4(1), v4(2), v4(3), v4(1))
    assert [name.in_turn(0.0) for _ in range(4)] == [
        [v4(1), v4(2), v4(3)],
        [v4(2), v4(3), v4(1)],
        [v4(3), v4(1), v4(2)],
        [v4(1), v4(2), v4(3)],
    ]


def test_families_alternate() -> None:
    """So that one that leads nowhere does not have to be tried to its end."""
    name = known(v6(1), v6(2), v6(3), v4(4), v4(5))
    assert name.addresses == (v6(1), v4(4), v6(2), v4(5), v6(3))


def test_what_did_not_answer_stands_at_the_end_for_a_while() -> None:
    """Or until it answers."""
    name = known(v6(1), v4(2))
    name.avoid(v6(1), 0.0)
    assert [name.in_turn(1.0)[0] for _ in range(3)] == [v4(2)] * 3
    assert {name.in_turn(AVOIDED_FOR)[0] for _ in range(2)} == {v4(2), v6(1)}
    name.avoid(v4(2), 0.0)
    name.answered(v4(2))
    assert {name.in_turn(AVOIDED_FOR)[0] for _ in range(2)} == {v4(2), v6(1)}


def test_only_addresses_that_it_has_are_avoided() -> None:
    """What is gone with the former answer takes no memory."""
    name = known(v4(1))
    name.avoid(v4(1), 0.0)
    name.learn([v4(2), v4(3)], TTL, 1.0)
    name.avoid(v4(1), 2.0)
    assert {name.in_turn(3.0)[0] for _ in range(2)} == {v4(2), v4(3)}


@given(
    st.lists(st.builds(lambda kind, last: kind(last), st.sampled_from([v4, v6]), st.integers(1, 9)))
)
def test_no_address_is_lost(addresses: list[IpTarget]) -> None:
    """Whatever the order, each stands there once."""
    name = KnownName()
    name.learn(addresses, TTL, 0.0)
    assert sorted(name.addresses, key=str) == sorted(set(addresses), key=str)

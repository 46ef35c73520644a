"""What survives a change of the configuration, and when the rest goes."""

from __future__ import annotations

import gc
import weakref

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.runtime.generation import Generation, StatePool


@define(eq=False, slots=False)
class Learned:
    """What a backend has taught us; can be closed, as connections can."""

    failures: int = 0
    closed: int = field(default=0, init=False)

    def close(self) -> None:
        self.closed += 1


def test_what_a_backend_has_taught_us_survives_a_reload() -> None:
    """A backend named before and after keeps its health; one no longer named is forgotten."""
    pool = StatePool()
    old, new = Generation(pool), Generation(pool)
    a, b = old.lease("a", Learned), old.lease("b", Learned)
    a.failures = 3

    assert new.lease("a", Learned) is a
    old.retire()

    assert (a.closed, b.closed) == (0, 1)
    assert new.lease("b", Learned) is not b
    new.retire()
    assert a.closed == 1


def test_a_generation_ends_with_its_last_exchange() -> None:
    """State stays until the exchange that began before the swap has written its last byte."""
    generation = Generation(StatePool())
    value = generation.lease("a", Learned)
    generation.hold()
    generation.hold()

    generation.retire()
    assert (generation.holds, value.closed) == (2, 0)
    generation.unhold()
    assert value.closed == 0
    generation.unhold()
    assert (generation.holds, value.closed) == (0, 1)


def test_one_in_force_keeps_its_state_between_exchanges() -> None:
    """An hour without a request forgets nothing."""
    generation = Generation(StatePool())
    value = generation.lease("a", Learned)
    generation.hold()
    generation.unhold()
    assert value.closed == 0


def test_what_is_leased_twice_is_given_back_twice() -> None:
    """Two routes may stand on the same thing."""
    generation = Generation(StatePool())
    value = generation.lease("a", Learned)
    assert generation.lease("a", Learned) is value
    generation.retire()
    assert value.closed == 1


def test_state_that_cannot_be_closed_is_just_dropped() -> None:
    """Counters have nothing to close."""
    pool = StatePool()
    generation = Generation(pool)
    counters: list[int] = generation.lease("counters", lambda: [1])
    generation.retire()
    assert Generation(pool).lease("counters", lambda: [2]) is not counters


def test_nothing_of_an_old_generation_is_reachable() -> None:
    """After its last exchange it and what was its alone can be collected."""
    pool = StatePool()
    old, new = Generation(pool), Generation(pool)
    learned = weakref.ref(old.lease("a", Learned))
    kept = weakref.ref(old.lease("b", Learned))
    new.lease("b", Learned)
    old.hold()
    old.retire()
    old.unhold()
    del old
    gc.collect()
    assert learned() is None
    assert kept() is not None


@given(st.lists(st.sets(st.sampled_from("abcd"))))
def test_after_any_row_of_reloads_only_the_last_one_counts(reloads: list[set[str]]) -> None:
    """What every generation since has named is the same object; all else is closed once."""
    pool = StatePool()
    alive: dict[str, Learned] = {}
    everything: list[Learned] = []
    current = Generation(pool)
    for names in reloads:
        successor = Generation(pool)
        found = {name: successor.lease(name, Learned) for name in names}
        current.retire()
        assert all(alive[name] is found[name] for name in names & alive.keys())
        everything += found.values()
        alive, current = found, successor
    assert all(each.closed == (each not in alive.values()) for each in everything)
    current.retire()
    assert all(each.closed == 1 for each in everything)

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.observability.repeats import QUIET, Repeats


def test_the_first_of_many_is_told_and_then_how_many_there_were() -> None:
    """A line every ten seconds, however fast things go wrong."""
    repeats = Repeats()
    assert repeats.note("a", 100.0) == 0
    assert [repeats.note("a", 100.0 + n / 1000) for n in range(1, 4)] == [None] * 3
    assert repeats.note("a", 100.0 + QUIET) == 3
    assert repeats.note("a", 100.0 + QUIET + 1) is None
    assert repeats.note("a", 100.0 + 2 * QUIET) == 1


def test_one_thing_does_not_hide_another() -> None:
    """A backend that times out is told of beside one that refuses."""
    repeats = Repeats()
    assert [repeats.note(key, 1.0) for key in ("a", "b", ("b", "timeout"))] == [0, 0, 0]


@given(st.lists(st.floats(0, 100)))
def test_none_is_lost(times: list[float]) -> None:
    """Each is told or counted: together they are as many as there were."""
    repeats = Repeats()
    found = [repeats.note("a", now) for now in sorted(times)]
    last = repeats.note("a", 1000.0)
    assert last is not None
    told = [withheld for withheld in found if withheld is not None]
    assert len(told) + sum(told) + last == len(times)

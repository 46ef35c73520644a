"""A cache whose size an attacker cannot choose."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.protocol.cache import TwoGenerations


@given(st.lists(st.integers(0, 30), max_size=200))
def test_it_never_holds_more_than_twice_its_size(keys: list[int]) -> None:
    """And never says anything wrong."""
    cache: TwoGenerations[int, str] = TwoGenerations(5)
    for key in keys:
        found = cache.get(key)
        assert found in (None, str(key))
        if found is None:
            cache.put(key, str(key))
        assert cache.get(key) == str(key)
        assert len(cache.young) + len(cache.old) <= 10


def test_what_is_used_stays() -> None:
    """A stream of keys that are seen once does not push out the one seen all the time."""
    cache: TwoGenerations[int, str] = TwoGenerations(5)
    cache.put(-1, "kept")
    for key in range(1000):
        cache.put(key, "passing")
        assert cache.get(-1) == "kept"
    assert cache.get(0) is None

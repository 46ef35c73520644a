"""Token buckets."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.middleware._token_bucket import Buckets


class Bucket:
    """A bucket as it is told: with tokens in it, and exact."""

    def __init__(self, interval: Fraction, burst: int) -> None:
        self.interval, self.burst = interval, burst
        self.tokens, self.at = Fraction(burst), Fraction(0)

    def take(self, now: Fraction) -> bool:
        self.tokens = min(self.tokens + (now - self.at) / self.interval, Fraction(self.burst))
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


STEPS = st.lists(st.integers(0, 4000).map(lambda n: Fraction(n, 16)), max_size=60)


@given(st.integers(1, 200), st.integers(1, 20), STEPS)
def test_it_is_a_bucket_of_tokens(sixteenths: int, burst: int, pauses: list[Fraction]) -> None:
    """Whatever the pauses, the same requests pass as with tokens that are counted."""
    interval = Fraction(sixteenths, 16)
    buckets, bucket = Buckets(float(interval), burst, 10), Bucket(interval, burst)
    now = Fraction(10)
    bucket.at = now
    for pause in pauses:
        now += pause
        ahead = buckets.take("a", float(now))
        assert (ahead > 0) == bucket.take(now)
        if ahead < 0:
            missing = (1 - bucket.tokens) * interval
            assert abs(-ahead - float(missing)) < 1e-9
        else:
            assert abs(ahead - float((burst - bucket.tokens) * interval)) < 1e-9


@given(st.floats(1e-4, 100), st.integers(1, 50), st.floats(0, 1e7))
def test_after_the_wait_that_is_told_there_is_a_token(
    interval: float, burst: int, begin: float
) -> None:
    """And not much before."""
    buckets = Buckets(interval, burst, 10)
    passed = 0
    while (ahead := buckets.take("a", begin)) > 0:
        passed += 1
    assert passed == burst
    wait = -ahead
    assert buckets.take("a", begin + wait * 0.9) < 0 or wait < 1e-4
    assert buckets.take("a", begin + wait) > 0


def test_each_key_has_its_own() -> None:
    """One client's burst does not cost another."""
    buckets = Buckets(1.0, 1, 10)
    assert [buckets.take(key, 5.0) > 0 for key in ("a", "a", "b")] == [True, False, True]


def test_memory_is_bounded() -> None:
    """Who was not seen for longest is forgotten, and begins anew."""
    buckets = Buckets(1.0, 1, 3)
    for key in ("a", "b", "c"):
        buckets.take(key, 0.0)
    assert buckets.take("a", 0.0) < 0  # seen again, though refused
    buckets.take("d", 0.0)
    assert len(buckets) == 3
    assert buckets.take("a", 0.0) < 0
    assert buckets.take("b", 0.0) > 0

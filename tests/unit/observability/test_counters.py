from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.http import Exchange
from a3s_gateway.observability.counters import BOUNDS, Histogram, RouteCounters


def exchange(
    status: int = 200, code: str = "", bytes_in: int = 0, bytes_out: int = 0, first_byte: float = 0
) -> Exchange:
    made = Exchange("web", "127.0.0.1", 100.0)
    made.status, made.code = status, code
    made.bytes_in, made.bytes_out = bytes_in, bytes_out
    made.first_byte_at = 100.0 + first_byte if first_byte else 0.0
    return made


def test_every_exchange_counts_in_one_class() -> None:
    """A status counts under its first digit; no status, or an odd one, is no reason to fail."""
    counters = RouteCounters()
    for status in (200, 204, 302, 404, 499, 503, 101, 0, 600, 999):
        counters.record(exchange(status), 0.1)
    assert counters.by_class == [3, 1, 2, 1, 2, 1]
    assert counters.requests == 10


def test_faults_count_by_code_and_answers_of_backends_do_not() -> None:
    """A 502 that a backend sent is not an error of the gateway; its own 502 is, by its code."""
    counters = RouteCounters()
    counters.record(exchange(502), 0.1)
    counters.record(exchange(502, "UPSTREAM_CONNECT"), 0.1)
    counters.record(exchange(502, "UPSTREAM_CONNECT"), 0.1)
    counters.record(exchange(404, "NO_ROUTE"), 0.1)
    assert counters.errors == {"UPSTREAM_CONNECT": 2, "NO_ROUTE": 1}


def test_bytes_add_up_each_way() -> None:
    """Uploads and downloads are told apart."""
    counters = RouteCounters()
    counters.record(exchange(bytes_in=5, bytes_out=70), 0.1)
    counters.record(exchange(bytes_in=1), 0.1)
    assert (counters.bytes_in, counters.bytes_out) == (6, 70)


def test_duration_and_first_byte_are_measured_from_the_same_moment() -> None:
    """A slow stream that began at once is slow in one histogram and quick in the other."""
    counters = RouteCounters()
    counters.record(exchange(first_byte=0.003), 45.0)
    assert counters.duration.sum == 45.0
    assert counters.first_byte.sum == pytest.approx(0.003)
    assert counters.duration.buckets.index(1) == BOUNDS.index(60.0)
    assert counters.first_byte.buckets.index(1) == BOUNDS.index(0.005)


def test_without_an_answer_there_is_no_first_byte() -> None:
    """A client that left early does not pull the time to the first byte down to zero."""
    counters = RouteCounters()
    counters.record(exchange(0), 0.2)
    assert (counters.first_byte.count, counters.duration.count) == (0, 1)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_belongs_to_its_bucket(bound: float) -> None:
    """Prometheus's `le` means less or equal."""
    histogram = Histogram()
    histogram.observe(bound)
    histogram.observe(bound * 1.0001)
    at = BOUNDS.index(bound)
    assert histogram.buckets[at : at + 2] == [1, 1]


@given(st.lists(st.floats(0, 1000)))
def test_record_and_observe_agree(durations: list[float]) -> None:
    """What a route records is what its histogram would have observed."""
    counters, histogram = RouteCounters(), Histogram()
    for duration in durations:
        counters.record(exchange(), duration)
        histogram.observe(duration)
    assert counters.duration.buckets == histogram.buckets
    assert counters.duration.sum == histogram.sum
    assert histogram.count == len(durations)


def test_counters_of_two_routes_are_apart() -> None:
    """Nothing is shared by accident, neither the lists nor the dictionaries."""
    one, other = RouteCounters(), RouteCounters()
    one.record(exchange(500, "INTERNAL", 1, 1, 0.1), 0.1)
    assert (other.requests, other.errors, other.duration.count, other.first_byte.count) == (
        0,
        {},
        0,
        0,
    )

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection
from math import gcd
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.config.balancing import Strategy
from a3s_gateway.service.backend import Backend
from a3s_gateway.service.balancer import (
    PLUGINS,
    STRATEGIES,
    Balancer,
    LeastConnections,
    PowerOfTwo,
    RandomChoice,
    RoundRobin,
    Weighted,
    balancer_for,
)

NAMES = "abcdefghij"
EVERY_STRATEGY = sorted(STRATEGIES)
ROTATING = ["round-robin", "weighted", "least-connections"]  # least-connections: while idle
WEIGHTS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def pool(*weights: int) -> list[Backend]:
    return [Backend(NAMES[index], weight) for index, weight in enumerate(weights)]


def picks(balancer: Balancer, count: int, excluded: Collection[Backend] = ()) -> str:
    """The urls of the next picks in a row; `-` where there was none."""
    picked = [balancer.pick(excluded) for _ in range(count)]
    return "".join("-" if backend is None else backend.url for backend in picked)


def seeded() -> Callable[[], float]:
    return random.Random(7).random


def scripted(*numbers: float) -> Callable[[], float]:
    return iter(numbers).__next__


def is_fair(observed: Counter[str], shares: dict[str, float]) -> bool:
    """Pearson's chi-square at a probability of error of one in a million (3 degrees of freedom)."""
    total = observed.total()
    statistic = sum((observed[k] - total * s) ** 2 / (total * s) for k, s in shares.items())
    return set(observed) <= set(shares) and statistic < 30


@pytest.mark.parametrize("strategy", ROTATING)
@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((1, 1, 1), "abcabcabc"),
        ((3, 1), "aabaaaba"),
        ((5, 1, 1), "aabacaaaabacaa"),
        ((2, 3), "babab" * 2),
        ((2, 2), "abab"),
        ((10, 20), "babbab"),
        ((4,), "aaa"),
    ],
)
def test_weights_give_the_known_smooth_sequence(
    strategy: str, weights: tuple[int, ...], expected: str
) -> None:
    """The order is nginx's: a heavy server's turns are spread, not in one block."""
    balancer = balancer_for(strategy, pool(*weights), seeded())
    assert picks(balancer, len(expected)) == expected


@pytest.mark.parametrize("strategy", ROTATING)
@given(weights=WEIGHTS, cycles=st.integers(1, 4))
def test_every_cycle_gives_exact_shares(strategy: str, weights: list[int], cycles: int) -> None:
    """In each full cycle every server is picked as often as its weight says."""
    balancer = balancer_for(strategy, pool(*weights), seeded())
    divisor = gcd(*weights)
    shares = {NAMES[i]: weight // divisor for i, weight in enumerate(weights)}
    for _ in range(cycles):
        assert Counter(picks(balancer, sum(shares.values()))) == shares


@given(weights=WEIGHTS, data=st.data())
def test_smooth_means_never_far_from_the_ideal_share(
    weights: list[int], data: st.DataObject
) -> None:
    """At no moment has a server had a whole round more or less than its share so far."""
    balancer = Weighted(pool(*weights))
    count = data.draw(st.integers(1, 3 * sum(weights)))
    counted = Counter(picks(balancer, count))
    for index, weight in enumerate(weights):
        ideal = count * weight / sum(weights)
        assert abs(counted[NAMES[index]] - ideal) < len(weights)


def test_rotation_goes_on_without_a_server_that_is_away() -> None:
    """The others take turns evenly, none inherits the whole share of the absent one."""
    backends = pool(1, 1, 1)
    balancer = RoundRobin(backends)
    assert picks(balancer, 4) == "abca"
    backends[1].available = False
    assert picks(balancer, 5) == "cacac"
    backends[1].available = True
    assert picks(balancer, 6) == "abcabc"


def test_shares_hold_among_those_that_are_left() -> None:
    """While a server is away, the rest share by weight; when it is back, all do."""
    backends = pool(3, 2, 1)
    balancer = Weighted(backends)
    assert picks(balancer, 6) == "abacba"
    backends[0].available = False
    assert picks(balancer, 6) == "bcbbcb"
    backends[0].available = True
    assert picks(balancer, 6) == "abacba"


@given(weights=WEIGHTS, data=st.data())
def test_shares_recover_after_any_history(weights: list[int], data: st.DataObject) -> None:
    """However servers came and went, what follows deviates from the shares by a bounded amount."""
    backends = pool(*weights)
    balancer = Weighted(backends)
    for down in data.draw(st.lists(st.sets(st.sampled_from(backends)), max_size=20)):
        for backend in backends:
            backend.available = backend not in down
        balancer.pick()
    for backend in backends:
        backend.available = True
    cycles = 50
    counted = Counter(picks(balancer, cycles * sum(weights)))
    for backend in backends:
        assert abs(counted[backend.url] - cycles * backend.weight) <= len(weights)


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
@given(weights=WEIGHTS, data=st.data())
def test_only_what_can_be_picked_is_picked(
    strategy: str, weights: list[int], data: st.DataObject
) -> None:
    """No strategy picks an absent, tried or drained server, or gives up while there is one."""
    drained = data.draw(st.sets(st.integers(0, len(weights) - 1)))
    backends = pool(*(0 if i in drained else weight for i, weight in enumerate(weights)))
    balancer = balancer_for(strategy, backends, seeded())
    some = st.sets(st.sampled_from(backends))
    for away, excluded in data.draw(st.lists(st.tuples(some, some), max_size=8)):
        for backend in backends:
            backend.available = backend not in away
            backend.in_flight = data.draw(st.integers(0, 3))
        allowed = {b for b in backends if b.weight} - away - excluded
        picked = balancer.pick(excluded)
        assert picked in allowed if allowed else picked is None


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_an_empty_pool_has_nothing_to_pick(strategy: str) -> None:
    """A service without servers answers 503 instead of failing."""
    assert picks(balancer_for(strategy, [], seeded()), 2) == "--"


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_pick_leases_nothing(strategy: str) -> None:
    """Whoever gives up between pick and request leaves no trace in the counters."""
    backends = pool(2, 1)
    picks(balancer_for(strategy, backends, seeded()), 5)
    assert [(b.in_flight, b.requests) for b in backends] == [(0, 0), (0, 0)]


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_server_that_was_tried_is_not_tried_again(strategy: str) -> None:
    """Trying one after the other, each server is asked once, and then there is none."""
    balancer = balancer_for(strategy, pool(1, 4, 2), seeded())
    tried: list[Backend] = []
    while (backend := balancer.pick(tried)) is not None:
        tried.append(backend)
    assert sorted(b.url for b in tried) == ["a", "b", "c"]


def test_least_connections_prefers_the_idle() -> None:
    """A slow server that collects requests gets no more of them than the others have."""
    backends = pool(1, 1, 1)
    balancer = LeastConnections(backends)
    backends[0].in_flight, backends[1].in_flight, backends[2].in_flight = 2, 1, 3
    assert picks(balancer, 3) == "bbb"


def test_least_connections_counts_relative_to_weight() -> None:
    """A server of weight 4 with three requests is less loaded than one of weight 1 with one."""
    backends = pool(4, 1)
    balancer = LeastConnections(backends)
    backends[0].in_flight, backends[1].in_flight = 3, 1
    assert picks(balancer, 2) == "aa"
    backends[0].in_flight = 5
    assert picks(balancer, 2) == "bb"


def test_least_connections_rotates_among_the_tied_only() -> None:
    """Two idle servers beside a busy one take turns; the one after the busy one gets no more."""
    backends = pool(1, 1, 1)
    balancer = LeastConnections(backends)
    backends[0].in_flight = 1
    assert picks(balancer, 6) == "bcbcbc"


def test_least_connections_fills_servers_in_proportion() -> None:
    """Requests that never end are spread exactly by weight."""
    backends = pool(3, 2, 1)
    balancer = LeastConnections(backends)
    for _ in range(60):
        picked = balancer.pick()
        assert picked is not None
        picked.acquire()
    assert [b.in_flight for b in backends] == [30, 20, 10]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ((1, 1, 1, 1), (0.25, 0.25, 0.25, 0.25)),
        ((7, 7), (0.5, 0.5)),
        ((1, 3), (0.25, 0.75)),
        ((5, 0, 1), (5 / 6, 0, 1 / 6)),
    ],
)
@pytest.mark.parametrize("build", [RandomChoice, PowerOfTwo.over])
def test_chance_keeps_to_the_shares(
    build: Callable[..., Balancer], weights: tuple[int, ...], shares: tuple[float, ...]
) -> None:
    """Many picks of idle servers come out in proportion to the weights."""
    counted = Counter(picks(build(pool(*weights), seeded()), 20_000))
    expected = {NAMES[i]: share for i, share in enumerate(shares) if share}
    assert is_fair(counted, expected)


def test_chance_shares_an_absent_servers_part_in_proportion() -> None:
    """What an absent server would have had falls to the others by weight, not to its neighbour."""
    backends = pool(1, 6, 3, 1)
    balancer = RandomChoice(backends, seeded())
    backends[1].available = False
    counted = Counter(picks(balancer, 20_000, excluded={backends[3]}))
    assert is_fair(counted, {"a": 0.25, "c": 0.75})


def test_the_ends_of_the_random_range_are_servers() -> None:
    """The smallest and the largest number a source can give choose the first and the last."""
    almost_one = 1 - 2**-53
    balancer = RandomChoice(pool(1, 1, 1), scripted(0.0, almost_one, 1 / 3))
    assert picks(balancer, 3) == "acb"


def test_two_choices_take_the_less_loaded() -> None:
    """With two servers both are always compared, so the busier one is never picked."""
    backends = pool(1, 1)
    balancer = PowerOfTwo.over(backends, seeded())
    backends[0].in_flight = 1
    assert picks(balancer, 50) == "b" * 50


def test_two_choices_compare_relative_to_weight() -> None:
    """A heavy server may carry more before it counts as the busier one."""
    backends = pool(4, 1)
    balancer = PowerOfTwo.over(backends, seeded())
    backends[0].in_flight, backends[1].in_flight = 3, 1
    assert picks(balancer, 50) == "a" * 50


def test_two_choices_never_take_the_busiest() -> None:
    """Two different servers are drawn, so the most loaded of all always loses."""
    backends = pool(1, 1, 1, 1)
    balancer = PowerOfTwo.over(backends, seeded())
    for load, backend in enumerate(backends):
        backend.in_flight = load
    counted = Counter(picks(balancer, 20_000))
    assert is_fair(counted, {"a": 3 / 6, "b": 2 / 6, "c": 1 / 6})


def test_every_strategy_that_can_be_configured_is_there() -> None:
    """What the configuration accepts can be built, under the same name, and nothing else."""
    assert set(STRATEGIES) == set(get_args(Strategy))
    assert {plugin.name: plugin.build for plugin in PLUGINS} == STRATEGIES


def test_an_unknown_strategy_is_an_error() -> None:
    """A name that the configuration let through by mistake does not become round-robin."""
    with pytest.raises(KeyError, match="fastest"):
        balancer_for("fastest", pool(1), seeded())

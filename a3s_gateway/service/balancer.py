"""
Which server is next: five strategies, none of which knows a clock or a socket.

Weights are shares: with 3 and 1 the first server gets three picks of four. They are read
when a balancer is built; a server of weight 0 is drained, no strategy ever picks it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate, cycle, islice
from math import inf
from typing import Final, Protocol, Self

from attrs import define, field

from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.plugin import Plugin
from a3s_gateway.service.backend import Backend

Random = Callable[[], float]  # uniform in [0, 1)


class Balancer(Protocol):
    """Chooses a server for one attempt."""

    def pick(self, excluded: Collection[Backend] = ()) -> Backend | None:
        """
        Choose an available backend that is not in `excluded` (those already tried).

        Returns:
            `None` when there is none. Nothing is leased yet.

        """
        ...


@define(eq=False)
class Candidate:
    """A backend with its weight, and the credit that it has in a smooth rotation."""

    backend: Backend
    weight: int
    credit: int = field(default=0, init=False)


def _serving(backends: Iterable[Backend]) -> tuple[Backend, ...]:
    return tuple(backend for backend in backends if backend.weight > 0)


def _weighed(backends: Iterable[Backend]) -> tuple[Candidate, ...]:
    return tuple(Candidate(backend, backend.weight) for backend in _serving(backends))


def _usable(candidates: Iterable[Candidate], excluded: Collection[Backend]) -> list[Candidate]:
    return [c for c in candidates if c.backend.available and c.backend not in excluded]


def _cumulate(candidates: Iterable[Candidate]) -> list[int]:
    return list(accumulate(candidate.weight for candidate in candidates))


def _next_in_turn(candidates: Sequence[Candidate]) -> Candidate:
    """
    Smooth weighted round robin, as nginx has it, over `candidates` (at least one).

    Everyone earns its weight; the richest, of equals the first, is chosen and pays what
    all have earned. Weights 5, 1, 1 give a a b a c a a, and credits of 0 again.
    """
    total = 0
    best = candidates[0]
    most = 0
    for candidate in candidates:
        weight = candidate.weight
        total += weight
        candidate.credit = credit = candidate.credit + weight
        if credit > most or candidate is best:
            best = candidate
            most = credit
    best.credit -= total
    return best


@define(eq=False)
class RoundRobin:
    """Plain rotation: what smooth weighted round robin comes to when weights are equal."""

    _backends: tuple[Backend, ...] = field(converter=_serving)
    _rotation: Iterator[Backend] = field(init=False)

    @_rotation.default
    def _endless(self) -> Iterator[Backend]:
        return cycle(self._backends)

    def pick(self, excluded: Collection[Backend] = ()) -> Backend | None:
        """Choose the next one; a server that is passed over loses its turn."""
        for backend in islice(self._rotation, len(self._backends)):
            if backend.available and backend not in excluded:
                return backend
        return None


@define(eq=False)
class Weighted:
    """Smooth weighted round robin: shares are exact and as evenly spread as they can be."""

    _candidates: tuple[Candidate, ...] = field(converter=_weighed)

    def pick(self, excluded: Collection[Backend] = ()) -> Backend | None:
        """Choose by credit among those that can be picked; the credit of others rests."""
        usable = _usable(self._candidates, excluded)
        return _next_in_turn(usable).backend if usable else None


@define(eq=False)
class LeastConnections:
    """The server with the fewest requests in flight for its weight; ties rotate smoothly."""

    _candidates: tuple[Candidate, ...] = field(converter=_weighed)

    def pick(self, excluded: Collection[Backend] = ()) -> Backend | None:
        """Choose the least loaded; of equals, whose turn it is by weight."""
        least = inf
        tied: list[Candidate] = []
        for candidate in self._candidates:
            backend = candidate.backend
            if not backend.available or backend in excluded:
                continue
            load = backend.in_flight / candidate.weight
            if load < least:
                least = load
                tied = [candidate]
            elif load == least:
                tied.append(candidate)
        if len(tied) > 1:
            return _next_in_turn(tied).backend
        return tied[0].backend if tied else None


@define(eq=False)
class RandomChoice:
    """Each server with a probability of its share; independent of what was picked before."""

    _candidates: tuple[Candidate, ...] = field(converter=_weighed)
    _random: Random
    _cumulative: list[int] = field(init=False)

    @_cumulative.default
    def _sums(self) -> list[int]:
        return _cumulate(self._candidates)

    def pick(self, excluded: Collection[Backend] = ()) -> Backend | None:
        """Choose by chance among those that can be picked."""
        drawn = self.draw(excluded)
        return None if drawn is None else drawn.backend

    def draw(self, excluded: Collection[Backend]) -> Candidate | None:
        """
        Draw from all; should that one not be usable, once more from the usable ones.

        Shares stay exact: what falls to the unusable is shared out in proportion.
        """
        candidates = self._candidates
        if not candidates:
            return None
        cumulative = self._cumulative
        drawn = candidates[bisect_right(cumulative, self._random() * cumulative[-1])]
        if drawn.backend.available and drawn.backend not in excluded:
            return drawn
        usable = _usable(candidates, excluded)
        if not usable:
            return None
        cumulative = _cumulate(usable)
        return usable[bisect_right(cumulative, self._random() * cumulative[-1])]


@define(eq=False)
class PowerOfTwo:
    """
    Of two different servers drawn at random, the one with less in flight for its weight.

    Close to least-connections at a cost that does not grow with the number of servers,
    and without the herd that runs to the one idle server. Of equals the first drawn wins.
    """

    _chance: RandomChoice

    @classmethod
    def over(cls, backends: Iterable[Backend], random: Random) -> Self:
        """Draw from `backends`, by weight."""
        return cls(RandomChoice(backends, random))

    def pick(self, excluded: Collection[Backend] = ()) -> Backend | None:
        """Choose the better of two; the only one where there are not two."""
        first = self._chance.draw(excluded)
        if first is None:
            return None
        second = self._chance.draw((*excluded, first.backend))
        if second is None:
            return first.backend
        load = first.backend.in_flight / first.weight
        return first.backend if load <= second.backend.in_flight / second.weight else second.backend


def _rotation(backends: Sequence[Backend], _random: Random) -> Balancer:
    weights = {backend.weight for backend in backends if backend.weight > 0}
    return Weighted(backends) if len(weights) > 1 else RoundRobin(backends)


def _least_connections(backends: Sequence[Backend], _random: Random) -> Balancer:
    return LeastConnections(backends)


STRATEGIES: Final[dict[str, Callable[[Sequence[Backend], Random], Balancer]]] = {
    "round-robin": _rotation,
    "weighted": _rotation,
    "least-connections": _least_connections,
    "random": RandomChoice,
    "p2c": PowerOfTwo.over,
}

PLUGINS: Final = tuple(
    Plugin("balancer", name, LoadBalancerConfig, build) for name, build in STRATEGIES.items()
)


def balancer_for(strategy: str, backends: Sequence[Backend], random: Random) -> Balancer:
    """
    Build the balancer of one pool.

    `round-robin` and `weighted` are one algorithm; rotation is its fast form.

    Raises:
        KeyError: `strategy` is none of `STRATEGIES`; the configuration is checked earlier.

    """
    return STRATEGIES[strategy](backends, random)

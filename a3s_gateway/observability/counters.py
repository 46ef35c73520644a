"""
Counters that the compiled routes hold: plain integers, bound when a snapshot is compiled.

Nothing is looked up by label while traffic flows; whoever exposes them walks the snapshot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container
from typing import Final

from attrs import define, field

from a3s_gateway.http import Exchange

# Upper bounds in seconds, inclusive as Prometheus has it. Prometheus's own defaults begin at
# 5 ms, above most answers of a gateway, and end at 10 s, below its time limits.
BOUNDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
)  # fmt: skip


def _empty_buckets() -> list[int]:
    return [0] * (len(BOUNDS) + 1)


@define(eq=False)
class Histogram:
    """
    How often a time fell between two of `BOUNDS`.

    Attributes:
        buckets: Counts by interval, not cumulative; the last one is above every bound.
        sum: Seconds in all.

    """

    buckets: list[int] = field(factory=_empty_buckets, init=False)
    sum: float = field(default=0.0, init=False)

    @property
    def count(self) -> int:
        """How many times were observed."""
        return sum(self.buckets)

    def observe(self, seconds: float) -> None:
        """Count one time."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


@define(eq=False)
class RouteCounters:
    """
    What became of the exchanges of one route (or service, or entrypoint).

    Attributes:
        by_class: Exchanges by the first digit of their status; [0] is for those without
            one (the client left before there was an answer) and for odd ones above 599.
        errors: Exchanges by fault code, where there was one.
        bytes_in: Bytes of request bodies.
        bytes_out: Bytes of response bodies.
        duration: From the request's first byte to the end of the exchange.
        first_byte: From the same moment to the first byte of the response, if any came.
        on_close: Hears that the route is gone; who sums over routes goes on counting it.

    """

    on_close: Callable[[RouteCounters], None] | None = None

    by_class: list[int] = field(factory=lambda: [0] * 6, init=False)
    errors: dict[str, int] = field(factory=dict, init=False)
    bytes_in: int = field(default=0, init=False)
    bytes_out: int = field(default=0, init=False)
    duration: Histogram = field(factory=Histogram, init=False)
    first_byte: Histogram = field(factory=Histogram, init=False)

    @property
    def requests(self) -> int:
        """Every exchange that ended."""
        return sum(self.by_class)

    def record(self, exchange: Exchange, duration: float) -> None:
        """Count an exchange that has just ended and lasted `duration` seconds."""
        status = exchange.status
        self.by_class[status // 100 if status < 600 else 0] += 1
        if exchange.code:
            self.errors[exchange.code] = self.errors.get(exchange.code, 0) + 1
        self.bytes_in += exchange.bytes_in
        self.bytes_out += exchange.bytes_out
        # `Histogram.observe` twice, written out: the two calls would cost as much as the rest.
        histogram = self.duration
        histogram.buckets[bisect_left(BOUNDS, duration)] += 1
        histogram.sum += duration
        if exchange.first_byte_at:
            seconds = exchange.first_byte_at - exchange.started_at
            histogram = self.first_byte
            histogram.buckets[bisect_left(BOUNDS, seconds)] += 1
            histogram.sum += seconds

    @property
    def refused(self) -> int:
        """Exchanges with a status of 400 or above."""
        return self.by_class[4] + self.by_class[5]

    def add(self, other: RouteCounters) -> None:
        """Count what another has counted, too, but for its times."""
        for index, count in enumerate(other.by_class):
            self.by_class[index] += count
        for code, count in other.errors.items():
            self.errors[code] = self.errors.get(code, 0) + count
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out

    def close(self) -> None:
        """Hear that no configuration has the route any more."""
        if self.on_close is not None:
            self.on_close(self)


@define(eq=False)
class Invocations:
    """
    What became of the requests that a middleware was asked about, by whichever router.

    Attributes:
        count: How many there were; a request that is tried again counts again.
        refused: How many it answered itself.
        noted: Seconds, each from when it got a request to when it passed it on or answered it.

    """

    count: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    noted: list[float] = field(factory=list, init=False)  # times that `duration` has not yet
    _duration: Histogram = field(factory=Histogram, init=False)

    @property
    def duration(self) -> Histogram:
        """The distribution of all times so far."""
        self.settle()
        return self._duration

    def settle(self) -> None:
        """Observe what was noted: many at once cost half of each alone."""
        noted, self.noted = self.noted, []
        for seconds in noted:
            self._duration.observe(seconds)

    def answered(self, seconds: float) -> None:
        """Count a request that went no further."""
        self.refused += 1
        self.noted.append(seconds)


# Why a datagram goes no further; docs/udp.md explains each.
DROPS: Final = (
    "congested", "denied", "no_backend", "no_route", "too_large", "unreachable", "waiting",
)  # fmt: skip


@define(eq=False)
class DatagramCounters:
    """
    What came and went at one UDP entrypoint.

    Attributes:
        datagrams_in: From clients, whatever became of them.
        datagrams_out: To clients.
        bytes_in: Bytes of the former.
        bytes_out: Bytes of the latter.
        dropped: Datagrams in either direction that went no further, by one of `DROPS`.

    """

    datagrams_in: int = field(default=0, init=False)
    datagrams_out: int = field(default=0, init=False)
    bytes_in: int = field(default=0, init=False)
    bytes_out: int = field(default=0, init=False)
    dropped: dict[str, int] = field(factory=lambda: dict.fromkeys(DROPS, 0), init=False)


@define(eq=False)
class Ledger:
    """
    The counters of all routes there ever were: a sum over routes must never go back.

    Those of a route that is gone are added up. An exchange of it may still wait in an
    observer's batch then, so that is done by `settle`, which whoever reads calls after the
    observers have flushed. A route that is removed, and drains for hours, is still open.
    """

    _open: dict[RouteCounters, str] = field(factory=dict, init=False)  # and their services
    _closed: list[RouteCounters] = field(factory=list, init=False)
    _total: RouteCounters = field(factory=RouteCounters, init=False)
    _by_service: dict[str, RouteCounters] = field(factory=dict, init=False)

    def open(self, service: str) -> RouteCounters:
        """Make the counters of a route to `service`; the caller closes them."""
        counters = RouteCounters(self._close)
        self._open[counters] = service
        return counters

    def _close(self, counters: RouteCounters) -> None:
        self._closed.append(counters)

    def settle(self, services: Container[str]) -> None:
        """Add up what is closed; of services only those that there are still remembered."""
        closed, self._closed = self._closed, []
        for counters in closed:
            service = self._open.pop(counters)
            self._total.add(counters)
            self._by_service.setdefault(service, RouteCounters()).add(counters)
        for gone in [name for name in self._by_service if name not in services]:
            del self._by_service[gone]

    def counters(self) -> list[RouteCounters]:
        """Return counters whose sum is that of all routes there ever were."""
        return [*self._open, self._total]

    def by_service(self) -> dict[str, list[RouteCounters]]:
        """Return the same for each service."""
        found = {name: [counters] for name, counters in self._by_service.items()}
        for counters, service in self._open.items():
            found.setdefault(service, []).append(counters)
        return found

"""What metrics are made of: the counters that the parts of the gateway hold, gathered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Protocol

from attrs import field, frozen

from a3s_gateway.observability.counters import DatagramCounters, Invocations, Ledger, RouteCounters
from a3s_gateway.service.backend import Backend
from a3s_gateway.service.hub import ChannelCounters, Hub


class CountedRoute(Protocol):
    """A compiled router; `dataplane.Route` is one."""

    @property
    def name(self) -> str:
        """The router's."""

    @property
    def service(self) -> str:
        """Where it leads."""

    @property
    def counters(self) -> RouteCounters:
        """What it has counted."""


class Circuit(Protocol):
    """The state of a circuit breaker for one service; `middleware._breaker.Breaker` is one."""

    @property
    def state(self) -> IntEnum:
        """0 closed, 1 half-open, 2 open."""

    @property
    def opened(self) -> int:
        """How often it has opened."""


class Connections(Protocol):
    """The connections to one server; `proxy.pool.Pool` has them."""

    @property
    def open(self) -> int:
        """How many there are."""

    @property
    def idle(self) -> int:
        """How many of them nobody uses."""


class Outcomes(Protocol):
    """What became of the configurations that were to be put in force after the start."""

    @property
    def succeeded(self) -> int:
        """How many were."""

    @property
    def failed(self) -> int:
        """How many were not: what was in force before still is."""

    @property
    def is_last_successful(self) -> bool:
        """Whether the last one was; true if there was none."""

    @property
    def last_at(self) -> float:
        """When the last one was tried, in seconds since 1970; 0 if there was none."""

    @property
    def last_success_at(self) -> float:
        """When one last succeeded, or the gateway started."""


class Certificate(Protocol):
    """A certificate of an entrypoint; `transport.tls_identity.Identity` is one."""

    @property
    def cert_file(self) -> str:
        """Where it was read from."""

    @property
    def algorithm(self) -> str:
        """Of its key."""

    @property
    def names(self) -> Sequence[str]:
        """Host names it is for."""

    @property
    def addresses(self) -> Sequence[str]:
        """Addresses it is for."""

    @property
    def serial(self) -> str:
        """Its number."""

    @property
    def not_after(self) -> datetime:
        """When it expires."""


@frozen(eq=False, kw_only=True)
class Certificates:
    """
    What clients are shown.

    Attributes:
        by_entrypoint: All certificates.
        renewed: How often new files were put in force without a reload.
        failed: How often new files could not be used.

    """

    by_entrypoint: Mapping[str, Sequence[Certificate]] = field(factory=dict)
    renewed: int = 0
    failed: int = 0


@frozen(eq=False, kw_only=True)
class Facts:
    """
    The gateway's counters, by the names of the configuration that is in force.

    Attributes:
        version: Of the gateway.
        routes: Every router, in the order of the configuration.
        services: The backends of each service.
        pools: The connections to each backend.
        invocations: How often each middleware was asked.
        connections: Clients connected to each entrypoint.
        datagrams: What came and went at each UDP entrypoint.
        unrouted: What no route took, by entrypoint, those that are gone included.
        ledger: What all routes have counted, those that are gone included; settled.
        channels: What went through each entry of `ws_mux.channels`; empty if nobody can use it.
        hub: Who is connected to them; None as before.
        circuits: For each circuit breaker the circuits of the services that there are.
        reloads: What became of them.
        lookups: How many names of servers were looked up, by outcome.
        certificates: What clients are shown.
        lost_lines: Lines of the access log that could not be written.
        lost_spans: Spans that no collector has taken.

    """

    version: str = ""
    routes: Sequence[CountedRoute] = ()
    services: Mapping[str, Sequence[Backend]] = field(factory=dict)
    pools: Mapping[Backend, Connections] = field(factory=dict)
    invocations: Mapping[str, Invocations] = field(factory=dict)
    connections: Mapping[str, int] = field(factory=dict)
    datagrams: Mapping[str, DatagramCounters] = field(factory=dict)
    unrouted: Mapping[str, RouteCounters] = field(factory=dict)
    ledger: Ledger = field(factory=Ledger)
    channels: Mapping[str, ChannelCounters] = field(factory=dict)
    hub: Hub | None = None
    circuits: Mapping[str, Mapping[str, Circuit]] = field(factory=dict)
    reloads: Outcomes
    certificates: Certificates = field(factory=Certificates)
    lookups: Mapping[str, int] = field(factory=dict)
    lost_lines: int = 0
    lost_spans: int = 0

    def counters(self) -> Sequence[RouteCounters]:
        """Return all counters whose sum is what the gateway has done since its start."""
        return [*self.ledger.counters(), *self.unrouted.values()]

    def by_service(self) -> Mapping[str, Sequence[RouteCounters]]:
        """Return the counters of what each service was asked for, built-in ones included."""
        found = self.ledger.by_service()
        known = dict.fromkeys([*self.services, *(route.service for route in self.routes)])
        return {name: found.get(name, ()) for name in known}

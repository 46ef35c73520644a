"""What metrics are made of: the counters that the parts of the gateway hold, gathered once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from a3s_gateway.observability.counters import Ledger, RouteCounters
from a3s_gateway.service.backend import Backend


class CountedRoute(Protocol):
    """A compiled router; `dataplane.Route` is one."""

    @property
    def name(self) -> str:
        """The router's."""

    @property
    def service(self) -> str:
        """Where it leads."""

    @property
    def counters(self) -> Sequence[RouteCounters]:
        """Return all counters whose sum is what the gateway has done since its start."""
        return [*self.ledger.counters(), *self.unrouted.values()]

    def by_service(self) -> Mapping[str, Sequence[RouteCounters]]:
        """Return the counters of what each service was asked for, built-in ones included."""
        found = self.ledger.by_service()
        known = dict.fromkeys([*self.services, *(route.service for route in self.routes)])
        return {name: found.get(name, ()) for name in known}

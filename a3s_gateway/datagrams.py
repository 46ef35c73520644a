"""
Life of a UDP session, as far as it is decided at load: which route, which service, what is told.

The counterpart of `dataplane.py`. UDP knows no requests: what a route takes is the first datagram
of a client, and with it all that client and server say to each other until both are silent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from attrs import define, field, frozen

from .dataplane import Generation, Observer
from .errors import UpstreamError
from .http import Exchange
from .observability.counters import DatagramCounters, RouteCounters
from .router.table import RouteTable
from .router.tcp import Caller
from .service.backend import Backend, Watch
from .service.balancer import Balancer
from .transport.datagram import DatagramLink, Talker


class Origin(Protocol):
    """One server as something to talk with."""

    def open(self, talker: Talker) -> Awaitable[DatagramLink]:
        """Begin a talk; raises `UpstreamConnectError`."""


@frozen(eq=False)
class UdpUpstream:
    """The servers of a service, one of which a session goes to."""

    balancer: Balancer
    origins: dict[Backend, Origin]
    report: Callable[[Backend, UpstreamError], None]
    watch: Watch


@frozen(eq=False)
class UdpRoute:
    """One router, compiled."""

    name: str
    service: str
    upstream: UdpUpstream
    counters: RouteCounters


@define(eq=False)
class UdpResource:
    """
    What sessions of one entrypoint begin with; a reload puts another in its place.

    Attributes:
        routes: Its routers.
        counters: What comes and goes at the entrypoint.
        backends: Whom its sessions may go to.

    """

    name: str
    generation: Generation
    observer: Observer
    routes: RouteTable[UdpRoute]
    counters: DatagramCounters
    backends: frozenset[Backend] = field(init=False)

    @backends.default
    def _reached(self) -> frozenset[Backend]:
        routes = (entry.value for entry in self.routes.entries())
        return frozenset(b for route in routes for b in route.upstream.origins)

    def begin(self, client: str, now: float) -> tuple[Exchange, UdpUpstream] | None:
        """Open an exchange for a client's session, to be closed with it; None: no router's."""
        route = self.routes.find(Caller(client))
        if route is None:
            return None
        # The generation lives until this session is over, whatever is reloaded meanwhile.
        self.generation.hold()
        exchange = Exchange(self.name, client, now)
        exchange.protocol = "UDP"
        exchange.router = route.name
        exchange.service = route.service
        exchange.counters = route.counters
        exchange.on_close(partial(self._over, exchange))
        return exchange, route.upstream

    def _over(self, exchange: Exchange) -> None:
        self.observer.observe(None, exchange)
        self.generation.unhold()

"""
Life of a TCP connection: from an entrypoint to a backend, in reading order.

The counterpart of `dataplane.py`. There are no requests here: what a route takes is a connection,
and with it all that client and server say to each other until both have ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from attrs import define, field, frozen

from .dataplane import Generation, Observer
from .errors import GatewayError, UpstreamConnectError, UpstreamError
from .http import Exchange
from .middleware.tcp_filter import TcpFilter
from .observability.counters import Invocations, RouteCounters
from .protocol.proxy_protocol import Place
from .proxy.tcp import ServerEnd
from .router.table import RouteTable
from .router.tcp import Caller
from .service.backend import Backend, Watch
from .service.balancer import Balancer


class Origin(Protocol):
    """One server as something to connect to."""

    def connect(
        self, exchange: Exchange, source: Place | None, destination: Place | None
    ) -> Awaitable[ServerEnd]:
        """Connect; raises `UpstreamConnectError`."""


@frozen(eq=False)
class TcpRoute:
    """
    One router, compiled.

    Attributes:
        filters: Who may not pass, in the order written, each with its counters.
        is_passed_through: TLS, if there is any, is the backend's to speak.

    """

    name: str
    service: str
    filters: tuple[tuple[TcpFilter, Invocations], ...]
    upstream: TcpUpstream
    counters: RouteCounters
    is_passed_through: bool


@define(eq=False)
class TcpResource:
    """
    What connections of one entrypoint begin with; a reload puts another in its place.

    Attributes:
        routes: Its routers.
        needs_hello: Whether a rule asks what the client says first; where none does, a server
            may speak first.

    """

    name: str
    generation: Generation
    observer: Observer
    routes: RouteTable[TcpRoute]
    needs_hello: bool
    passes_through: bool = field(init=False)

    @passes_through.default
    def _is_some_passed_through(self) -> bool:
        return any(entry.value.is_passed_through for entry in self.routes.entries())

    def begin(self, caller: Caller, peer: str, now: float) -> Exchange:
        """Open an exchange for a connection, to be closed with it."""
        exchange = Exchange(self.name, peer, now, caller.client)
        exchange.protocol = "TCP"
        exchange.server_name = caller.host
        # 1  The generation lives until this connection is over, whatever is reloaded meanwhile.
        self.generation.hold()
        # 2  It is observed when it is over, however it ends.
        exchange.on_close(partial(self._over, exchange))
        return exchange

    async def connect(
        self,
        exchange: Exchange,
        route: TcpRoute,
        source: Place | None,
        destination: Place | None,
    ) -> ServerEnd:
        """Find a server for a connection that `route` took; raises `GatewayError`."""
        exchange.router = route.name
        exchange.service = route.service
        exchange.counters = route.counters
        # 4  Filters let it pass or raise.
        for each, invocations in route.filters:
            invocations.count += 1
            try:
                each.admit(exchange)
            except GatewayError:
                invocations.refused += 1
                raise
        return await route.upstream.connect(exchange, source, destination)

    def _over(self, exchange: Exchange) -> None:
        self.observer.observe(None, exchange)
        self.generation.unhold()


_NO_BACKEND = GatewayError("NO_HEALTHY_BACKEND")


@define(eq=False)
class TcpUpstream:
    """
    The last step of a route: choose a backend, connect, keep it leased.

    Attributes:
        patience: Seconds that a connection lives while nobody sends anything.
        limit: Seconds that it lives at all; None: as long as it takes.

    """

    balancer: Balancer
    origins: dict[Backend, Origin]
    report: Callable[[Backend, UpstreamError], None]
    watch: Watch
    patience: float
    limit: float | None

    async def connect(
        self, exchange: Exchange, source: Place | None, destination: Place | None
    ) -> ServerEnd:
        """Connect to a server that can be had; raises why there is none."""
        tried: tuple[Backend, ...] = ()
        fault: GatewayError = _NO_BACKEND
        while True:
            # 5  The balancer chooses among those that are well and have not been tried.
            backend = self.balancer.pick(tried)
            if backend is None:
                raise fault
            exchange.backend = backend.url
            exchange.attempts += 1
            # 6  It counts as busy until both ends of the connection have ended.
            lease = backend.acquire(self.watch)
            try:
                end = await self.origins[backend].connect(exchange, source, destination)
            except UpstreamConnectError as error:
                # 7  Nothing was said to it: the next one is tried.
                lease.failed(error)
                lease.release()
                self.report(backend, error)
                tried += (backend,)
                fault = error.with_traceback(None)  # which would hold this frame
                continue
            except BaseException:
                lease.release()
                raise
            lease.answered(_CONNECTED)
            exchange.status = _CONNECTED
            exchange.on_close(lease.release)
            end.broke = lease.broke
            return end


_CONNECTED = 200  # the status of a connection that was served, as nginx's stream logs it

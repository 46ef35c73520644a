"""The clients of a TCP listener: who may come, and what becomes of them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from attrs import define
from twisted.internet.interfaces import IAddress, IProtocol

from a3s_gateway.faults import FAULTS
from a3s_gateway.http import Exchange
from a3s_gateway.router.tcp import Caller

from .opening import Came, FirstBytes
from .stream_service import StreamFactory
from .tcp_connection import TcpClient

if TYPE_CHECKING:
    from a3s_gateway.protocol.forwarded import Trust
    from a3s_gateway.transport.timers import Timers
    from a3s_gateway.transport.tls_server import ServerTls
    from a3s_gateway.tunnels import TcpResource


@define(eq=False, slots=False)
class TcpFactory(StreamFactory):
    """
    Builds connections; `resource` says where each goes that comes from now on.

    Attributes:
        patience: Seconds for the first bytes, where they matter.
        is_allowed: Who may connect; None: everybody.
        is_proxy: Who says for whom it connects; None: nobody.
        limit: Connections at the same time.

    """

    resource: TcpResource
    timers: Timers
    patience: float
    is_allowed: Trust | None
    is_proxy: Trust | None
    limit: int | None

    @property
    def needs_hello(self) -> bool:
        """Whether a rule asks for what a client says first."""
        return self.resource.needs_hello

    @property
    def has_openings(self) -> bool:
        """Whether connections have to be looked at before it is known what they become."""
        is_mixed = self.tls is not None and self.resource.passes_through
        return self.needs_hello or is_mixed or self.is_proxy is not None

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]
        """Make the protocol of a connection that was accepted; None closes it at once."""
        came = Came(Caller(getattr(addr, "host", "")), getattr(addr, "host", ""), monotonic())
        if self.limit is not None and len(self.connections) >= self.limit:
            self.refuse(came, "TOO_MANY_CONNECTIONS")
            return None
        if self.is_proxy is None and self._refuses(came):
            return None
        if self.has_openings:
            return FirstBytes(self)
        found = self.decide(came)  # without openings all TLS ends here, or there is none
        return None if found is None else found[0]

    def decide(self, came: Came) -> tuple[IProtocol, ServerTls | None] | None:
        """See `opening.Host`."""
        if self.is_proxy is not None and self._refuses(came):
            return None
        # 3  One route, or none.
        found = tunnel(self, self.timers, self.resource, self.tls, came)
        if found is None:
            self.refuse(came, "NO_ROUTE")
        return found

    def _refuses(self, came: Came) -> bool:
        if self.is_allowed is None or self.is_allowed(came.caller.client):
            return False
        self.refuse(came, "CONNECTION_NOT_ALLOWED")
        return True

    def refuse(self, came: Came, code: str) -> None:
        """Count and log a connection that ends here."""
        refuse(self.resource, came, code)

    def become(self, other: TcpFactory, *, forget: bool) -> None:  # noqa: ARG002
        """Take over all; connections that are open keep what they began with."""
        self.name, self.resource, self.patience = other.name, other.resource, other.patience
        self.limit, self.is_allowed = other.limit, other.is_allowed
        self.is_proxy = other.is_proxy


def tunnel(
    factory: StreamFactory,
    timers: Timers,
    resource: TcpResource,
    tls: ServerTls | None,
    came: Came,
) -> tuple[TcpClient, ServerTls | None] | None:
    """Make the client's end of a tunnel, if a router takes the connection."""
    route = resource.routes.find(came.caller)
    if route is None:
        return None
    context = None if route.is_passed_through else tls
    exchange = resource.begin(came.caller, came.peer, came.at)
    client = TcpClient(factory, timers, resource, route, exchange, has_tls=context is not None)
    return client, context


def refuse(resource: TcpResource, came: Came, code: str) -> Exchange:
    """Count and log a connection that no server hears of."""
    exchange = resource.begin(came.caller, came.peer, came.at)
    exchange.code, exchange.status = code, FAULTS[code].status
    exchange.close()
    return exchange

"""One TCP connection from a client, from when its router is known to its end."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from a3s_gateway.errors import GatewayError
from a3s_gateway.faults import FAULTS
from a3s_gateway.protocol.proxy_protocol import Place
from a3s_gateway.proxy.tcp import ServerEnd, Tunnel, TunnelEnd
from a3s_gateway.task import Task

if TYPE_CHECKING:
    from a3s_gateway.http import Exchange
    from a3s_gateway.transport.timers import Timers
    from a3s_gateway.tunnels import TcpResource, TcpRoute

    from .stream_service import StreamFactory

_log = Logger()


@implementer(IHandshakeListener)
class TcpClient(TunnelEnd):
    """The client's end of a tunnel, and what it takes to find the other one."""

    def __init__(
        self,
        factory: StreamFactory,
        timers: Timers,
        resource: TcpResource,
        route: TcpRoute,
        exchange: Exchange,
        *,
        has_tls: bool,
    ) -> None:
        """
        Prepare.

        Args:
            factory: Whose connection it is.
            timers: For how long nothing may happen.
            resource: In force when the client came.
            route: What took it.
            exchange: Closed when the tunnel is over.
            has_tls: We speak TLS with the client: its handshake comes first.

        """
        super().__init__()
        self.factory = factory
        self._timers = timers
        self._resource = resource
        self._route = route
        self._exchange: Exchange | None = exchange
        self._has_tls = has_tls
        self._task: Task[ServerEnd] | None = None

    def connectionMade(self) -> None:
        """Look for a server, once TLS is established."""
        self.factory.connections.add(self)
        if not self._has_tls:
            self._look_for_server()

    def handshakeCompleted(self) -> None:
        """Go on with what comes after TLS."""
        exchange = self._exchange
        if exchange is not None and not self.is_over:
            name = self.transport.getHandle().get_servername()
            exchange.server_name = exchange.server_name or (name or b"").decode("ascii", "replace")
            self._look_for_server()

    def _look_for_server(self) -> None:
        assert self._exchange is not None
        self.transport.pauseProducing()
        source, destination = _place(self.transport.getPeer()), _place(self.transport.getHost())
        connecting = self._resource.connect(self._exchange, self._route, source, destination)
        self._task = Task(connecting, self._connected, self._failed)
        self._task.start()

    def _connected(self, server: ServerEnd) -> None:
        self._task = None
        exchange = self._exchange
        assert exchange is not None
        exchange.first_byte_at = monotonic()
        upstream = self._route.upstream
        Tunnel(
            self, server, self._timers, upstream.patience, upstream.limit, self._finished
        ).start()

    def _failed(self, error: BaseException) -> None:
        self._task = None
        if not isinstance(error, GatewayError):
            _log.failure("a connection was not served", Failure(error))
            error = GatewayError("INTERNAL")
        self._finish(error.fault.code)
        self.transport.loseConnection()

    def _finished(self, code: str) -> None:
        exchange = self._exchange
        assert exchange is not None
        exchange.bytes_in = self.received
        exchange.bytes_out = self._bytes_out
        self._finish(code)

    def _finish(self, code: str) -> None:
        """Close the exchange; harmless when repeated."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            if code:
                exchange.code = exchange.code or code
                exchange.status = exchange.status or FAULTS[exchange.code].status
            exchange.close()
        self.factory.connections.discard(self)
        self.factory.has_closed()

    def part(self) -> None:
        """Note what the server sent, before it is forgotten."""
        self._bytes_out = self.other.received if self.other is not None else 0
        super().part()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give up looking for a server, or let the tunnel end."""
        if self.tunnel is None:
            self.is_over = True
            task, self._task = self._task, None
            if task is not None:
                task.cancel()
            self._finish("CLIENT_GONE")
        else:
            super().connectionLost(reason)

    def drain(self) -> None:
        """Go on: nobody can say to a tunnel that it is time to end."""

    def forget(self) -> None:
        """Have nothing to forget."""

    def abort(self) -> None:
        """End it in whatever state it is: the gateway stops."""
        if self.tunnel is not None:
            self.tunnel.abort("SHUTTING_DOWN")
            return
        if self._exchange is not None:
            self._exchange.code = self._exchange.code or "SHUTTING_DOWN"
        self.transport.abortConnection()


def _place(address: Any) -> Place | None:
    """Return an IP address and a port; None for the address of a Unix socket."""
    host = getattr(address, "host", None)
    return None if host is None else (str(host).partition("%")[0], int(address.port))

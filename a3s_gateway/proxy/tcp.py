"""A connection to a server for the sake of one of a client's, and what goes between the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from twisted.internet.error import (
    ConnectionDone,
    TimeoutError,  # noqa: A004 - Twisted's name
)
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from a3s_gateway.errors import UpstreamConnectError, UpstreamError
from a3s_gateway.http import Exchange
from a3s_gateway.protocol.proxy_protocol import Place, write_proxy_header
from a3s_gateway.transport.switching import close_sending
from a3s_gateway.transport.tcp import TcpConnection

if TYPE_CHECKING:
    from a3s_gateway.transport.timers import Timer, Timers

BULK: Final = 128 * 1024  # bytes one way without an answer, before they go past this process


@implementer(IHalfCloseableProtocol, IPushProducer)
class TunnelEnd(Protocol):
    """One of two connections whose bytes go from each to the other."""

    transport: Any

    def __init__(self) -> None:
        self.received = 0  # bytes
        self.other: TunnelEnd | None = None
        self.tunnel: Tunnel | None = None
        self.is_over = False
        self.run = 0  # bytes since the other end last sent some
        self._has_read_all = self._has_said_all = False
        self._early: list[bytes] = []  # what came before there was another end

    def dataReceived(self, data: bytes) -> None:
        """Hand it on: the hot path."""
        other = self.other
        if other is None:
            self._early.append(data)
            return
        size = len(data)
        self.received += size
        other.transport.write(data)
        tunnel = self.tunnel
        if tunnel is not None:
            tunnel.idle.set(tunnel.patience)
        other.run = 0
        self.run += size
        if self.run > BULK:
            self._let_bytes_pass_by(other)

    def _let_bytes_pass_by(self, other: TunnelEnd) -> None:
        self.run = 0
        if isinstance(self.transport, TcpConnection) and not self.is_over:
            self.transport.splice_to(other.transport, self._moved)

    def _moved(self, count: int) -> None:
        self.received += count
        if self.tunnel is not None:
            self.tunnel.idle.set(self.tunnel.patience)

    def join(self, other: TunnelEnd, tunnel: Tunnel) -> None:
        """Begin to hand on what comes."""
        self.other, self.tunnel = other, tunnel
        other.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's interface
        early, self._early = self._early, []
        for data in early:
            self.dataReceived(data)

    def part(self) -> None:
        """Forget the other end: it is over."""
        self.other = self.tunnel = None

    # -- paced by how fast the other end takes it

    def pauseProducing(self) -> None:
        """Read no more: the other end is slower."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Hear that the other end is gone; the tunnel does the rest."""

    # -- ends

    def readConnectionLost(self) -> None:
        """Pass on that the peer has said all; it may still listen."""
        self._has_read_all = True
        other = self.other
        if other is not None and not other.is_over:
            other.transport.unregisterProducer()
            close_sending(other.transport)
        self._close_if_silent()

    def writeConnectionLost(self) -> None:
        """Hear that our half is closed, as was asked."""
        self._has_said_all = True
        self._close_if_silent()

    def _close_if_silent(self) -> None:
        """Close what nothing comes from and nothing goes to: Twisted's transports do not."""
        if self._has_read_all and self._has_said_all:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let the tunnel end."""
        self.is_over = True
        if self.tunnel is not None:
            self.tunnel.ended(self, reason)


class ServerEnd(TunnelEnd):
    """
    The connection to a server.

    Attributes:
        broke: Told when the server resets a connection on which it has said nothing.

    """

    broke: Callable[[Exception], None] | None = None


class Tunnel:
    """
    Two connections as one, until both have ended.

    Args:
        client: Paused until `start`.
        server: Connected.
        timers: Of their reactor.
        origin: How patient to be.
        over: Called once, with the code of what went wrong, or without.

    """

    __slots__ = ("_client", "_code", "_limit", "_over", "_server", "idle", "patience")

    def __init__(
        self,
        client: TunnelEnd,
        server: ServerEnd,
        timers: Timers,
        patience: float,
        limit: float | None,
        over: Callable[[str], None],
    ) -> None:
        self._client: TunnelEnd | None = client
        self._server: ServerEnd | None = server
        self._over = over
        self._code = ""
        self.patience = patience
        self.idle: Timer = timers.timer(self._too_long)
        self._limit: Timer | None = None
        if limit is not None:
            self._limit = timers.timer(self._too_long)
            self._limit.set(limit)

    def start(self) -> None:
        """Let bytes flow."""
        client, server = self._client, self._server
        assert client is not None
        assert server is not None
        self.idle.set(self.patience)
        server.join(client, self)
        client.join(server, self)
        client.transport.resumeProducing()

    def _too_long(self) -> None:
        self.abort("IDLE_TIMEOUT")

    def abort(self, code: str) -> None:
        """Cut both connections off."""
        self._code = self._code or code
        for end in (self._client, self._server):
            if end is not None and not end.is_over:
                end.transport.abortConnection()

    def ended(self, end: TunnelEnd, reason: Failure) -> None:
        """Hear that one of the two has ended, and how; the other is to end likewise."""
        client, server = self._client, self._server
        if client is None or server is None:
            return
        other = server if end is client else client
        # A peer that leaves TLS without a word has mostly just said all that it had to say.
        is_reset = not reason.check(ConnectionDone) and not ISSLTransport.providedBy(end.transport)
        if is_reset and not self._code:
            self._code = "CLIENT_GONE" if end is client else "UPSTREAM_RESET"
            if end is server and not server.received and server.broke is not None:
                server.broke(UpstreamError("UPSTREAM_RESET"))
        if other.is_over:
            self._end(client, server)
        elif is_reset:
            other.transport.abortConnection()
        else:
            other.transport.unregisterProducer()
            other.transport.loseConnection()

    def _end(self, client: TunnelEnd, server: ServerEnd) -> None:
        self._client = self._server = None
        self.idle.end()
        if self._limit is not None:
            self._limit.end()
        client.part()
        server.part()
        server.broke = None
        self._over(self._code)


@define(eq=False)
class TcpOrigin:
    """
    One server as something to connect to.

    Attributes:
        endpoint: Connects to it, with TLS if that is asked for.
        version: Of the PROXY protocol's header that goes first; None: no header.
        open: Connections to it.
        idle: Of these, none is kept for later.

    """

    endpoint: IStreamClientEndpoint
    version: int | None
    open: int = field(default=0, init=False)
    idle: int = field(default=0, init=False)

    async def connect(
        self, exchange: Exchange, source: Place | None, destination: Place | None
    ) -> ServerEnd:
        """Connect, and say for whom; counted until the exchange is closed."""
        factory = Factory.forProtocol(ServerEnd)
        factory.noisy = False
        end: ServerEnd | None = None
        self.open += 1
        try:
            connected = await self.endpoint.connect(factory)
            assert isinstance(connected, ServerEnd)
            end = connected
        except TimeoutError as error:
            raise UpstreamConnectError("UPSTREAM_TIMEOUT", _say(error)) from error
        except Exception as error:
            raise UpstreamConnectError("UPSTREAM_CONNECT", _say(error)) from error
        finally:
            if end is None:
                self._closed()
        exchange.on_close(self._closed)
        if self.version is not None:
            end.transport.write(write_proxy_header(self.version, source, destination))
        return end

    def _closed(self) -> None:
        self.open -= 1


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__

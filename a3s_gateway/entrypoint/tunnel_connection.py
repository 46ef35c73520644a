"""A client's connection that has changed from HTTP to another protocol, such as WebSocket."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from a3s_gateway.body import Body
from a3s_gateway.errors import GatewayError, RemoteProtocolError
from a3s_gateway.headers import Headers
from a3s_gateway.http import Request, Response
from a3s_gateway.protocol.http1.server import Http1Server
from a3s_gateway.protocol.upgrade import WEBSOCKET
from a3s_gateway.protocol.websocket import GOING_AWAY, GOING_AWAY_MASKED, Frames
from a3s_gateway.transport.switching import close_sending

from .client_connection import ClientConnection, Phase

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from .http_service import HttpFactory


@implementer(IHalfCloseableProtocol)
class TunnelConnection(ClientConnection):
    """
    Carries bytes that it does not look at, until both sides have ended, or one has failed.

    What the client sends goes into the request's body, what it gets is the response's. How
    long nothing may come is for who answered to say; a client that takes nothing has the
    time of any that reads an answer.

    Args:
        factory: That of the connection.
        request: It asked for this; its exchange is closed when the tunnel ends.
        response: Of status 101.
        codec: Which ends with it; what it has left is the first of the other protocol.

    """

    def __init__(
        self, factory: HttpFactory, codec: Http1Server, request: Request, response: Response
    ) -> None:
        super().__init__(factory)
        exchange = request.exchange
        self._first, self._early = codec.switch_protocols(
            request.upgrade, response.headers, exchange.request_id
        )
        exchange.status = 101
        exchange.first_byte_at = monotonic()
        self._phase = Phase.HANDLING
        self._request = request
        self._incoming: Body | None = request.body  # None once it has ended, or nobody wants it
        self._outgoing: Body | None = response.body  # None once it has ended
        is_websocket = request.upgrade == WEBSOCKET
        self._received = Frames() if is_websocket else None
        self._sent = Frames() if is_websocket else None

    # -- the connection's life

    def connectionMade(self) -> None:
        """Begin both directions."""
        self.factory.connections.add(self)
        transport = self.transport
        transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's interface
        transport.write(self._first)
        incoming, outgoing, early = self._incoming, self._outgoing, self._early
        self._first = self._early = b""
        assert incoming is not None
        assert outgoing is not None
        transport.resumeProducing()
        incoming.now_from(self)
        if early:
            self.dataReceived(early)
        outgoing.pipe(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """End what the client has not ended itself."""
        self._timer.end()
        self._phase = Phase.CLOSING
        self.factory.connections.discard(self)
        incoming, outgoing = self._incoming, self._outgoing
        exchange = self._request.exchange
        if reason.check(ConnectionDone) is None or outgoing is not None:
            exchange.code = exchange.code or "CLIENT_GONE"
        self._incoming = self._outgoing = None
        if outgoing is not None:
            outgoing.close()
        if incoming is not None:
            incoming.fail(RemoteProtocolError("the client is gone"))
            incoming.close()
        exchange.close()
        self.factory.has_closed()

    def drain(self) -> None:
        """Go on: a tunnel is never idle. `abort` ends it when the time is over."""

    def forget(self) -> None:
        """Go on: there is no further request to be judged."""

    def abort(self) -> None:
        """End it because the gateway ends: a WebSocket's sides are told, and have a moment."""
        exchange = self._request.exchange
        exchange.code = exchange.code or "SHUTTING_DOWN"
        if self._phase is Phase.CLOSING or self._sent is None or self._received is None:
            self.transport.abortConnection()
            return
        incoming, self._incoming = self._incoming, None
        if self._outgoing is not None:
            self._outgoing.pipe(_NOWHERE)
            if self._sent.may_be_closed:
                self.transport.write(GOING_AWAY)
        if incoming is not None:
            if self._received.may_be_closed:
                incoming.feed(GOING_AWAY_MASKED)
            incoming.end()
        self._linger()

    def _expired(self) -> None:
        self.transport.abortConnection()

    # -- from the client

    def dataReceived(self, data: bytes) -> None:
        """Hand the next bytes on."""
        incoming = self._incoming
        if incoming is not None:
            self._request.exchange.bytes_in += len(data)
            if self._received is not None:
                self._received.follow(data)
            incoming.feed(data)

    def readConnectionLost(self) -> None:
        """Hand the end of the client's bytes on; it may still want those of the other side."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.end()
        if self._outgoing is None:
            self._over()

    def writeConnectionLost(self) -> None:
        """Hear that our end has been sent."""

    def cancel(self) -> None:
        """Read on only to drop it: nobody wants it."""
        self._incoming = None
        self._resume_reading()
        if self._outgoing is None:
            self._over()

    # -- Sink of what goes to the client

    def write(self, data: bytes) -> None:
        """Send the next bytes."""
        self._request.exchange.bytes_out += len(data)
        if self._sent is not None:
            self._sent.follow(data)
        self.transport.write(data)

    def finish(self, trailers: Headers) -> None:  # noqa: ARG002
        """Hand the end on; the client may still have something to say."""
        self._outgoing = None
        if self._incoming is None:
            self._over()
        else:
            self._phase = Phase.HANDLING
            self._timer.cancel()
            self.transport.unregisterProducer()
            close_sending(self.transport)

    def fail(self, error: Exception) -> None:
        """Cut it off where the other side was; in good order if only nothing was said."""
        code = error.fault.code if isinstance(error, GatewayError) else ""
        exchange = self._request.exchange
        exchange.code = exchange.code or code
        if code == "TUNNEL_IDLE":
            self._outgoing = self._incoming = None
            self._over()
        else:
            self.transport.abortConnection()

    def _over(self) -> None:
        """Close the exchange, and wait only so long for the client to take the rest."""
        if self._phase is not Phase.CLOSING:
            self._close()
            self._request.exchange.close()

    # -- IPushProducer, for the transport

    def pauseProducing(self) -> None:
        """Hold the other side back: the client takes its bytes more slowly than they come."""
        if self._outgoing is not None:
            self._outgoing.pause()
            self._phase = Phase.WRITING
            self._timer.set(self.factory.timeouts.write_idle)

    def resumeProducing(self) -> None:
        """Let it go on."""
        if self._outgoing is not None:
            self._phase = Phase.HANDLING
            self._timer.cancel()
            self._outgoing.resume()


class _Nowhere:
    """Takes what comes when it is too late to hand it on."""

    def write(self, data: bytes) -> None:
        """Drop it."""

    def finish(self, trailers: Headers) -> None:
        """Drop that as well."""

    def fail(self, error: Exception) -> None:
        """And that."""


_NOWHERE: Final = _Nowhere()

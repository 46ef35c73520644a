"""Client endpoints over our transports."""

from __future__ import annotations

import socket

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from .addresses import RawAddress, StreamAddress, stream_address
from .dial import Dial
from .handshake import AfterHandshake
from .names import Names
from .poller import Poller
from .targets import Target
from .tcp import TcpConnection
from .tls import TlsConnection
from .tls_client import ClientTls


@implementer(IStreamClientEndpoint)
@frozen
class ClientEndpoint:
    """Connects with our transports; made by `client_endpoint` and `unix_client_endpoint`."""

    poller: Poller = field(repr=False)
    names: Names = field(repr=False)
    target: Target | None  # None: `host` is a name
    host: str
    port: int
    timeout: float
    tls: ClientTls | None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Connect, and give the protocol.

        With TLS the protocol is made after the handshake. Fails with a `ConnectError`, which may
        be a `TlsError`, or with a `DNSLookupError`.
        """
        call = ConnectCall(self, protocolFactory)
        deferred = call.deferred
        protocolFactory.doStart()
        call.start()
        return deferred


@define(eq=False)
class ConnectCall:
    """One call of `connect`: what becomes of its factory and of its Deferred."""

    endpoint: ClientEndpoint
    factory: IProtocolFactory
    deferred: Deferred[IProtocol] = field(init=False)
    dial: Dial = field(init=False)
    connection: TcpConnection | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        endpoint = self.endpoint
        self.deferred = Deferred(lambda _: self.cancel())
        self.dial = Dial(endpoint.poller, endpoint.timeout, self.connected, self.failed)

    def start(self) -> None:
        """Look the name up, or connect at once."""
        if self.endpoint.target is None:
            self.dial.look_up(self.endpoint.names, self.endpoint.host, self.endpoint.port)
        else:
            self.dial.try_all((self.endpoint.target,))

    def connected(self, sock: socket.socket, raw: RawAddress) -> None:
        """Give the socket a protocol, with TLS after the handshake, and the caller the protocol."""
        peer = stream_address(raw)
        if self.endpoint.tls is None:
            self._start(TcpConnection(self.endpoint.poller, sock, peer, self.factory.doStop))
        else:
            self._start_tls(self.endpoint.tls, sock, peer)

    def failed(self, error: Exception) -> None:
        """Tell the caller that there is no connection."""
        self.factory.doStop()
        self._let_go().errback(error)

    def cancel(self) -> None:
        """Give up, as the caller wishes."""
        if self.connection is None:
            self.dial.cancel()
            self.factory.doStop()
        else:
            self.connection.abortConnection()

    def _start(self, connection: TcpConnection) -> None:
        try:
            protocol = self._build(connection)
            connection.start(protocol)
        except Exception:  # noqa: BLE001 - whatever the factory raises is the caller's to see
            connection.abortConnection()
            self._let_go().errback()
        else:
            self._let_go().callback(protocol)

    def _let_go(self) -> Deferred[IProtocol]:
        """Hand out what is to be told, and break the cycles that are no longer needed."""
        deferred = self.deferred
        del self.deferred, self.dial
        return deferred

    def _start_tls(self, tls: ClientTls, sock: socket.socket, peer: StreamAddress) -> None:
        connection = TlsConnection(
            self.endpoint.poller,
            sock,
            peer,
            self.factory.doStop,
            tls=tls.open(sock),
            handshake_timeout=self.dial.seconds_left(),
        )
        self.connection = connection
        connection.start(AfterHandshake(tls, lambda: self._build(connection), self._let_go()))

    def _build(self, connection: TcpConnection) -> IProtocol:
        protocol = self.factory.buildProtocol(connection.getPeer())
        if protocol is None:
            raise NoProtocol
        return protocol

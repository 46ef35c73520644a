"""Server endpoints over our transports."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from .addresses import StreamAddress
from .listener import Listener, MakeConnection
from .poller import Poller, Reactor, poller_for
from .tcp import TcpConnection
from .tls import TlsConnection

OpenSocket = Callable[[], tuple[socket.socket, Callable[[], None] | None]]


@implementer(IStreamServerEndpoint)
@frozen
class ServerEndpoint:
    """Listens with our transports; made by `server_endpoint` and `unix_server_endpoint`."""

    reactor: Reactor
    open_socket: OpenSocket
    names: tuple[str, int | str]  # host and port, or "unix" and the path: for the error
    max_connections: int | None
    tls: SSL.Context | None
    handshake_timeout: float

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Open the socket and accept; fails with `CannotListenError`."""
        return maybeDeferred(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        poller = poller_for(self.reactor)
        try:
            sock, on_close = self.open_socket()
        except OSError as error:
            raise CannotListenError(*self.names, error) from error
        listener = Listener(
            poller,
            sock,
            factory,
            self._connection_maker(poller),
            max_connections=self.max_connections,
            on_close=on_close,
        )
        listener.startListening()
        return listener

    def _connection_maker(self, poller: Poller) -> MakeConnection:
        context = self.tls
        if context is None:
            return partial(TcpConnection, poller)

        def make_tls(
            sock: socket.socket, peer: StreamAddress, on_end: Callable[[], None]
        ) -> TcpConnection:
            tls = SSL.Connection(context, sock)
            tls.set_accept_state()
            timeout = self.handshake_timeout
            return TlsConnection(poller, sock, peer, on_end, tls=tls, handshake_timeout=timeout)

        return make_tls

"""Server endpoints over our transports."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from attrs import frozen
from twisted.internet.defer import (
    Deferred,
    TimeoutError,  # noqa: A004 - what `addTimeout` raises
    maybeDeferred,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from .addresses import StreamAddress
from .listener import Listener, MakeConnection
from .opening import OpeningConnection
from .poller import Poller, Reactor, poller_for
from .targets import IpTarget, Lookup, literal_target
from .tcp import TcpConnection
from .tls import TlsConnection
from .tls_server import ServerTls

LOOKUP_TIMEOUT = 5.0  # seconds

OpenSocket = Callable[[str], tuple[socket.socket, Callable[[], None] | None]]


@implementer(IStreamServerEndpoint)
@frozen
class ServerEndpoint:
    """Listens with our transports; made by `server_endpoint` and `unix_server_endpoint`."""

    reactor: Reactor
    host: str  # for the error and, when it is a name, for the look-up; "unix" for a path
    port: int | str  # or the path
    open_socket: OpenSocket  # gets the address to listen on; also gives what to do at the end
    max_connections: int | None
    tls: ServerTls | None
    handshake_timeout: float

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Open the socket and accept; fails with `CannotListenError`."""
        if isinstance(self.port, str) or not self.host or literal_target(self.host, self.port):
            return maybeDeferred(self._listen, protocolFactory, self.host)
        return Deferred.fromCoroutine(self._look_up_and_listen(protocolFactory, self.port))

    async def _look_up_and_listen(self, factory: IProtocolFactory, port: int) -> IListeningPort:
        found: Deferred[list[IpTarget]] = Deferred()
        resolver = self.reactor.nameResolver
        resolver.resolveHostName(Lookup(found.callback), self.host, port)
        found.addTimeout(LOOKUP_TIMEOUT, IReactorTime(self.reactor))
        try:
            targets = await found
        except TimeoutError as error:
            raise CannotListenError(self.host, port, error) from error
        if not targets:
            raise CannotListenError(self.host, port, f"no address found for {self.host!r}")
        ipv4_first = sorted(targets, key=lambda target: target[0] != socket.AF_INET)
        raw = ipv4_first[0][1]
        return self._listen(factory, raw[0])

    def _listen(self, factory: IProtocolFactory, address: str) -> IListeningPort:
        poller = poller_for(self.reactor)
        try:
            sock, on_close = self.open_socket(address)
        except OSError as error:
            raise CannotListenError(self.host, self.port, error) from error
        listener = Listener(
            poller,
            sock,
            factory,
            connection_maker(poller, self.tls, self.handshake_timeout),
            max_connections=self.max_connections,
            max_handshakes=self.tls.policy.max_handshakes if self.tls is not None else None,
            on_close=on_close,
        )
        listener.startListening()
        return listener


def connection_maker(
    poller: Poller,
    tls: ServerTls | None,
    handshake_timeout: float,
    *,
    has_openings: bool = False,
) -> MakeConnection:
    """Return what makes the transports of a listener: plain, TLS, or what is yet to become one."""
    if has_openings:
        make: Callable[[ServerTls | None], MakeConnection] = partial(
            connection_maker, poller, handshake_timeout=handshake_timeout
        )
        return partial(OpeningConnection, poller, make)
    if tls is None:
        return lambda sock, peer, listener: TcpConnection(
            poller, sock, peer, listener.connection_ended
        )

    def make_tls(sock: socket.socket, peer: StreamAddress, listener: Listener) -> TcpConnection:
        listener.handshake_begins()
        return TlsConnection(
            poller,
            sock,
            peer,
            listener.connection_ended,
            tls=tls.open(sock),
            handshake_timeout=handshake_timeout,
            on_shaken=listener.handshake_ended,
        )

    return make_tls

"""The door of this package: endpoints that make our transports, or Twisted's where need be."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
)
from twisted.internet.error import CannotListenError, NoProtocol
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from .addresses import RawAddress, StreamAddress, stream_address
from .dial import Dial, Target, literal_target
from .listener import Listener
from .listening import open_tcp, open_unix
from .poller import HAS_EPOLL, Poller, Reactor, poller_for
from .tcp import TcpConnection

BACKLOG = 1024  # connections in the kernel's queue; net.core.somaxconn may lower it
CONNECT_TIMEOUT = 5.0  # seconds

OpenSocket = Callable[[], tuple[socket.socket, Callable[[], None] | None]]


@implementer(IStreamServerEndpoint)
@frozen
class ServerEndpoint:
    """Listens with our transports; made by `server_endpoint` and `unix_server_endpoint`."""

    reactor: Reactor
    open_socket: OpenSocket
    names: tuple[str, int | str]  # host and port, or "unix" and the path: for the error
    max_connections: int | None

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
            partial(TcpConnection, poller),
            max_connections=self.max_connections,
            on_close=on_close,
        )
        listener.startListening()
        return listener


@implementer(IStreamClientEndpoint)
@frozen
class ClientEndpoint:
    """Connects with our transports; made by `client_endpoint` and `unix_client_endpoint`."""

    poller: Poller = field(repr=False)
    target: Target | None  # None: the name has to be looked up each time
    host: str
    port: int
    timeout: float

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and give the protocol; fails with a `ConnectError` or `DNSLookupError`."""
        call = ConnectCall(self.poller, protocolFactory)
        dial = Dial(self.poller, self.timeout, call.connected, call.failed)
        call.deferred = Deferred(lambda _: call.cancel(dial))
        protocolFactory.doStart()
        if self.target is None:
            dial.look_up(self.host, self.port)
        else:
            dial.try_all((self.target,))
        return call.deferred


@define(eq=False)
class ConnectCall:
    """One call of `connect`: what becomes of its factory and of its Deferred."""

    poller: Poller
    factory: IProtocolFactory
    deferred: Deferred[IProtocol] = field(init=False)

    def connected(self, sock: socket.socket, raw: RawAddress) -> None:
        """Give the socket a protocol, and the caller the protocol."""
        peer = stream_address(raw)
        connection = TcpConnection(self.poller, sock, peer, self.factory.doStop)
        try:
            protocol = build_protocol(self.factory, peer)
            connection.start(protocol)
        except Exception:  # noqa: BLE001 - whatever the factory raises is the caller's to see
            connection.abortConnection()
            self.deferred.errback()
        else:
            self.deferred.callback(protocol)

    def failed(self, error: Exception) -> None:
        """Tell the caller."""
        self.factory.doStop()
        self.deferred.errback(error)

    def cancel(self, dial: Dial) -> None:
        """Give up, as the caller wishes."""
        dial.cancel()
        self.factory.doStop()


def build_protocol(factory: IProtocolFactory, peer: StreamAddress) -> IProtocol:
    """Make a protocol; raises `NoProtocol` when the factory declines."""
    protocol = factory.buildProtocol(peer)
    if protocol is None:
        raise NoProtocol
    return protocol


def server_endpoint(
    reactor: Reactor,
    host: str,
    port: int,
    *,
    backlog: int = BACKLOG,
    max_connections: int | None = None,
    stock: bool = not HAS_EPOLL,
) -> IStreamServerEndpoint:
    """
    Make an endpoint that listens on TCP.

    Args:
        reactor: Where everything happens.
        host: A literal address; empty for all of IPv4 and, where there is one, of IPv6.
        port: 0 lets the kernel choose.
        backlog: Connections that wait in the kernel's queue.
        max_connections: Open at a time; more wait in the kernel's queue. `None`: no limit.
        stock: Use Twisted's own transports, which have no `max_connections`.

    """
    if stock:
        if ":" in host:
            return TCP6ServerEndpoint(reactor, port, backlog, host)
        return TCP4ServerEndpoint(reactor, port, backlog, host)
    return ServerEndpoint(
        reactor,
        lambda: (open_tcp(host, port, backlog), None),
        (host, port),
        max_connections,
    )


def unix_server_endpoint(
    reactor: Reactor,
    path: str,
    *,
    backlog: int = BACKLOG,
    mode: int = 0o666,
    max_connections: int | None = None,
    stock: bool = not HAS_EPOLL,
) -> IStreamServerEndpoint:
    """
    Make an endpoint that listens on a Unix socket.

    Args:
        reactor: Where everything happens.
        path: A file left behind is replaced if nobody listens on it; removed when closed.
        backlog: Connections that wait in the kernel's queue.
        mode: Permissions of the file.
        max_connections: Open at a time; more wait in the kernel's queue. `None`: no limit.
        stock: Use Twisted's own transports, which have no `max_connections`.

    """
    if stock:
        return UNIXServerEndpoint(reactor, path, backlog, mode)
    return ServerEndpoint(
        reactor, lambda: open_unix(path, mode, backlog), ("unix", path), max_connections
    )


def client_endpoint(
    reactor: Reactor,
    host: str,
    port: int,
    *,
    timeout: float = CONNECT_TIMEOUT,
    stock: bool = not HAS_EPOLL,
) -> IStreamClientEndpoint:
    """
    Make an endpoint that connects over TCP.

    Args:
        reactor: Where everything happens.
        host: A literal address, or a name, all of whose addresses are tried in turn.
        port: The server's.
        timeout: Seconds until there has to be a connection, with all that it takes.
        stock: Use Twisted's own transports.

    """
    if stock:
        return HostnameEndpoint(reactor, host, port, timeout)
    return ClientEndpoint(poller_for(reactor), literal_target(host, port), host, port, timeout)


def unix_client_endpoint(
    reactor: Reactor,
    path: str,
    *,
    timeout: float = CONNECT_TIMEOUT,
    stock: bool = not HAS_EPOLL,
) -> IStreamClientEndpoint:
    """
    Make an endpoint that connects to a Unix socket.

    Args:
        reactor: Where everything happens.
        path: Of the socket's file.
        timeout: Seconds until there has to be a connection, with all that it takes.
        stock: Use Twisted's own transports.

    """
    if stock:
        return UNIXClientEndpoint(reactor, path, timeout)
    return ClientEndpoint(poller_for(reactor), (socket.AF_UNIX, path), path, 0, timeout)

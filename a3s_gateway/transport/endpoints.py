"""
The door of this package: endpoints that make our transports, or Twisted's where there is no epoll.

`stock=True` asks for Twisted's. Either way the contract is the same, so that protocols can be
tested on both; a client's protocol is made when TLS is established and the server is checked.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    wrapServerTLS,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory

from .client import ClientEndpoint
from .inherited import InheritedEndpoint, Ports
from .listener import Listener
from .listening import open_tcp, open_unix
from .names import Names
from .poller import HAS_EPOLL, Reactor, poller_for
from .server import ServerEndpoint, connection_maker
from .stock import NamingReactor, StockTlsClientEndpoint
from .targets import literal_target
from .tls import HANDSHAKE_TIMEOUT
from .tls_client import ClientTls
from .tls_server import ServerTls

__all__ = [
    "HAS_EPOLL",
    "client_endpoint",
    "retune",
    "server_endpoint",
    "systemd_server_endpoint",
    "unix_client_endpoint",
    "unix_server_endpoint",
]

BACKLOG = 1024  # connections in the kernel's queue; net.core.somaxconn may lower it
CONNECT_TIMEOUT = 5.0  # seconds


def server_endpoint(
    reactor: Reactor,
    host: str,
    port: int,
    *,
    backlog: int = BACKLOG,
    tls: ServerTls | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    max_connections: int | None = None,
    stock: bool = not HAS_EPOLL,
) -> IStreamServerEndpoint:
    """
    Make an endpoint that listens on TCP.

    Args:
        reactor: Where everything happens.
        host: An address or a name; empty for all of IPv4 and, where there is one, of IPv6.
        port: 0 lets the kernel choose.
        backlog: Connections that wait in the kernel's queue.
        tls: Of `server_tls`; `None` without TLS.
        handshake_timeout: Seconds for the TLS handshake.
        max_connections: Open at a time; more wait in the kernel's queue. `None`: no limit.
        stock: Use Twisted's transports, which have neither of the last two limits.

    """
    if stock:
        make = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
        endpoint: IStreamServerEndpoint = make(reactor, port, backlog, host)
        return endpoint if tls is None else wrapServerTLS(tls, endpoint, IReactorTime(reactor))
    return ServerEndpoint(
        reactor=reactor,
        host=host,
        port=port,
        open_socket=lambda address: (open_tcp(address, port, backlog), None),
        max_connections=max_connections,
        tls=tls,
        handshake_timeout=handshake_timeout,
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
        stock: Use Twisted's transports, which have no `max_connections`.

    """
    if stock:
        return UNIXServerEndpoint(reactor, path, backlog, mode)
    return ServerEndpoint(
        reactor=reactor,
        host="unix",
        port=path,
        open_socket=lambda _: open_unix(path, mode, backlog),
        max_connections=max_connections,
        tls=None,
        handshake_timeout=HANDSHAKE_TIMEOUT,
    )


def systemd_server_endpoint(
    reactor: Reactor,
    name: str,
    *,
    tls: ServerTls | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    max_connections: int | None = None,
    stock: bool = not HAS_EPOLL,
) -> IStreamServerEndpoint:
    """
    Make an endpoint that listens on all sockets that systemd passed by a name.

    Args:
        reactor: Where everything happens.
        name: What `FileDescriptorName=` says.
        tls: Of `server_tls`; `None` without TLS.
        handshake_timeout: Seconds for the TLS handshake.
        max_connections: Open at a time, by each socket. `None`: no limit.
        stock: Use Twisted's transports, which have neither limit, and take no Unix socket.

    """
    return InheritedEndpoint(reactor, name, max_connections, tls, handshake_timeout, stock)


def retune(
    reactor: Reactor,
    port: IListeningPort,
    factory: IProtocolFactory,
    *,
    tls: ServerTls | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    max_connections: int | None = None,
    has_openings: bool = False,
) -> None:
    """
    Have a port that listens accept by other terms: those of an endpoint made with them.

    With `has_openings` the factory's protocols are `Opening`s, which `proceed` later.
    """
    if isinstance(port, Ports):
        for each in port.ports:
            retune(
                reactor,
                each,
                factory,
                tls=tls,
                handshake_timeout=handshake_timeout,
                max_connections=max_connections,
                has_openings=has_openings,
            )
        return
    if isinstance(port, Listener):
        maker = connection_maker(
            poller_for(reactor), tls, handshake_timeout, has_openings=has_openings
        )
        max_handshakes = tls.policy.max_handshakes if tls is not None else None
        port.retune(factory, maker, max_connections, max_handshakes)
        return
    stock_port: Any = port  # all ports of Twisted's have a factory, which no interface says
    stock_port.factory = (
        factory
        if tls is None or has_openings
        else TLSMemoryBIOFactory(tls, False, factory, IReactorTime(reactor))  # noqa: FBT003
    )


def client_endpoint(
    reactor: Reactor,
    host: str,
    port: int,
    *,
    timeout: float = CONNECT_TIMEOUT,
    tls: ClientTls | None = None,
    names: Names | None = None,
    stock: bool = not HAS_EPOLL,
) -> IStreamClientEndpoint:
    """
    Make an endpoint that connects over TCP.

    Args:
        reactor: Where everything happens.
        host: A literal address, or a name, all of whose addresses are tried in turn.
        port: The server's.
        timeout: Seconds for look-up, connection and TLS handshake together.
        tls: Context and server name; `None` without TLS.
        names: What is known of names, to be shared by all endpoints; `None`: of its own.
        stock: Use Twisted's transports.

    """
    names = names or Names(reactor)
    if stock:
        endpoint = HostnameEndpoint(NamingReactor(reactor, names), host, port, timeout)
        return endpoint if tls is None else _stock_tls(reactor, endpoint, tls, timeout)
    return ClientEndpoint(
        poller=poller_for(reactor),
        names=names,
        target=literal_target(host, port),
        host=host,
        port=port,
        timeout=timeout,
        tls=tls,
    )


def unix_client_endpoint(
    reactor: Reactor,
    path: str,
    *,
    timeout: float = CONNECT_TIMEOUT,
    tls: ClientTls | None = None,
    stock: bool = not HAS_EPOLL,
) -> IStreamClientEndpoint:
    """
    Make an endpoint that connects to a Unix socket.

    Args:
        reactor: Where everything happens.
        path: Of the socket's file.
        timeout: Seconds for connection and TLS handshake together.
        tls: Context and server name; `None` without TLS.
        stock: Use Twisted's transports.

    """
    if stock:
        endpoint = UNIXClientEndpoint(reactor, path, timeout)
        return endpoint if tls is None else _stock_tls(reactor, endpoint, tls, timeout)
    return ClientEndpoint(
        poller=poller_for(reactor),
        names=Names(reactor),
        target=(socket.AF_UNIX, path),
        host=path,
        port=0,
        timeout=timeout,
        tls=tls,
    )


def _stock_tls(
    reactor: Reactor, endpoint: IStreamClientEndpoint, tls: ClientTls, timeout: float
) -> IStreamClientEndpoint:
    return StockTlsClientEndpoint(IReactorTime(reactor), endpoint, tls, timeout)

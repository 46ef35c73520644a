"""A listener for connections as a Twisted service; what is spoken on them is its factory's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from a3s_gateway.runtime.diff import judges_otherwise, speaks_otherwise
from a3s_gateway.transport.endpoints import (
    retune,
    server_endpoint,
    systemd_server_endpoint,
    unix_server_endpoint,
)

if TYPE_CHECKING:
    from a3s_gateway.config.address import Address
    from a3s_gateway.config.entrypoint import EntrypointConfig
    from a3s_gateway.transport.tls_server import ServerTls

    from .listener import Clients


@define(eq=False, slots=False)
class StreamFactory(Factory):
    """Builds the protocols of connections, and knows those that are open."""

    name: str
    is_draining: bool = field(default=False, init=False)
    connections: set[Any] = field(factory=set, init=False)
    tls: ServerTls | None = field(default=None, init=False)  # the listener's
    _drained: list[Deferred[None]] = field(factory=list, init=False)

    noisy = False

    @property
    def has_openings(self) -> bool:
        """Whether the first bytes of a connection decide what it becomes."""
        return False

    def become(self, other: Any, *, forget: bool) -> None:
        """
        Take over all that `other` was made with, for what begins from now on.

        Args:
            other: Speaks the same; has no connections, and will have none.
            forget: What connections remember is not to be relied on.

        """
        raise NotImplementedError

    def drain(self) -> Deferred[None]:
        """Close what is idle, let the rest finish; fires when no connection is left."""
        self.is_draining = True
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        for connection in tuple(self.connections):
            connection.drain()
        self.has_closed()
        return drained

    def has_closed(self) -> None:
        """Hear that a connection is gone."""
        if self._drained and not self.connections:
            waiting, self._drained = self._drained, []
            for drained in waiting:
                drained.callback(None)

    def abort(self) -> None:
        """End every connection now; those owed an answer get a moment to read that it is over."""
        for connection in tuple(self.connections):
            connection.abort()


@define(eq=False, slots=False)
class StreamEntrypoint(Service):
    """
    Listens on one endpoint.

    `StreamServerEndpointService` logs a failure to bind; here it is raised to whoever
    asked, so that a start can fail and a reload can be undone.

    Attributes:
        reactor: Where it listens.
        config: Its configuration.
        endpoint: What it listens on.
        factory: Its clients.
        tls: How clients are met by TLS, if they are.

    """

    reactor: Any
    config: EntrypointConfig
    endpoint: IStreamServerEndpoint
    factory: StreamFactory
    tls: ServerTls | None
    port: IListeningPort | None = field(default=None, init=False)

    async def bind(self) -> None:
        """Open the socket; raises `CannotListenError` when it cannot be had."""
        self.factory.tls = self.tls
        self.port = await self.endpoint.listen(self.factory)
        if self.factory.has_openings:
            self._retune()

    async def stop_accepting(self) -> None:
        """Close the socket; the connections go on."""
        port, self.port = self.port, None
        if port is not None:
            await maybeDeferred(port.stopListening)

    def become(self, wanted: StreamEntrypoint, let_go: Callable[[Clients], None]) -> None:
        """Accept as is wanted now; connections go on with it, if they can."""
        before, config = self.config, wanted.config
        if before.protocol == config.protocol:
            self.factory.become(wanted.factory, forget=judges_otherwise(before, config))
        if speaks_otherwise(before, config):
            # Who speaks as before is heard out; who comes from now on is met as is wanted now.
            let_go(self.factory)
            self.factory = wanted.factory
        self.config = config
        if self.tls is not None and wanted.tls is not None:
            self.tls.become(wanted.tls)  # so that clients can resume their sessions
        else:
            self.tls = wanted.tls
        self._retune()

    def _retune(self) -> None:
        assert self.port is not None  # it is in force
        config = self.config
        self.factory.tls = self.tls
        retune(
            self.reactor,
            self.port,
            self.factory,
            tls=self.tls,
            handshake_timeout=config.timeouts.tls_handshake,
            max_connections=_most_accepted(config),
            has_openings=self.factory.has_openings,
        )


@implementer(IStreamServerEndpoint)
@frozen(eq=False)
class LateEndpoint:
    """Made when it is listened on: only then the name in its address has to be known."""

    make: Callable[[], IStreamServerEndpoint]

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Make it, and listen there; a name that is not known is a failure like others."""
        return maybeDeferred(lambda: self.make().listen(protocolFactory))


def stream_endpoint(
    reactor: Any, entrypoint: EntrypointConfig, tls: ServerTls | None, *, stock: bool
) -> IStreamServerEndpoint:
    """Make what an entrypoint's address says can be listened on."""
    address, limit = entrypoint.address, _most_accepted(entrypoint)
    if address.kind == "unix":
        return unix_server_endpoint(reactor, address.path, max_connections=limit, stock=stock)
    if address.kind == "systemd":
        return systemd_server_endpoint(
            reactor,
            address.name,
            tls=tls,
            handshake_timeout=entrypoint.timeouts.tls_handshake,
            max_connections=limit,
            stock=stock,
        )
    return server_endpoint(
        reactor,
        literal_host(address),
        address.port,
        tls=tls,
        handshake_timeout=entrypoint.timeouts.tls_handshake,
        max_connections=limit,
        stock=stock,
    )


def _most_accepted(entrypoint: EntrypointConfig) -> int | None:
    """Return how many may be open before others wait; where TCP is spoken they are refused."""
    return entrypoint.max_connections if entrypoint.protocol == "http" else None


def literal_host(address: Address) -> str:
    """Look a name up, such as `localhost`; of several addresses one of IPv4 is taken."""
    if not address.host:
        return ""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return str(found[0][4][0])

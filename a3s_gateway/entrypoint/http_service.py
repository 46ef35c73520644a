"""An HTTP listener as a Twisted service whose handler tree can be replaced while it listens."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory

from a3s_gateway.http import Exchange, Request, Response

from .http_connection import HttpConnection

if TYPE_CHECKING:
    from OpenSSL import SSL

    from a3s_gateway.config.entrypoint import EntrypointConfig
    from a3s_gateway.protocol.forwarded import Trust
    from a3s_gateway.protocol.http1.request_head import Limits
    from a3s_gateway.transport.timers import Timers


class Resource(Interface):
    """The root of an entrypoint's tree, as `dataplane.py` builds it."""

    def handle(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Answer one request."""

    def refuse(self, exchange: Exchange) -> None:
        """Take note of one that was not fit to be handled."""


class Timeouts(Interface):
    """Seconds that a client may take for each phase; the entrypoint's `timeouts` block."""

    @property
    def request_head(self) -> float:
        """From the first byte of a request to the end of its head."""

    @property
    def request_body_idle(self) -> float:
        """Between two pieces of a body."""

    @property
    def keep_alive_idle(self) -> float:
        """Between two requests."""

    @property
    def write_idle(self) -> float:
        """While the client takes nothing of an answer."""


@define(eq=False, slots=False)
class HttpFactory(Factory):
    """Builds connections; `resource` is the tree that answers from the next request on."""

    name: str
    scheme: str
    resource: Resource
    timers: Timers
    limits: Limits
    timeouts: Timeouts
    is_trusted: Trust
    is_draining: bool = field(default=False, init=False)
    connections: set[Any] = field(factory=set, init=False)
    _drained: list[Deferred[None]] = field(factory=list, init=False)

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> HttpConnection:  # type: ignore[override]  # noqa: ARG002
        """Make the protocol of a connection that was accepted."""
        return HttpConnection(self)

    def become(self, other: HttpFactory, *, forget: bool) -> None:
        """
        Take over all that `other` was made with, from the next request on.

        Args:
            other: Has no connections, and will have none.
            forget: What connections remember of their last request is not to be relied on.

        """
        self.name, self.scheme, self.resource = other.name, other.scheme, other.resource
        self.limits, self.timeouts = other.limits, other.timeouts
        self.is_trusted = other.is_trusted
        if forget:
            for connection in self.connections:
                connection.forget()

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
class HttpEntrypoint(Service):
    """
    Listens on one endpoint.

    `StreamServerEndpointService` logs a failure to bind; here it is raised to whoever
    asked, so that a start can fail and a reload can be undone.

    Attributes:
        config: Its configuration.
        tls: What connections are encrypted with, if they are.

    """

    config: EntrypointConfig
    endpoint: IStreamServerEndpoint
    factory: HttpFactory
    tls: SSL.Context | None
    port: IListeningPort | None = field(default=None, init=False)

    def bind(self) -> Awaitable[None]:
        """Open the socket; raises `CannotListenError` when it cannot be had."""
        return self._bind()

    async def _bind(self) -> None:
        self.port = await self.endpoint.listen(self.factory)

    async def stop_accepting(self) -> None:
        """Close the socket; the connections go on."""
        port, self.port = self.port, None
        if port is not None:
            await maybeDeferred(port.stopListening)

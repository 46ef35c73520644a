"""The clients of an HTTP listener, whose handler tree can be replaced while it listens."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from attrs import define
from twisted.internet.interfaces import IAddress, IProtocol

from a3s_gateway.faults import FAULTS
from a3s_gateway.http import Exchange, Request, Response

from .client_certificate import certificate_fields
from .http_connection import HttpConnection
from .opening import Came, FirstBytes
from .stream_service import StreamFactory
from .tcp_service import tunnel

if TYPE_CHECKING:
    from a3s_gateway.config.tls import ClientAuthConfig
    from a3s_gateway.protocol.codec import Head
    from a3s_gateway.protocol.forwarded import Trust
    from a3s_gateway.protocol.http1.request_head import Limits
    from a3s_gateway.protocol.http2.settings import Settings
    from a3s_gateway.transport.timers import Timers
    from a3s_gateway.transport.tls_server import ServerTls
    from a3s_gateway.tunnels import TcpResource

    from .introduction import Introduction


class Resource(Interface):
    """The root of an entrypoint's tree, as `dataplane.py` builds it."""

    @property
    def tunnels(self) -> TcpResource | None:
        """The TCP routers that are asked first, by what a TLS client says."""

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
    def tls_handshake(self) -> float:
        """For what comes before the first request."""

    @property
    def write_idle(self) -> float:
        """While the client takes nothing of an answer."""


@define(eq=False, slots=False)
class HttpFactory(StreamFactory):
    """Builds connections; `resource` is the tree that answers from the next request on."""

    scheme: str
    resource: Resource
    timers: Timers
    limits: Limits
    timeouts: Timeouts
    is_trusted: Trust
    http2: Settings | None
    client_auth: ClientAuthConfig | None = None
    is_proxy: Trust | None = None

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:  # type: ignore[override]  # noqa: ARG002
        """Make the protocol of a connection that was accepted."""
        return FirstBytes(self) if self.has_openings else HttpConnection(self)

    # -- where the first bytes decide (see `opening.Host`)

    @property
    def has_openings(self) -> bool:
        """Whether TCP routers are asked first, or proxies say whom they speak for."""
        return self.resource.tunnels is not None or self.is_proxy is not None

    @property
    def needs_hello(self) -> bool:
        """Whether a TCP router asks for what a client says first."""
        tunnels = self.resource.tunnels
        return tunnels is not None and tunnels.needs_hello

    @property
    def patience(self) -> float:
        """Seconds for the first bytes."""
        return self.timeouts.tls_handshake

    def decide(self, came: Came) -> tuple[IProtocol, ServerTls | None]:
        """Ask the TCP routers; what none of them takes speaks HTTP."""
        tunnels = self.resource.tunnels
        if tunnels is not None:
            found = tunnel(self, self.timers, tunnels, self.tls, came)
            if found is not None:
                return found
        return HttpConnection(self), self.tls

    def refuse(self, came: Came, code: str) -> None:
        """Count and log a connection that ends before it speaks HTTP."""
        exchange = Exchange(self.name, came.peer, came.at, came.caller.client)
        exchange.code, exchange.status = code, FAULTS[code].status
        self.resource.refuse(exchange)
        exchange.close()

    def introduce(self, known: Introduction, head: Head, peer: str, transport: Any) -> None:
        """Work out what backends are told of who sent `head` over `transport`."""
        asked = self.client_auth
        if asked is not None and known.certificate is None:
            known.certificate = certificate_fields(transport, is_verified=asked.verifies)
        known.learn(head, peer, self.scheme, self.is_trusted)

    def become(self, other: HttpFactory, *, forget: bool) -> None:
        """Take over all but what was agreed in the handshake, if there was one."""
        self.name, self.resource = other.name, other.resource
        self.limits, self.timeouts = other.limits, other.timeouts
        self.is_trusted, self.http2 = other.is_trusted, other.http2
        self.is_proxy = other.is_proxy
        if forget:
            for connection in self.connections:
                connection.forget()

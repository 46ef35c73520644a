"""TLS and names for Twisted's own transports, with the contract of ours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import NoProtocol, TimeoutError  # noqa: A004 - a ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from a3s_gateway.task import Task

from .handshake import AfterHandshake
from .names import Names
from .targets import IpTarget
from .tls_client import ClientTls
from .tls_server import ServerTls


@implementer(IHostResolution)
@frozen
class Resolution:
    """A lookup as an object; it cannot be given up."""

    name: str

    def cancel(self) -> None:
        """Refuse."""
        raise NotImplementedError


@implementer(IHostnameResolver)
@frozen
class SharedResolver:
    """`Names` as Twisted's endpoints ask."""

    names: Names

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: ARG002 - no endpoint has any
        transportSemantics: str = "TCP",  # noqa: ARG002 - neither do they ask for anything else
    ) -> IHostResolution:
        """Tell the addresses; none if there are none."""
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)

        def tell(targets: Sequence[IpTarget]) -> None:
            for _, raw in targets:
                address = IPv6Address if ":" in raw[0] else IPv4Address
                resolutionReceiver.addressResolved(address("TCP", *raw))
            resolutionReceiver.resolutionComplete()

        Task(self.names.targets(hostName, portNumber), tell, lambda _: tell(())).start()
        return resolution


@implementer(IReactorPluggableNameResolver)
class NamingReactor:
    """A reactor for one endpoint of Twisted's, which looks names up as all others do."""

    def __init__(self, reactor: Any, names: Names) -> None:
        self._reactor = reactor
        self.nameResolver = SharedResolver(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: Any) -> Any:
        """Refuse: it is not this one's to change."""
        raise NotImplementedError


@implementer(IStreamClientEndpoint)
@frozen
class StockTlsClientEndpoint:
    """Connects, shakes hands and checks the server before the protocol is made."""

    clock: IReactorTime
    endpoint: IStreamClientEndpoint
    tls: ClientTls
    timeout: float  # seconds, for all of it

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and give the protocol; fails as `ClientEndpoint.connect` does."""
        done: Deferred[IProtocol] = Deferred(lambda _: connecting.cancel())
        factory = StandInFactory(self.tls, protocolFactory, done)
        connecting = wrapClientTLS(self.tls, self.endpoint, self.clock).connect(factory)
        connecting.addErrback(lambda failure: None if done.called else done.errback(failure))
        return done.addTimeout(self.timeout, self.clock, self._too_late)

    def _too_late(self, result: IProtocol | Failure, timeout: float) -> IProtocol | Failure:  # noqa: ARG002
        if isinstance(result, Failure) and result.check(CancelledError):
            raise TimeoutError(string=f"TLS handshake with {self.tls.server_name}")
        return result


class StandInFactory(Factory):
    """Makes stand-ins for the protocols of another factory."""

    noisy = False

    def __init__(
        self, tls: ClientTls, factory: IProtocolFactory, done: Deferred[IProtocol]
    ) -> None:
        self._tls = tls
        self._factory = factory
        self._done = done

    def doStart(self) -> None:
        """Pass it on."""
        self._factory.doStart()

    def doStop(self) -> None:
        """Pass it on."""
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> AfterHandshake:
        """Make a stand-in; the factory is asked after the handshake."""
        assert addr is not None
        return AfterHandshake(self._tls, partial(self._build, addr), self._done)

    def _build(self, addr: IAddress) -> IProtocol:
        protocol = self._factory.buildProtocol(addr)
        if protocol is None:
            raise NoProtocol
        return protocol


def proceed(
    transport: Any,
    protocol: IProtocol,
    clock: IReactorTime,
    *,
    received: bytes,
    skip: int,
    tls: ServerTls | None,
) -> None:
    """Have a transport of Twisted's do what `OpeningConnection.proceed` does."""
    if tls is not None:
        wrapping: Any = TLSMemoryBIOFactory(tls, False, Factory(), clock)  # noqa: FBT003
        protocol = wrapping.protocol(wrapping, protocol)
    transport.protocol = protocol
    protocol.makeConnection(transport)
    if len(received) > skip:
        protocol.dataReceived(received[skip:])

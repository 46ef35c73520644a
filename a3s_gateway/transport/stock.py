"""TLS over Twisted's own transports, with the contract of ours."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import NoProtocol, TimeoutError  # noqa: A004 - a ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from .handshake import AfterHandshake
from .tls_client import ClientTls
from .tls_server import ServerTls


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

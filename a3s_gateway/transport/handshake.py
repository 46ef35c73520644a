"""A stand-in for a client's protocol until the server has proved who it is."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .tls import TlsConnection
from .tls_client import ClientTls


@implementer(IHandshakeListener)
class AfterHandshake(Protocol):
    """Makes the protocol when the handshake is complete; works on our TLS and on Twisted's."""

    transport: TlsConnection | TLSMemoryBIOProtocol

    def __init__(
        self, tls: ClientTls, build: Callable[[], IProtocol], done: Deferred[IProtocol]
    ) -> None:
        """
        Prepare.

        Args:
            tls: Whom to expect.
            build: Makes the protocol.
            done: Gets the connected protocol, or the reason why there is none.

        """
        self._tls = tls
        self._build = build
        self._done = done

    def handshakeCompleted(self) -> None:
        """Check the server, and step back."""
        try:
            self._tls.check(self.transport.getHandle())
            protocol = self._build()
            self._make_way(protocol)
        except Exception:  # noqa: BLE001 - whatever it is, who connects is told
            self.transport.abortConnection()
            self._done.errback()
        else:
            self._done.callback(protocol)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell why there was no handshake, unless all has been told."""
        if not self._done.called:
            self._done.errback(self._tls.explain(self.transport.getHandle(), reason))

    def _make_way(self, protocol: IProtocol) -> None:
        if isinstance(self.transport, TlsConnection):
            self.transport.protocol = protocol
        else:
            self.transport.wrappedProtocol = protocol
        protocol.makeConnection(self.transport)
        if IHandshakeListener.providedBy(protocol):
            protocol.handshakeCompleted()

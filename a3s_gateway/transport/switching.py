"""Changing what is spoken on a connection, and closing half of it, on transports of either kind."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.protocols.tls import TLSMemoryBIOProtocol


def hand_over(transport: Any, protocol: IProtocol) -> None:
    """Let another protocol go on with a connection; the one before hears no more of it."""
    transport.unregisterProducer()
    if isinstance(transport, TLSMemoryBIOProtocol):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
    protocol.makeConnection(transport)


def close_sending(transport: Any) -> None:
    """Say that nothing more will be sent; no producer may be registered."""
    if isinstance(transport, TLSMemoryBIOProtocol):
        transport.loseConnection()  # it cannot do half of it, but waits for the peer's close_notify
    else:
        transport.loseWriteConnection()

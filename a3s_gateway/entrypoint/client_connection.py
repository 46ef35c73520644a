"""A connection from a client as such: its deadlines, its pauses, its ways to end."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import Protocol

from a3s_gateway.protocol.forwarded import UNKNOWN, plain_address
from a3s_gateway.transport.switching import close_sending

if TYPE_CHECKING:
    from .http_service import HttpFactory

LINGER: Final = 2.0  # seconds that a client gets to read our last words while it still sends
MAX_LINGER: Final = 1024 * 1024  # bytes of it that we read and drop meanwhile


class Phase(Enum):
    """What the connection's one timer is set for; in `HANDLING` it means nothing."""

    HEAD = "request head"
    IDLE = "next request"
    BODY = "request body"
    HANDLING = "answer"
    WRITING = "client to read"
    CLOSING = "client to close"


class ClientConnection(Protocol):
    """What a connection does whatever is spoken on it; `HttpConnection` speaks HTTP/1.1."""

    transport: Any

    def __init__(self, factory: HttpFactory) -> None:
        self.factory: HttpFactory = factory
        self._timer = factory.timers.timer(self._expired)
        self._phase = Phase.HEAD
        self._peer = UNKNOWN
        self._discarded = -1  # bytes read only to be dropped; -1 while they are not
        self._is_reading_paused = False

    def connectionMade(self) -> None:
        """Give the client its time for a first request."""
        self.factory.connections.add(self)
        host = getattr(self.transport.getPeer(), "host", "")
        self._peer = plain_address(host) if host else UNKNOWN
        self._timer.set(self.factory.timeouts.request_head)
        # For as long as it lives: answers to pipelined requests have to be paced as well.
        self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's interface

    def abort(self) -> None:
        """End it in whatever state it is."""
        self.transport.abortConnection()

    def _expired(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        """Close, and wait only so long for the client to take what is written already."""
        self._phase = Phase.CLOSING
        self._timer.set(self.factory.timeouts.write_idle)
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _linger(self) -> None:
        """
        Close, but let the client read our answer first, although it is still sending.

        RFC 9112 §9.6: closing with unread data resets the connection, and the answer is
        lost with it.
        """
        self._phase = Phase.CLOSING
        self._discarded = 0
        self._resume_reading()
        self._timer.set(LINGER)
        self.transport.unregisterProducer()
        close_sending(self.transport)

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > MAX_LINGER:
            self.transport.abortConnection()

    def stopProducing(self) -> None:
        """Hear from the transport that the connection is gone; `connectionLost` does the rest."""

    # -- Source of the request's body

    def pause(self) -> None:
        """Stop reading: the backend is slower than the client."""
        if self._phase is Phase.BODY:
            self._timer.cancel()
        self._pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._phase is Phase.BODY:
            self._timer.set(self.factory.timeouts.request_body_idle)
        self._resume_reading()

    def cancel(self) -> None:
        """Read the rest of the request only to drop it: nobody wants it."""
        self._discarded = max(self._discarded, 0)
        self._resume_reading()

    def _pause_reading(self) -> None:
        self._is_reading_paused = True
        self.transport.pauseProducing()

    def _resume_reading(self) -> None:
        if self._is_reading_paused:
            self._is_reading_paused = False
            self.transport.resumeProducing()

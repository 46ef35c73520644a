"""A stream connection under TLS: OpenSSL works directly on the transport's socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IHandshakeListener,
    INegotiated,
    IProtocol,
    ISSLTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from .addresses import StreamAddress
from .poller import EPOLLIN, EPOLLOUT, Poller
from .sockets import close_orderly
from .tcp import BULK_READ_SIZE, DONE, LOST, READ_SIZE, TcpConnection
from .timers import Timer, timers_for

MAX_RECORD = 16 * 1024  # bytes of plain text; RFC 8446 §5.1

HANDSHAKE_TIMEOUT = 10.0  # seconds

WANTED_READ, WANTED_WRITE = 1, 2  # bits: what a read or a write waits for against its nature


class HandshakeTimeout(ConnectionAborted):
    """The peer did not complete the TLS handshake in time."""

    MESSAGE = "The TLS handshake was not completed in time"


@implementer(INegotiated, ISSLTransport)
class TlsConnection(TcpConnection):  # type: ignore[override]  # or it is a Unix socket
    """
    One connected stream socket with TLS on it.

    As with Twisted's TLS, the protocol is connected before the handshake, and what it writes
    meanwhile is sent afterwards; an `IHandshakeListener` is told when it is complete. A peer that
    goes without a close_notify has not closed but is lost.
    """

    __slots__ = (
        "_crossed",
        "_goodbye_waits",
        "_handshake_timer",
        "_on_shaken",
        "_rest_unsignalled",
        "_tls",
    )

    def __init__(
        self,
        poller: Poller,
        sock: socket.socket,
        peer: StreamAddress,
        on_end: Callable[[], None] | None = None,
        *,
        tls: SSL.Connection,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        on_shaken: Callable[[], None] | None = None,
    ) -> None:
        """
        Take over a connected, non-blocking socket; `start` gives it a protocol.

        Args:
            poller: Of the reactor that the protocol lives in.
            sock: Owned from now on.
            peer: What `getPeer` says.
            on_end: Called once, when the socket has been closed.
            tls: On that socket, in accept or in connect state.
            handshake_timeout: Seconds.
            on_shaken: Called once, when the handshake is over, for good or ill.

        """
        super().__init__(poller, sock, peer, on_end)
        tls.set_app_data(self)
        self._tls = tls
        self._established = False
        self._direct = False
        self._crossed = 0  # WANTED_READ: a write waits for input; WANTED_WRITE: a read for output
        self._goodbye_waits = False  # the kernel did not take our close_notify yet
        # Of bytes OpenSSL keeps none, as each read takes a whole record, but it may have met the
        # end of the stream when the reader paused; the poller cannot know of that.
        self._rest_unsignalled = False
        timers = timers_for(poller.reactor)
        self._handshake_timer: Timer | None = timers.timer(self._handshake_late)
        self._handshake_timer.set(handshake_timeout)
        self._on_shaken = on_shaken

    # Handshake

    def start(self, protocol: IProtocol) -> None:
        """Tell the protocol that it is connected, and begin the handshake."""
        super().start(protocol)
        if self._reason is None:
            self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._watch(EPOLLIN)
        except SSL.WantWriteError:
            self._watch(EPOLLOUT)
        except SSL.Error as error:
            self._end_read(lost_or(error))
        else:
            self._handshake_done()

    def _handshake_done(self) -> None:
        self._end_handshake()
        self._established = True
        self._watch(EPOLLIN)
        if IHandshakeListener.providedBy(self.protocol):
            self.protocol.handshakeCompleted()
        if self._reason is None:
            if self._queued:
                self._flush()
            else:
                self._drained()

    def _handshake_late(self) -> None:
        self._end_read(Failure(HandshakeTimeout()))

    def _end_handshake(self) -> None:
        if self._handshake_timer is not None:
            self._handshake_timer.end()
            self._handshake_timer = None
            on_shaken, self._on_shaken = self._on_shaken, None
            if on_shaken is not None:
                on_shaken()

    # Reading

    def on_events(self, events: int) -> None:
        """Read what is there and hand it on: the hot path."""
        if events != EPOLLIN or not self._reading or not self._established:
            self._on_other_events(events)
            return
        try:
            data = self._tls.recv(MAX_RECORD)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self._read_failed(error)
        else:
            if len(data) < MAX_RECORD:
                self.protocol.dataReceived(data)
            else:
                self._receive_more(data)
        if self._crossed and self._queued:
            self._flush()

    def _receive_more(self, first: bytes) -> None:
        """Read on after a full record: a body is on its way, and is cheaper in large pieces."""
        pieces = [first]
        left = BULK_READ_SIZE - len(first)
        failure: SSL.Error | None = None
        try:
            while left > 0 and len(pieces[-1]) == MAX_RECORD:
                pieces.append(self._tls.recv(MAX_RECORD))
                left -= len(pieces[-1])
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            failure = error
        self.protocol.dataReceived(b"".join(pieces))
        if failure is not None and self._reason is None:
            if self._reading:
                self._read_failed(failure)
            else:
                self._rest_unsignalled = True

    def _read_failed(self, error: SSL.Error) -> None:
        if isinstance(error, SSL.WantWriteError):
            self._crossed |= WANTED_WRITE
            self._watch(EPOLLOUT)
        elif isinstance(error, SSL.ZeroReturnError):
            self._read_eof()
        else:
            self._end_read(lost_or(error))

    def _on_other_events(self, events: int) -> None:
        if not self._established:
            self._shake_hands()
            return
        if self._goodbye_waits and events & ~EPOLLIN:
            self._say_goodbye()
        if self._crossed & WANTED_WRITE and events & EPOLLOUT:
            self._crossed &= ~WANTED_WRITE
            self._watch(EPOLLIN | EPOLLOUT if self._queued else EPOLLIN)
            events |= EPOLLIN
        if self._reason is None:
            super()._on_other_events(events)

    def _discard_input(self) -> None:
        try:
            self._tls.recv(READ_SIZE)
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self._watch(self._interest & ~EPOLLIN)

    def _raw_eof(self) -> None:
        self._end_read(LOST)  # no close_notify came before it

    def resumeProducing(self) -> None:
        """Read again, first of all what was read along with the last bytes."""
        super().resumeProducing()
        if self._reading and self._rest_unsignalled:
            self._rest_unsignalled = False
            self._poller.soon(self, self._read_unsignalled)

    def _read_unsignalled(self) -> None:
        if self._reading and self._reason is None:
            self.on_events(EPOLLIN)

    def _receive_the_rest(self) -> bytes:
        try:
            return self._tls.recv(READ_SIZE)
        except SSL.Error:
            return b""

    # Writing

    def write(self, data: bytes) -> None:
        """Send at once; what the kernel does not take is kept and sent when it does."""
        if not self._direct or not data:
            self._write_later(data)
            return
        if len(data) <= self._poller.holds:
            self._hold(data)
            return
        try:
            sent = self._tls.send(data)
        except SSL.WantWriteError:
            sent = 0
        except SSL.WantReadError:
            self._crossed |= WANTED_READ
            sent = 0
        except SSL.Error:
            self._end_write()
            return
        if sent != len(data):
            self._enqueue(memoryview(data)[sent:] if sent else data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write the pieces as one, so that they share records."""
        self.write(b"".join(iovec))

    def _send_block(self, block: bytes | memoryview) -> int:
        self._crossed &= ~WANTED_READ
        try:
            return self._tls.send(block)
        except SSL.WantWriteError:
            self._watch_writing()
        except SSL.WantReadError:
            self._crossed |= WANTED_READ
            self._watch(self._interest & ~EPOLLOUT)
        except SSL.Error:
            self._end_write()
        return -1

    def _watch_writing(self) -> None:
        if not self._crossed & WANTED_READ:
            super()._watch_writing()

    # Closing

    def _finish(self) -> None:
        if not self._established:
            self.abortConnection()  # there is no TLS to close yet
        else:
            self._say_goodbye()

    def _shut_down_writing(self) -> None:
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        """Send close_notify, and then end if that was asked for."""
        try:
            self._tls.shutdown()
        except SSL.WantWriteError:
            self._goodbye_waits = True
            self._watch_writing()
            return
        except SSL.Error:
            pass  # the peer is gone; reading will tell
        if self.disconnecting:
            self._end(DONE)
        elif self._goodbye_waits:
            self._watch(self._interest & ~EPOLLOUT)
        self._goodbye_waits = False

    def _close_socket(self) -> None:
        self._end_handshake()
        assert self._reason is not None
        if self._reason is DONE and not self.disconnecting:
            with suppress(SSL.Error):
                self._tls.shutdown()  # in answer to the peer's
        self._tls.set_app_data(None)  # no cycle is left to be collected
        if isinstance(self._reason.value, SSL.Error):
            close_orderly(self._socket)  # OpenSSL has sent an alert that explains it
        else:
            super()._close_socket()

    # What TLS adds

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The protocol chosen by ALPN; `None` before the handshake, or without ALPN."""
        return self._tls.get_alpn_proto_negotiated() or None

    def getPeerCertificate(self) -> object:
        """Give the peer's certificate as pyOpenSSL's X509; `None` if it sent none."""
        return self._tls.get_peer_certificate()

    def getHandle(self) -> SSL.Connection:  # type: ignore[override]  # as Twisted's TLS does
        """Give OpenSSL's connection."""
        return self._tls


def lost_or(error: SSL.Error) -> Failure:
    """Convert an error of OpenSSL: a broken connection is lost, anything else is told as it is."""
    broken = isinstance(error, SSL.SysCallError) or not any(error.args)  # without a reason: cut off
    return LOST if broken else Failure(error)

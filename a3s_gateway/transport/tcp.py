"""A stream connection as a Twisted transport: TCP or a Unix socket, without TLS."""

from __future__ import annotations

import socket
from collections.abc import Callable

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    ILoggingContext,
    IProtocol,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .addresses import StreamAddress
from .consumer import READ_CLOSED, WRITE_CLOSED, WRITE_CLOSING, Consumer
from .poller import EPOLLIN, EPOLLOUT, Poller
from .sockets import close_orderly, close_with_reset
from .splice import Splice, begin_splice

READ_SIZE = 72 * 1024  # bytes per recv: a head and 64 KiB, the commonest size of a buffer
BULK_READ_SIZE = 256 * 1024  # bytes per recv once reads come back full
MAX_REST = 16 * 1024 * 1024  # bytes read after a failed send; the kernel's buffer is smaller

DONE = Failure(ConnectionDone())
LOST = Failure(ConnectionLost())
ABORTED = Failure(ConnectionAborted())
NOBODY = Protocol()  # stands in for the protocol of a connection that has ended

# glibc maps large blocks afresh each time, up to the size of the largest mapped block that was
# ever freed. Without this, `recv(BULK_READ_SIZE)` costs 10 µs even for a small answer; with it, 2.
bytes(4 * BULK_READ_SIZE)


@implementer(ITCPTransport, IConsumer, IPushProducer, ISystemHandle, ILoggingContext)
class TcpConnection(Consumer):  # type: ignore[override]  # or it is a Unix socket
    """
    One connected stream socket; owns it, and closes it when the connection ends.

    `write` sends at once and keeps only what the kernel does not take. The end is told to the
    protocol after the code that caused it has returned, exactly once.
    """

    __slots__ = (
        "_on_end",
        "_outflow",
        "_read_size",
        "_reading",
        "_reason",
        "protocol",
    )

    protocol: IProtocol

    def __init__(
        self,
        poller: Poller,
        sock: socket.socket,
        peer: StreamAddress,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """
        Take over a connected, non-blocking socket; `start` gives it a protocol.

        Args:
            poller: Of the reactor that the protocol lives in.
            sock: Owned from now on.
            peer: What `getPeer` says.
            on_end: Called once, when the socket has been closed.

        """
        super().__init__(poller, sock, peer)
        self.protocol = NOBODY
        self._on_end = on_end
        self._reading = True
        self._read_size = READ_SIZE
        self._reason: Failure | None = None
        self._outflow: Splice | None = None  # reads in our place, past this process

    # Reading

    def start(self, protocol: IProtocol) -> None:
        """Begin to read, and tell the protocol that it is connected."""
        self.protocol = protocol
        self._watch(EPOLLIN)
        protocol.makeConnection(self)

    def on_events(self, events: int) -> None:
        """Read once and hand the bytes on: the hot path."""
        if events != EPOLLIN or not self._reading:
            self._on_other_events(events)
            return
        size = self._read_size
        try:
            data = self._socket.recv(size)
        except BlockingIOError:
            return
        except OSError:
            self._end_read(LOST)
            return
        if not data:
            self._read_eof()
            return
        if len(data) == size or size != READ_SIZE:
            self._read_size = BULK_READ_SIZE if len(data) >= READ_SIZE else READ_SIZE
        self.protocol.dataReceived(data)

    def _on_other_events(self, events: int) -> None:
        if self._queued:
            self._flush()
        if self._reason is not None or not events & ~EPOLLOUT:
            return
        if self._reading:
            self.on_events(EPOLLIN)
        elif self._outflow is not None and not self.disconnecting:
            self._outflow.fill(events & ~EPOLLOUT)
        elif events & ~(EPOLLIN | EPOLLOUT):  # EPOLLHUP, EPOLLERR: they come unasked
            self._hang_up()
        elif self.disconnecting:
            self._discard_input()
        else:
            self._watch(self._interest & ~EPOLLIN)  # paused, and only now it matters

    def _hang_up(self) -> None:
        """Nobody reads, and the peer is gone: end, unless bytes wait to be read."""
        if self._half_close & READ_CLOSED or self.disconnecting:
            self._end_read(LOST)
            return
        try:
            unread = self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            self._end_read(LOST)
            return
        if unread:
            self._unwatch()  # the poller would repeat itself until a reader resumes
        else:
            self._raw_eof()

    def _discard_input(self) -> None:
        """Throw input away while output waits: else two that close at once wait for ever."""
        try:
            unread = self._socket.recv(READ_SIZE)
        except OSError:
            unread = b""
        if not unread:
            self._watch(self._interest & ~EPOLLIN)

    def _raw_eof(self) -> None:
        self._read_eof()

    def _read_eof(self) -> None:
        self._reading = False
        half_closeable = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is None or self._half_close & WRITE_CLOSED:
            self._end(DONE)
        else:
            self._half_close |= READ_CLOSED
            self._watch(self._interest & ~EPOLLIN)
            self._end_outflow()
        if half_closeable is not None:
            half_closeable.readConnectionLost()

    def _end_read(self, reason: Failure) -> None:
        self._reading = False
        self._end(reason)

    def _broke_off(self) -> None:
        self._end_read(LOST)

    def splice_to(self, sink: ITransport, moved: Callable[[int], None]) -> bool:
        """
        Send on to `sink` all that comes from now on, without showing it to the protocol.

        Args:
            sink: Gets bytes from nobody else.
            moved: Told how many bytes have been received, each time.

        Returns:
            Whether it is so: both have to be plain, all that was written to `sink` has to be
            sent, and there has to be a pipe.

        """
        if type(self) is not TcpConnection or type(sink) is not TcpConnection:
            return False
        return self._reading and begin_splice(self, sink, moved)

    def pauseProducing(self) -> None:
        """Read no more for now. Costs nothing unless bytes come meanwhile."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Read again."""
        if self.connected and not self.disconnecting and not self._half_close & READ_CLOSED:
            self._reading = True
            if not self._interest & EPOLLIN:
                self._watch(self._interest | EPOLLIN)

    def stopProducing(self) -> None:
        """Close, as `loseConnection`."""
        self.loseConnection()

    # Closing

    def loseConnection(self) -> None:
        """Close when everything is sent and no producer is registered; read no more."""
        if not self.connected or self.disconnecting:
            return
        self.disconnecting = True
        self._reading = False
        if self._producer is None:
            self._direct = False
            if not self._queued:
                self._finish()
        if self.connected and not (self._half_close & READ_CLOSED or self._interest & EPOLLIN):
            self._watch(self._interest | EPOLLIN)  # to discard it

    def loseWriteConnection(self) -> None:
        """Close the sending half when everything is sent and no producer is registered."""
        if not self.connected or self.disconnecting or self._half_close & ~READ_CLOSED:
            return
        self._half_close |= WRITE_CLOSING
        if self._producer is None:
            self._direct = False
            if not self._queued and self._established:
                self._close_write()

    def abortConnection(self) -> None:
        """Close now, throw away what is unsent, and reset the connection where there is RST."""
        self._reading = False
        if self.connected:
            self._end(ABORTED)
        elif self._reason is DONE:
            self._reason = ABORTED

    def on_failure(self, failure: Failure) -> None:
        """Close now; the protocol is told `failure`."""
        self._end_read(failure)

    def _finish(self) -> None:
        self._end(DONE)

    def _close_write(self) -> None:
        self._direct = False
        self._half_close = self._half_close & READ_CLOSED | WRITE_CLOSED
        try:
            self._shut_down_writing()
        except OSError:
            self._end_write()
            return
        self._poller.soon(self, self._write_closed)

    def _shut_down_writing(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def _write_closed(self) -> None:
        half_closeable = IHalfCloseableProtocol(self.protocol, None)
        if half_closeable is not None and self._reason is None:
            half_closeable.writeConnectionLost()
        if self._half_close & READ_CLOSED:
            self._end(DONE)

    def _end_write(self) -> None:
        """End after a failed send; what the peer sent before is still delivered: it may say why."""
        self._end(LOST)

    def _end(self, reason: Failure) -> None:
        """Stop all traffic; the protocol hears of it when the running code has returned."""
        if self._reason is None:
            self._reason = reason
            self.connected = False
            self._direct = False
            self._unwatch()
            self._poller.soon(self, self._bury)

    def _bury(self) -> None:
        try:
            self._stop_flows()
        finally:
            self._close_socket()
            protocol, self.protocol = self.protocol, NOBODY  # no cycle is left to be collected
            assert self._reason is not None
            try:
                protocol.connectionLost(self._reason)
            finally:
                if self._on_end is not None:
                    self._on_end()

    def _end_outflow(self) -> None:
        if self._outflow is not None:
            outflow, self._outflow = self._outflow, None
            outflow.source_ended()

    def _stop_flows(self) -> None:
        self._end_outflow()
        if self._inflow is not None:
            self._inflow.sink_ended()
        self._held = None
        self._queue = None
        self._queued = 0
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        left = MAX_REST
        while self._reading and left > 0:
            data = self._receive_the_rest()
            self._reading = bool(data)
            if data:
                left -= len(data)
                self.protocol.dataReceived(data)

    def _receive_the_rest(self) -> bytes:
        """Read after a send failed; empty when there is no more."""
        try:
            return self._socket.recv(READ_SIZE)
        except OSError:
            return b""

    def _close_socket(self) -> None:
        assert self._reason is not None
        kind = type(self._reason.value)
        if kind is ConnectionDone and self.disconnecting:
            close_orderly(self._socket)
        elif kind is ConnectionDone or kind is ConnectionLost:
            self._socket.close()
        else:
            close_with_reset(self._socket)

    def getHandle(self) -> socket.socket:
        """Give the socket itself."""
        return self._socket

    def logPrefix(self) -> str:
        """Name of the protocol's class."""
        return type(self.protocol).__name__

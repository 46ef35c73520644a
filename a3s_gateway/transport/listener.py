"""A listening socket as a Twisted port: accepts in bounded numbers and survives a lack of files."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .addresses import StreamAddress, local_address, stream_address
from .opening import OpeningConnection
from .poller import EPOLLIN, Pollable, Poller
from .tcp import TcpConnection

ACCEPTS = 64  # connections per readiness event, so that those already open are served in between
BACK_OFF = 0.25  # seconds without accepting after the system had no file descriptor left

# Nothing to accept after all; accept(2) passes on errors of the new connection, too.
GONE = frozenset({errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.EINTR})

log = Logger()

Accepted = TcpConnection | OpeningConnection
MakeConnection = Callable[[socket.socket, StreamAddress, "Listener"], Accepted]


@implementer(IListeningPort)
class Listener(Pollable):
    """Owns a listening socket between `startListening` and `stopListening`."""

    def __init__(
        self,
        poller: Poller,
        sock: socket.socket,
        factory: IProtocolFactory,
        make_connection: MakeConnection,
        *,
        max_connections: int | None = None,
        max_handshakes: int | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        """
        Take over a non-blocking socket that listens.

        Args:
            poller: Of the reactor that the connections will live in.
            sock: Owned from now on.
            factory: Makes the protocol of each connection.
            make_connection: Makes the transport of each connection, plain or TLS; it calls
                `connection_ended`, and around a handshake `handshake_begins` and `_ended`.
            max_connections: Open at a time; more wait in the kernel's queue. `None`: no limit.
            max_handshakes: Under way at a time; likewise.
            on_close: Called once, before the socket is closed.

        """
        self._poller = poller
        self._socket = sock
        self._factory = factory
        self._make_connection = make_connection
        self._max_connections = max_connections
        self._max_handshakes = max_handshakes
        self._on_close = on_close
        self._host = local_address(sock)
        self._connections = 0
        self._handshakes = 0
        self._listening = False
        self._watched = False
        self._back_off: IDelayedCall | None = None
        self._short_of_files = False

    @property
    def connections(self) -> int:
        """Number of connections accepted here that are still open."""
        return self._connections

    def startListening(self) -> None:
        """Begin to accept."""
        self._listening = True
        self._factory.doStart()
        self._accept_again()

    def retune(
        self,
        factory: IProtocolFactory,
        make_connection: MakeConnection,
        max_connections: int | None,
        max_handshakes: int | None = None,
    ) -> None:
        """Make what is accepted from now on otherwise; connections accepted before stay."""
        before, self._factory = self._factory, factory
        if before is not factory and self._listening:
            factory.doStart()
            before.doStop()
        self._make_connection = make_connection
        self._max_connections = max_connections
        self._max_handshakes = max_handshakes
        if self._is_full:
            self._stop_accepting()
        elif self._back_off is None:
            self._accept_again()

    @property
    def _is_full(self) -> bool:
        if self._max_connections is not None and self._connections >= self._max_connections:
            return True
        return self._max_handshakes is not None and self._handshakes >= self._max_handshakes

    def stopListening(self) -> Deferred[None]:
        """Close the socket; connections already accepted live on."""
        if not self._listening:
            return maybeDeferred(lambda: None)
        self._close()
        return maybeDeferred(self._factory.doStop)

    def getHost(self) -> StreamAddress:
        """Address that is listened on, also after it was closed."""
        return self._host

    def on_events(self, events: int) -> None:  # noqa: ARG002 - whatever it is, accept says it
        """Accept what is there, within bounds."""
        for _ in range(ACCEPTS):
            if not self._watched:
                return
            try:
                sock, raw = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in GONE:
                    continue
                self._wait_for_files(error)
                return
            self._connect(sock, stream_address(raw))

    def on_failure(self, failure: Failure) -> None:  # noqa: ARG002
        """Close: the reactor has stopped."""
        self._close()
        self._factory.doStop()

    def _connect(self, sock: socket.socket, peer: StreamAddress) -> None:
        if self._short_of_files:
            self._short_of_files = False
            log.info("accepting connections again on {host}", host=self._host)
        try:
            sock.setblocking(False)  # noqa: FBT003
            protocol = self._factory.buildProtocol(peer)
        except Exception:  # noqa: BLE001 - one refused connection must not stop the others
            log.failure("Unhandled error while a connection was accepted")
            protocol = None
        if protocol is None:
            sock.close()
            return
        self._connections += 1
        if self._is_full:
            self._stop_accepting()
        connection = self._make_connection(sock, peer, self)
        try:
            connection.start(protocol)
        except Exception:  # noqa: BLE001 - likewise
            log.failure("Unhandled error in a new connection, which is aborted")
            connection.on_failure(Failure())

    def connection_ended(self) -> None:
        """Have room for one more."""
        self._connections -= 1
        self._perhaps_accept_again()

    def handshake_begins(self) -> None:
        """Count one more client that has not proved to be one yet."""
        self._handshakes += 1
        if self._is_full:
            self._stop_accepting()

    def handshake_ended(self) -> None:
        """Count one less; it is connected now, or gone."""
        self._handshakes -= 1
        self._perhaps_accept_again()

    def _perhaps_accept_again(self) -> None:
        if not self._watched and self._back_off is None and not self._is_full:
            self._accept_again()

    def _wait_for_files(self, error: OSError) -> None:
        """Stop accepting for a moment: the kernel would report the same again and again."""
        if not self._short_of_files:
            self._short_of_files = True
            log.warn(  # noqa: G010 - Twisted's logger has no `warning`
                "cannot accept connections on {host} for now: {error}", host=self._host, error=error
            )
        self._stop_accepting()
        self._back_off = self._poller.reactor.callLater(BACK_OFF, self._end_back_off)

    def _end_back_off(self) -> None:
        self._back_off = None
        if not self._is_full:
            self._accept_again()

    def _accept_again(self) -> None:
        if self._listening and not self._watched:
            self._watched = True
            self._poller.register(self._socket.fileno(), self, EPOLLIN)

    def _stop_accepting(self) -> None:
        if self._watched:
            self._watched = False
            self._poller.unregister(self._socket.fileno())

    def _close(self) -> None:
        self._listening = False
        self._stop_accepting()
        if self._back_off is not None:
            self._back_off.cancel()
            self._back_off = None
        if self._on_close is not None:
            self._on_close()
        self._socket.close()

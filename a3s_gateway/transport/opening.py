"""A connection whose first bytes decide what it becomes: they are looked at, not taken."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from .addresses import StreamAddress
from .poller import EPOLLIN, Poller
from .sockets import close_with_reset
from .stream_socket import StreamSocket
from .tcp import ABORTED, DONE, LOST
from .timers import Timer, timers_for
from .tls_server import ServerTls

if TYPE_CHECKING:
    from .listener import Listener

MAX_LOOK: Final = 32 * 1024  # bytes looked at
AGAIN: Final = 0.1  # seconds; a Unix socket does not tell when more has come than before


class Opening(Protocol):
    """Who looks at the first bytes of a connection: a Twisted protocol until it knows."""

    def look(self, data: bytes) -> int:
        """
        Look at all that has come so far; `proceed` in time, or ask for more.

        Returns:
            How many bytes there must be to look again.

        """


class OpeningConnection(StreamSocket):
    """
    The transport of an `Opening`: reads nothing, until `proceed` makes it a connection.

    What is looked at stays in the kernel, so that TLS can be spoken on the socket itself.
    """

    __slots__ = ("_listener", "_make", "_opening", "_reason", "_timer", "_wanted")

    def __init__(
        self,
        poller: Poller,
        make: Callable[[ServerTls | None], Callable[..., Any]],
        sock: socket.socket,
        peer: StreamAddress,
        listener: Listener,
    ) -> None:
        """
        Take over a connected, non-blocking socket; `start` gives it an `Opening`.

        Args:
            poller: Of the reactor that the protocol lives in.
            make: Returns what makes the transport that this is to become, plain or with TLS.
            sock: Owned from now on.
            peer: What `getPeer` says.
            listener: Hears when the socket has been closed, by us or by what this becomes.

        """
        super().__init__(poller, sock, peer)
        self._make = make
        self._listener = listener
        self._opening: Any = None
        self._reason: Failure | None = None
        self._timer: Timer | None = None
        self._wanted = 1  # bytes; there are fewer only if no more will come

    def start(self, protocol: IProtocol) -> None:
        """Begin to look."""
        self._opening = protocol
        self._watch(EPOLLIN)
        protocol.makeConnection(self)  # type: ignore[arg-type]  # it asks for little of one

    def on_events(self, events: int) -> None:  # noqa: ARG002 - whatever it is, reading says it
        """Look at what has come."""
        try:
            data = self._socket.recv(MAX_LOOK, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            self._end(LOST)
            return
        is_unix = self._socket.family == socket.AF_UNIX
        if not data or (len(data) < self._wanted and not is_unix):
            self._end(DONE)
            return
        self._wanted = self._opening.look(data)
        if self._opening is None:
            return
        if is_unix:
            self._unwatch()
            self._look_again()
        else:
            self._wake_at(self._wanted)

    def _wake_at(self, count: int) -> None:
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _look_again(self) -> None:
        if self._timer is None:
            self._timer = timers_for(self._poller.reactor).timer(lambda: self._watch(EPOLLIN))
        self._timer.set(AGAIN)

    def proceed(
        self, protocol: IProtocol, skip: int, tls: ServerTls | None, peer: StreamAddress | None
    ) -> None:
        """
        Become a connection.

        Args:
            protocol: Its.
            skip: Bytes to be taken away before.
            tls: What to encrypt it with, if anything.
            peer: What `getPeer` is to say, if not what it does.

        """
        self._let_go()
        self._wake_at(1)
        if skip:
            self._socket.recv(skip)
        make = self._make(tls)
        make(self._socket, peer or self._peer, self._listener).start(protocol)

    def abortConnection(self) -> None:
        """Close now."""
        self._end(ABORTED)

    def on_failure(self, failure: Failure) -> None:
        """Close now; the protocol is told `failure`."""
        self._end(failure)

    def _let_go(self) -> None:
        self._unwatch()
        self._opening = None
        if self._timer is not None:
            self._timer.end()

    def _end(self, reason: Failure) -> None:
        """End; the protocol hears of it when the running code has returned."""
        if self._reason is None and self._opening is not None:
            self._reason = reason
            opening = self._opening
            self._let_go()
            self._poller.soon(self, lambda: self._bury(opening, reason))

    def _bury(self, opening: IProtocol, reason: Failure) -> None:
        if reason is ABORTED:
            close_with_reset(self._socket)
        else:
            self._socket.close()
        try:
            opening.connectionLost(reason)
        finally:
            self._listener.connection_ended()

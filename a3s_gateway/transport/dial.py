"""Opening of one client connection: the name looked up, its addresses in turn, one deadline."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import (
    ConnectError,
    DNSLookupError,
    TimeoutError,  # noqa: A004 - Twisted's, which is a ConnectError
    getConnectError,
)
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from .addresses import RawAddress
from .poller import EPOLLOUT, Pollable, Poller
from .timers import timers_for

Target = tuple[socket.AddressFamily, RawAddress]

NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

Failed = Callable[[ConnectError | DNSLookupError], None]


def literal_target(host: str, port: int) -> Target | None:
    """Convert a literal address; `None` when `host` is a name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=NUMERIC)
    except socket.gaierror:
        return None
    return found[0][0], cast("RawAddress", found[0][4])


@implementer(IResolutionReceiver)
class Lookup:
    """Collects the addresses of a name."""

    def __init__(self, done: Callable[[list[Target]], None]) -> None:
        self._done = done
        self._targets: list[Target] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Ignore it: Twisted's resolver cannot be cancelled."""

    def addressResolved(self, address: IAddress) -> None:
        """Keep an address that we can connect to."""
        if isinstance(address, IPv4Address):
            self._targets.append((socket.AF_INET, (address.host, address.port)))
        elif isinstance(address, IPv6Address):
            raw = (address.host, address.port, address.flowInfo, int(address.scopeID))
            self._targets.append((socket.AF_INET6, raw))

    def resolutionComplete(self) -> None:
        """Hand over what was found."""
        self._done(self._targets)


class Dial(Pollable):
    """
    Tries addresses until one answers or the time is up, then calls back once.

    Each attempt gets an equal share of the time that is left, so that one address that
    swallows packets does not use up what the next one needs.
    """

    __slots__ = (
        "_connected",
        "_deadline",
        "_ended",
        "_failed",
        "_poller",
        "_socket",
        "_targets",
        "_timer",
    )

    def __init__(
        self,
        poller: Poller,
        timeout: float,
        connected: Callable[[socket.socket, RawAddress], None],
        failed: Failed,
    ) -> None:
        """
        Start the clock; then call `look_up` or `try_all`.

        Args:
            poller: Of the reactor that the connection will live in.
            timeout: Seconds, for everything.
            connected: Gets the socket, which it owns, and the address that answered.
            failed: Gets the error of the last attempt.

        """
        self._poller = poller
        self._connected = connected
        self._failed = failed
        self._ended = False
        self._socket: socket.socket | None = None
        self._targets: list[Target] = []  # the one being tried stands last
        self._deadline = poller.reactor.seconds() + timeout
        self._timer = timers_for(poller.reactor).timer(self._time_is_up)

    def look_up(self, host: str, port: int) -> None:
        """Ask the reactor's resolver, then try what it finds."""
        self._set_timer(1)
        done = Lookup(lambda targets: self._looked_up(host, targets))
        self._poller.reactor.nameResolver.resolveHostName(done, host, port)

    def try_all(self, targets: Sequence[Target]) -> None:
        """Try these addresses, at least one."""
        self._targets = list(reversed(targets))
        self._try_last()

    def seconds_left(self) -> float:
        """Time until the deadline; not negative."""
        return max(0.0, self._deadline - self._poller.reactor.seconds())

    def cancel(self) -> None:
        """Give up without calling back."""
        self._ended = True
        self._timer.end()
        self._close()

    def on_events(self, events: int) -> None:  # noqa: ARG002 - SO_ERROR says what they mean
        """Take the outcome of the attempt."""
        assert self._socket is not None
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._attempt_failed(number)
        else:
            sock, self._socket = self._socket, None
            self._poller.unregister(sock.fileno())
            self._succeed(sock)

    def on_failure(self, failure: Failure) -> None:
        """End: the reactor has stopped."""
        self._end(ConnectError(string=failure.getErrorMessage()))

    def _looked_up(self, host: str, targets: list[Target]) -> None:
        if self._ended:
            return
        if targets:
            self.try_all(targets)
        else:
            self._end(DNSLookupError(f"no address found for {host!r}"))

    def _try_last(self) -> None:
        family, raw = self._targets[-1]
        self._set_timer(len(self._targets))
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self._attempt_failed(error.errno or errno.EIO)
            return
        number = sock.connect_ex(raw)  # type: ignore[arg-type]  # typeshed does not know str here
        if number == errno.EINPROGRESS:
            self._socket = sock
            self._poller.register(sock.fileno(), self, EPOLLOUT)
        elif number:
            sock.close()
            self._attempt_failed(number)
        else:
            self._succeed(sock)

    def _attempt_failed(self, number: int) -> None:
        self._next_or_end(getConnectError((number, os.strerror(number))))

    def _time_is_up(self) -> None:
        self._next_or_end(TimeoutError())

    def _next_or_end(self, error: ConnectError) -> None:
        self._close()
        del self._targets[-1:]
        if self._targets:
            self._try_last()
        else:
            self._end(error)

    def _succeed(self, sock: socket.socket) -> None:
        self._ended = True
        self._timer.end()
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connected(sock, self._targets[-1][1])

    def _end(self, error: ConnectError | DNSLookupError) -> None:
        self.cancel()
        self._failed(error)

    def _set_timer(self, shares: int) -> None:
        self._timer.set(self.seconds_left() / shares)

    def _close(self) -> None:
        if self._socket is not None:
            self._poller.unregister(self._socket.fileno())
            self._socket.close()
            self._socket = None

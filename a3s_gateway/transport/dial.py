"""Opening of one client connection: the name looked up, its addresses in turn, one deadline."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.error import (
    ConnectError,
    DNSLookupError,
    TimeoutError,  # noqa: A004 - Twisted's, which is a ConnectError
    getConnectError,
)
from twisted.python.failure import Failure

from a3s_gateway.task import Task

from .addresses import RawAddress
from .known_name import KnownName
from .names import Names
from .poller import EPOLLOUT, Pollable, Poller
from .targets import IpTarget, Target, at_port
from .timers import timers_for

Failed = Callable[[ConnectError | DNSLookupError], None]


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
        "_known",
        "_lookup",
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
        self._lookup: Task[KnownName] | None = None
        self._known: KnownName | None = None  # where the addresses come from, if from a name
        self._targets: list[Target] = []  # the one being tried stands last
        self._deadline = self._now() + timeout
        self._timer = timers_for(poller.reactor).timer(self._time_is_up)

    def look_up(self, names: Names, host: str, port: int) -> None:
        """Find the addresses of a name, then try them in turn."""
        self._set_timer(1)
        found = names.find(host)
        self._lookup = Task(found, lambda known: self._found(known, port), self._not_found)
        self._lookup.start()

    def try_all(self, targets: Sequence[Target]) -> None:
        """Try these addresses, at least one."""
        self._targets = list(reversed(targets))
        self._try_last()

    def seconds_left(self) -> float:
        """Time until the deadline; not negative."""
        return max(0.0, self._deadline - self._now())

    def cancel(self) -> None:
        """Give up without calling back."""
        self._ended = True
        self._timer.end()
        self._close()
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            lookup.cancel()

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

    def _found(self, known: KnownName, port: int) -> None:
        self._lookup = None
        self._known = known
        self.try_all([at_port(each, port) for each in known.in_turn(self._now())])

    def _not_found(self, error: BaseException) -> None:
        self._lookup = None
        self._end(error if isinstance(error, DNSLookupError) else ConnectError(string=repr(error)))

    def _now(self) -> float:
        return self._poller.reactor.seconds()

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
        if self._known is not None and self._targets:
            self._known.avoid(self._tried(), self._now())
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
        if self._known is not None:
            self._known.answered(self._tried())
        self._connected(sock, self._targets[-1][1])

    def _tried(self) -> IpTarget:
        """Return the address that was tried last, as the name knows it: without a port."""
        return at_port(cast("IpTarget", self._targets[-1]), 0)

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

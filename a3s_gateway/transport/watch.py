"""Who says that a descriptor can be read: our poller, or the reactor where there is no epoll."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from .poller import EPOLLIN, HAS_EPOLL, Pollable, log, poller_for


class Watch(Protocol):
    """The part of `Poller` that is enough for who only reads."""

    def register(self, fd: int, pollable: Pollable, events: int) -> None:
        """Watch `fd`, which must not be watched yet."""

    def unregister(self, fd: int) -> None:
        """Forget an `fd` that is watched."""


def watch_for(reactor: Any, *, stock: bool = not HAS_EPOLL) -> Watch:
    """Find who watches for this reactor; `stock` means itself."""
    return ReactorWatch(reactor) if stock else poller_for(reactor)


class ReactorWatch:
    """Has each descriptor watched by the reactor, as Twisted's transports do."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._readers: dict[int, _Reader] = {}

    def register(self, fd: int, pollable: Pollable, events: int) -> None:  # noqa: ARG002
        """Watch for reading, which is all that anybody here asks for."""
        reader = self._readers[fd] = _Reader(fd, pollable, self._readers)
        self._reactor.addReader(reader)

    def unregister(self, fd: int) -> None:
        """Forget it."""
        self._reactor.removeReader(self._readers.pop(fd))


@implementer(IReadDescriptor)
class _Reader:
    def __init__(self, fd: int, pollable: Pollable, watched: dict[int, _Reader]) -> None:
        self._fd = fd
        self._pollable = pollable
        self._watched = watched

    def doRead(self) -> None:
        try:
            self._pollable.on_events(EPOLLIN)
        except BaseException:  # noqa: BLE001 - the reactor would forget the descriptor
            failure = Failure()
            log.failure("Unhandled error in a connection, which ends", failure)
            self._pollable.on_failure(failure)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "datagrams"

    def connectionLost(self, reason: Failure) -> None:
        self.doRead()  # an error of the socket is read like data, but some reactors call it an end
        if self._watched.get(self._fd) is self:
            self._pollable.on_failure(reason)

"""
One inner epoll for all connections, itself a single reader of the reactor.

Registering each connection with the reactor would cost 6 µs more per event. The poller is
known to the reactor only while it watches something, so an idle reactor is a clean one.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol
from weakref import WeakValueDictionary

from twisted.internet.interfaces import (
    IDelayedCall,
    IHostResolution,
    IReadDescriptor,
    IResolutionReceiver,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

EPOLLIN: int = getattr(select, "EPOLLIN", 0x001)
EPOLLOUT: int = getattr(select, "EPOLLOUT", 0x004)

HAS_EPOLL = hasattr(select, "epoll")

BATCH = 512  # events per poll
HELD = 16 * 1024  # bytes of one write; more is cheaper sent while it is in the caches
ROUNDS = 4  # polls per turn of the reactor, so that its timers and other readers never starve

log = Logger()


class NameResolver(Protocol):
    """The part of Twisted's `IHostnameResolver` that a client endpoint needs."""

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0
    ) -> IHostResolution:
        """Look a name up; addresses arrive at the receiver."""


class Reactor(Protocol):
    """What the transports ask of a reactor; every POSIX reactor of Twisted has it."""

    @property
    def nameResolver(self) -> NameResolver:
        """Look-up of host names."""

    def addReader(self, reader: IReadDescriptor) -> None:
        """Watch a descriptor for reading."""

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Forget a descriptor."""

    def callLater(self, delay: float, call: Callable[[], None]) -> IDelayedCall:
        """Call after `delay` seconds."""

    def seconds(self) -> float:
        """Read the reactor's clock."""


class Pollable:
    """Something with a file descriptor in the poller's care."""

    __slots__ = ()

    def on_events(self, events: int) -> None:
        """Act on readiness; `events` is a mask of EPOLL* bits."""
        raise NotImplementedError

    def flush(self) -> None:
        """Send what was held back while the poller served a batch; see `Poller.held`."""

    def on_failure(self, failure: Failure) -> None:
        """End: `on_events` raised, or the reactor has stopped (`ConnectionLost`)."""
        raise NotImplementedError


@implementer(IReadDescriptor)
class Poller:
    """Watches file descriptors and calls those that are ready; see `poller_for`."""

    __slots__ = (
        "__weakref__",
        "_busy",
        "_count",
        "_epoll",
        "_pollables",
        "_reactor",
        "_soon",
        "held",
        "holds",
    )

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        # By file descriptor. A connection that ends is struck out at once but closed only after
        # the batch, so that no event of the batch can reach a newcomer with the same number.
        self._pollables: list[Pollable | None] = []
        self._count = 0
        self._soon: list[tuple[Pollable, Callable[[], None]]] = []
        self._busy = False
        self.held: list[Pollable] = []  # their `flush` is called when the batch is done
        self.holds = 0  # bytes of a write that waits for the end of the batch; 0: none does

    @property
    def reactor(self) -> Reactor:
        """The reactor that this poller is a reader of."""
        return self._reactor

    @property
    def watched(self) -> int:
        """Number of file descriptors watched now."""
        return self._count

    def register(self, fd: int, pollable: Pollable, events: int) -> None:
        """Watch `fd`, which must not be watched yet."""
        self._epoll.register(fd, events)
        while len(self._pollables) <= fd:
            self._pollables.append(None)
        self._pollables[fd] = pollable
        self._count += 1
        self._reactor.addReader(self)  # each time: `removeAll` of the reactor leaves no trace here

    def modify(self, fd: int, events: int) -> None:
        """Wait for other events of an `fd` that is watched."""
        self._epoll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Forget an `fd` that is watched; events already fetched are dropped."""
        self._pollables[fd] = None
        self._epoll.unregister(fd)
        self._count -= 1
        if self._count == 0:
            self._reactor.removeReader(self)

    def soon(self, pollable: Pollable, call: Callable[[], None]) -> None:
        """
        Call when the code that runs now has returned: after this batch, or in the next turn.

        A call that raises ends the pollable, as an event that raises does.
        """
        self._soon.append((pollable, call))
        if len(self._soon) == 1 and not self._busy:
            self._reactor.callLater(0, self._run_soon_in_a_turn)

    def doRead(self) -> None:
        """Serve what is ready, in a bounded number of rounds."""
        self._busy = True
        poll = self._epoll.poll
        pollables = self._pollables
        for _ in range(ROUNDS):
            ready = poll(0, BATCH)
            if not ready:
                break
            self.holds = HELD if len(ready) > 1 else 0
            for fd, events in ready:
                pollable = pollables[fd]
                if pollable is not None:
                    try:
                        pollable.on_events(events)
                    except BaseException:  # noqa: BLE001 - as Twisted: it must not reach the others
                        self._fail(pollable)
            self.holds = 0
            if self.held:
                self._flush_held()
            if self._soon:
                self._run_soon()
        self._end_turn()

    def _flush_held(self) -> None:
        held, self.held = self.held, []
        for holder in held:
            try:
                holder.flush()
            except BaseException:  # noqa: BLE001 - as Twisted: it must not reach the others
                self._fail(holder)

    def _run_soon(self) -> None:
        calls, self._soon = self._soon, []
        for pollable, call in calls:
            try:
                call()
            except BaseException:  # noqa: BLE001 - as Twisted: it must not reach the others
                self._fail(pollable)

    def _run_soon_in_a_turn(self) -> None:
        self._busy = True
        self._run_soon()
        self._end_turn()

    def _end_turn(self) -> None:
        self._busy = False
        if self._soon:  # not served now: what asks again each time must not hold the reactor
            self._reactor.callLater(0, self._run_soon_in_a_turn)

    def _fail(self, pollable: Pollable) -> None:
        failure = Failure()
        log.failure("Unhandled error in a connection, which ends", failure)
        pollable.on_failure(failure)

    def fileno(self) -> int:
        """File descriptor of the inner epoll."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Name of this reader in log lines of the reactor."""
        return "transport"

    def connectionLost(self, reason: Failure) -> None:
        """End all connections: the reactor has stopped."""
        for pollable in self._pollables:
            if pollable is not None:
                pollable.on_failure(reason)
        while self._soon:
            self._run_soon()


_pollers: WeakValueDictionary[Reactor, Poller] = WeakValueDictionary()


def poller_for(reactor: Reactor) -> Poller:
    """Find the reactor's poller, or make it; it lives as long as somebody holds it."""
    poller = _pollers.get(reactor)
    if poller is None:
        poller = _pollers[reactor] = Poller(reactor)
    return poller

"""The inner epoll: one reader of the reactor, fair, and safe against its own users."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from a3s_gateway.transport.poller import EPOLLIN, ROUNDS, Pollable, Poller, poller_for
from tests.unit.transport.peers import ConnectionCase, turns


class FakeReactor(Clock):
    """A clock that remembers its readers; the test is who polls, and who takes turns."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[object] = set()

    def callLater(self, delay: float, call: Callable[[], None]) -> IDelayedCall:
        return super().callLater(max(delay, 1), call)

    def turn(self) -> None:
        self.advance(1)

    def addReader(self, reader: object) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.remove(reader)


class Notes(Pollable):
    """Notes how it fails."""

    def __init__(self, log: list[object]) -> None:
        self.log = log

    def on_failure(self, failure: Failure) -> None:
        self.log.append(failure.type)


class Ready(Pollable):
    """One end of a pair that has a byte to read."""

    def __init__(self, poller: Poller, log: list[object]) -> None:
        self.poller = poller
        self.log = log
        self.near, self.far = socket.socketpair()
        self.far.send(b"x")
        self.fd = self.near.fileno()
        poller.register(self.fd, self, EPOLLIN)

    def on_events(self, events: int) -> None:
        self.log.append(self)

    def on_failure(self, failure: Failure) -> None:
        self.log.append(failure.type)
        self.close()

    def close(self) -> None:
        if self.near.fileno() >= 0:
            self.poller.unregister(self.fd)
            self.near.close()
            self.far.close()


class PollerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.poller = poller_for(self.reactor)
        self.log: list[object] = []
        self.owner = Notes(self.log)

    def ready(self, kind: type[Ready] = Ready) -> Ready:
        one = kind(self.poller, self.log)
        self.addCleanup(one.close)
        return one

    def test_is_a_reader_while_it_watches_something(self) -> None:
        """A reactor without connections has no reader of ours."""
        self.assertTrue(verifyObject(IReadDescriptor, self.poller))
        self.assertEqual(self.reactor.readers, set())
        one, other = self.ready(), self.ready()
        self.assertEqual(self.reactor.readers, {self.poller})
        one.close()
        self.assertEqual(self.reactor.readers, {self.poller})
        other.close()
        self.assertEqual(self.reactor.readers, set())

    def test_comes_back_to_a_reactor_that_forgot_it(self) -> None:
        """After `removeAll` of the reactor the next connection works."""
        self.ready()
        self.reactor.readers.clear()
        self.ready()
        self.assertEqual(self.reactor.readers, {self.poller})

    def test_serves_each_in_a_bounded_number_of_rounds(self) -> None:
        """Connections that are always ready do not keep the reactor from its timers."""
        one, other = self.ready(), self.ready()
        self.poller.doRead()
        self.assertEqual(self.log.count(one), ROUNDS)
        self.assertEqual(self.log.count(other), ROUNDS)

    def test_an_event_of_the_dead_reaches_nobody(self) -> None:
        """Who is ended by an event of the same batch gets none, and neither does a newcomer."""

        class Kills(Ready):
            def on_events(self, events: int) -> None:
                super().on_events(events)
                for victim in victims:
                    if victim is not self:
                        victim.close()

        victims = [self.ready(Kills), self.ready(Kills)]
        self.poller.doRead()
        self.assertEqual(len(set(self.log)), 1)

    def test_a_fault_in_one_leaves_the_others(self) -> None:
        """Whoever raises is ended, with one line in the log; the others are served."""

        class Fails(Ready):
            def on_events(self, events: int) -> None:
                raise ZeroDivisionError

        self.ready(Fails)
        fine = self.ready()
        self.poller.doRead()
        self.assertEqual(self.log.count(ZeroDivisionError), 1)
        self.assertEqual(self.log.count(fine), ROUNDS)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_soon_is_after_the_batch(self) -> None:
        """What is asked for inside an event happens in the same turn, after the events."""

        class Asks(Ready):
            def on_events(self, events: int) -> None:
                self.log.append("event")
                self.poller.soon(self, lambda: self.log.append("soon"))
                self.close()

        self.ready(Asks)
        self.ready(Asks)
        self.poller.doRead()
        self.assertEqual(self.log, ["event", "event", "soon", "soon"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_soon_outside_of_events_is_the_next_turn(self) -> None:
        """What is asked for elsewhere happens in the reactor's next turn, once."""
        self.poller.soon(self.owner, lambda: self.log.append("a"))
        self.poller.soon(self.owner, lambda: self.log.append("b"))
        self.assertEqual(self.log, [])
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.turn()
        self.assertEqual(self.log, ["a", "b"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_who_asks_again_and_again_waits_for_the_next_turn(self) -> None:
        """A call that asks for itself does not hold the reactor."""

        def again() -> None:
            self.log.append("again")
            if len(self.log) < 3:
                self.poller.soon(self.owner, again)

        self.poller.soon(self.owner, again)
        for expected in (1, 2, 3, 3):
            self.reactor.turn()
            self.assertEqual(len(self.log), expected)

    def test_a_fault_in_soon_leaves_the_others(self) -> None:
        """A call that raises is logged and ends who asked for it; the next one is made."""

        def fail() -> None:
            raise ZeroDivisionError

        self.poller.soon(self.owner, fail)
        self.poller.soon(self.owner, lambda: self.log.append("b"))
        self.reactor.turn()
        self.assertEqual(self.log, [ZeroDivisionError, "b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_end_of_the_reactor_ends_all(self) -> None:
        """When the reactor stops, each connection is told that it is lost, and what follows."""
        self.ready()
        self.ready()
        self.poller.soon(self.owner, lambda: self.log.append("soon"))
        self.poller.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.log, [ConnectionLost, ConnectionLost, "soon"])
        self.assertEqual(self.poller.watched, 0)

    def test_one_per_reactor_and_none_without_users(self) -> None:
        """All connections of a reactor share one; its file is closed with the last of them."""
        self.assertIs(poller_for(self.reactor), self.poller)
        other = poller_for(FakeReactor())
        self.assertIsNot(other, self.poller)
        gone = weakref.ref(other)
        del other
        gc.collect()
        self.assertIsNone(gone())


class InTheReactorTests(ConnectionCase):
    async def test_the_end_of_the_reactor_reaches_the_protocols(self) -> None:
        """A protocol is told that its connection is lost before the process ends."""
        far, near = await self.pair()
        poller_for(reactor).connectionLost(Failure(ConnectionLost()))
        self.assertEqual([far.losses[0].type, near.losses[0].type], [ConnectionLost] * 2)
        await turns()
        self.assertEqual((len(far.losses), len(near.losses)), (1, 1))

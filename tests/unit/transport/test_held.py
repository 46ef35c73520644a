"""Small writes of one batch of events: held to its end, and then sent as if they had not been."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from a3s_gateway.transport.poller import HELD, Poller
from a3s_gateway.transport.tcp import TcpConnection
from tests.unit.transport.peers import HalfCloser, Recorder
from tests.unit.transport.test_poller import FakeReactor


class Acts(HalfCloser):
    """Does what the test says when bytes arrive."""

    def __init__(self, act: Callable[[Any], None]) -> None:
        super().__init__()
        self.act = act

    def dataReceived(self, data: bytes) -> None:
        self.act(self.transport)


class HeldTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.poller = Poller(FakeReactor())
        self.peers: dict[Any, socket.socket] = {}

    def connect(self, act: Callable[[Any], None]) -> tuple[Acts, socket.socket]:
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.settimeout(0)
            self.addCleanup(sock.close)
        protocol = Acts(act)
        connection = TcpConnection(self.poller, near, UNIXAddress(None))
        self.addCleanup(connection.abortConnection)
        connection.start(protocol)
        self.peers[connection] = far
        far.send(b"?")
        return protocol, far

    def two(self, act: Callable[[Any], None]) -> tuple[Acts, list[socket.socket]]:
        """Let two connections act in one batch; gives the first protocol and both peers."""
        first, far = self.connect(act)
        _, other = self.connect(act)
        self.poller.doRead()
        return first, [far, other]

    def test_little_waits_for_the_end_of_the_batch(self) -> None:
        """While a batch is served no peer gets a small answer; afterwards each has its own."""
        early: list[bytes] = []

        def answer(transport: Any) -> None:
            transport.write(b"small ")
            transport.write(b"answer")
            for peer in self.peers.values():
                with contextlib.suppress(BlockingIOError):
                    early.append(peer.recv(100, socket.MSG_PEEK))

        _, peers = self.two(answer)
        self.assertEqual(early, [])
        self.assertEqual([peer.recv(100) for peer in peers], [b"small answer"] * 2)

    def test_much_is_sent_at_once(self) -> None:
        """What is worth a system call of its own does not wait."""
        early: list[int] = []

        def answer(transport: Any) -> None:
            transport.write(b"x" * (HELD + 1))
            early.append(len(self.peers[transport].recv(2 * HELD)))

        self.two(answer)
        self.assertEqual(early, [HELD + 1] * 2)

    def test_a_lonely_event_holds_nothing(self) -> None:
        """With one connection to serve there is nothing to wait for."""
        early: list[bytes] = []

        def answer(transport: Any) -> None:
            transport.write(b"small")
            early.append(self.peers[transport].recv(100))

        self.connect(answer)
        self.poller.doRead()
        self.assertEqual(early, [b"small"])

    def test_an_abort_throws_away_what_is_held(self) -> None:
        """Bytes written before an abort are not sent after it."""

        def act(transport: Any) -> None:
            transport.write(b"never")
            transport.abortConnection()

        protocol, peers = self.two(act)
        self.assertIs(protocol.losses[0].type, ConnectionAborted)
        self.assertEqual([peer.recv(100) for peer in peers], [b""] * 2)

    def test_closing_sends_what_is_held(self) -> None:
        """A last small answer arrives before the end."""

        def act(transport: Any) -> None:
            transport.write(b"bye")
            transport.loseConnection()

        protocol, peers = self.two(act)
        self.assertIs(protocol.losses[0].type, ConnectionDone)
        for peer in peers:
            self.assertEqual((peer.recv(100), peer.recv(100)), (b"bye", b""))

    def test_ending_a_half_sends_what_is_held(self) -> None:
        """The last small piece arrives before the end of the half."""

        def act(transport: Any) -> None:
            transport.write(b"all")
            transport.loseWriteConnection()

        protocol, peers = self.two(act)
        self.assertEqual(protocol.events, ["write"])
        for peer in peers:
            self.assertEqual((peer.recv(100), peer.recv(100)), (b"all", b""))

    def test_a_peer_that_takes_nothing(self) -> None:
        """What was held and cannot be sent waits for the peer, and arrives in order."""

        def act(transport: Any) -> None:
            transport.write(b"small")

        protocol, far = self.connect(act)
        self.connect(act)
        sock = protocol.transport.getHandle()
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filled += sock.send(b"x" * 4096)
        self.poller.doRead()
        self.assertEqual(protocol.transport.bufferedBytes, 5)
        received = b""
        while len(received) < filled + 5:
            received += far.recv(65536)
            self.poller.doRead()
        self.assertEqual(received[-5:], b"small")
        self.assertEqual(protocol.transport.bufferedBytes, 0)

    def test_a_fault_of_a_producer_when_the_held_is_sent(self) -> None:
        """A producer that raises when it is resumed ends its own connection only."""

        class Fails:
            def pauseProducing(self) -> None:
                pass

            def resumeProducing(self) -> None:
                raise ZeroDivisionError

            def stopProducing(self) -> None:
                pass

        def act(transport: Any) -> None:
            transport.registerProducer(Fails(), streaming=True)
            for _ in range(5):
                transport.write(b"x" * 16 * 1024)

        protocol, _ = self.connect(act)
        other, peer = self.connect(lambda transport: transport.write(b"fine"))
        self.poller.doRead()
        self.assertIs(protocol.losses[0].type, ZeroDivisionError)
        self.assertEqual(peer.recv(100), b"fine")
        self.assertEqual(other.losses, [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class QuietTests(SynchronousTestCase):
    def test_writes_outside_of_a_batch_are_sent_at_once(self) -> None:
        """A timer or a coroutine that writes holds nothing back."""
        poller = Poller(FakeReactor())
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.settimeout(0)
            self.addCleanup(sock.close)
        connection = TcpConnection(poller, near, UNIXAddress(None))
        self.addCleanup(connection.abortConnection)
        connection.start(Recorder())
        connection.write(b"now")
        self.assertEqual(far.recv(10), b"now")

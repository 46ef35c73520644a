"""What is particular to our plain transport: send at once, cheap pauses, peers that vanish."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from select import EPOLLERR

from twisted.internet import reactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    ILoggingContext,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from a3s_gateway.transport.consumer import HIGH_WATER
from a3s_gateway.transport.poller import EPOLLIN, poller_for
from a3s_gateway.transport.tcp import BULK_READ_SIZE, READ_SIZE
from tests.unit.transport.peers import (
    ConnectionCase,
    HalfCloser,
    Recorder,
    Wiring,
    count_events,
    reset,
    turns,
)

MEGABYTE = 1024 * 1024


class Chunk:
    """A push producer that writes when the test says so."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def resumeProducing(self) -> None:
        self.events.append("resume")

    def stopProducing(self) -> None:
        self.events.append("stop")


class SendingTests(ConnectionCase):
    async def test_a_write_is_sent_before_it_returns(self) -> None:
        """No turn of the reactor lies between a write and its bytes on the wire."""
        far, near = await self.raw_pair()
        far.transport.write(b"now")
        self.assertEqual(near.recv(100, socket.MSG_DONTWAIT), b"now")
        self.assertEqual(far.transport.bufferedBytes, 0)

    async def test_the_unsent_is_counted_and_paces_the_producer(self) -> None:
        """A producer is paused above 64 KiB unsent, once, and resumed when all is sent."""
        far, near = await self.raw_pair()
        producer = Chunk()
        far.transport.registerProducer(producer, streaming=True)
        written = 0
        while not producer.events:
            far.transport.write(b"x" * 16384)
            written += 16384
        self.assertGreater(far.transport.bufferedBytes, HIGH_WATER)
        self.assertLessEqual(far.transport.bufferedBytes, HIGH_WATER + 16384)
        far.transport.write(b"more")
        self.assertEqual(producer.events, ["pause"])
        left = written + 4
        while left:
            left -= len(near.recv(MEGABYTE))
            await turns(1)
        self.assertEqual(producer.events, ["pause", "resume"])
        self.assertEqual(far.transport.bufferedBytes, 0)

    async def test_writes_after_close_but_before_the_end(self) -> None:
        """After `loseConnection` only a producer still registered may write."""
        far, near = await self.raw_pair()
        producer = Chunk()
        far.transport.registerProducer(producer, streaming=True)
        far.transport.loseConnection()
        far.transport.write(b"its last piece")
        far.transport.unregisterProducer()
        far.transport.write(b"too late")
        self.assertIs(await far.lost(), ConnectionDone)
        self.assertEqual(near.recv(100), b"its last piece")
        self.assertEqual(near.recv(100), b"")

    async def test_half_close_waits_for_the_producer(self) -> None:
        """`loseWriteConnection` lets a registered producer finish; what comes later is dropped."""
        far, near = await self.raw_pair(HalfCloser)
        producer = Chunk()
        far.transport.registerProducer(producer, streaming=True)
        far.transport.loseWriteConnection()
        far.transport.write(b"its last piece")
        await turns()
        self.assertEqual(far.events, [])
        far.transport.unregisterProducer()
        far.transport.write(b"too late")
        await far.until(lambda: far.events == ["write"])
        self.assertEqual(near.recv(100), b"its last piece")
        self.assertEqual(near.recv(100), b"")

    async def test_only_bytes_can_wait(self) -> None:
        """Text is refused; a buffer that its owner may change is copied when it has to wait."""
        far, near = await self.raw_pair()
        with self.assertRaises(TypeError):
            far.transport.write("text")
        far.transport.write(b"x" * (8 * MEGABYTE))
        with self.assertRaises(TypeError):
            far.transport.write("text")
        buffer = bytearray(b"before")
        far.transport.write(buffer)
        buffer[:] = b"after."
        received = bytearray()
        while len(received) < 8 * MEGABYTE + 6:
            received += near.recv(MEGABYTE)
            await turns(1)
        self.assertEqual(received[-6:], b"before")

    async def test_options(self) -> None:
        """Small pieces are not held back by default, and both options can be set."""
        far, near = await self.pair()
        for one in (far, near):
            self.assertTrue(one.transport.getTcpNoDelay())
            one.transport.setTcpNoDelay(False)
            self.assertFalse(one.transport.getTcpNoDelay())
            self.assertFalse(one.transport.getTcpKeepAlive())
            one.transport.setTcpKeepAlive(True)
            self.assertTrue(one.transport.getTcpKeepAlive())

    async def test_interfaces(self) -> None:
        """The transport is what it says it is."""
        far, near = await self.raw_pair()
        for interface in (ITCPTransport, IConsumer, IPushProducer, ISystemHandle, ILoggingContext):
            self.assertTrue(verifyObject(interface, far.transport))
        self.assertEqual(far.transport.getHandle().getpeername(), near.getsockname())
        self.assertEqual(far.transport.logPrefix(), "Recorder")


class UnixTests(ConnectionCase):
    wiring = Wiring("unix")

    async def test_options_of_tcp_do_no_harm(self) -> None:
        """A protocol need not know that its transport is not TCP."""
        far, _ = await self.pair()
        far.transport.setTcpNoDelay(True)
        far.transport.setTcpKeepAlive(False)
        self.assertFalse(far.transport.getTcpNoDelay())

    async def test_a_peer_that_goes_while_nobody_reads(self) -> None:
        """A paused reader gets what was sent before the end, then the end."""
        far, near = await self.raw_pair()
        far.transport.pauseProducing()
        near.sendall(b"last")
        near.close()
        await turns(10)
        self.assertEqual((far.data, far.losses), (b"", []))
        far.transport.resumeProducing()
        self.assertIs(await far.lost(), ConnectionDone)
        self.assertEqual(far.data, b"last")


class ReadingTests(ConnectionCase):
    async def test_reads_grow_with_a_body_and_shrink_after_it(self) -> None:
        """A large body comes in large pieces; a small request after it does not cost more."""

        class Sizes(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.events.append(len(data))
                super().dataReceived(data)

        far, near = await self.pair(Sizes)
        near.transport.write(b"x" * (16 * MEGABYTE))
        await far.received(16 * MEGABYTE)
        self.assertEqual(far.events[0], READ_SIZE)
        self.assertGreater(max(far.events), READ_SIZE)
        self.assertLessEqual(max(far.events), BULK_READ_SIZE)
        for _ in range(2):
            before = len(far.data)
            near.transport.write(b"small")
            await far.received(before + 5)
        far.transport.pauseProducing()
        near.transport.write(b"x" * BULK_READ_SIZE)
        await turns()
        far.events.clear()
        far.transport.resumeProducing()
        await far.until(lambda: far.events)
        self.assertEqual(far.events[0], READ_SIZE)

    async def test_an_event_without_input(self) -> None:
        """An event for bytes that are not there after all does no harm."""
        far, near = await self.raw_pair()
        far.transport.on_events(EPOLLIN)
        far.transport.pauseProducing()
        far.transport.on_events(EPOLLIN | EPOLLERR)
        far.transport.resumeProducing()
        near.sendall(b"here")
        self.assertEqual(await far.received(4), b"here")

    async def test_a_pause_without_input_touches_nothing(self) -> None:
        """Pausing and resuming between requests makes no system call."""
        far, _ = await self.raw_pair()
        calls = []
        poller = poller_for(reactor)
        self.patch(type(poller), "modify", lambda *_: calls.append(1))
        for _ in range(100):
            far.transport.pauseProducing()
            far.transport.resumeProducing()
        await turns()
        self.assertEqual(calls, [])

    async def test_a_closing_connection_reads_no_more(self) -> None:
        """After `loseConnection` nothing is received, though the rest is still being sent."""
        far, near = await self.raw_pair()
        far.transport.write(b"x" * (8 * MEGABYTE))
        far.transport.loseConnection()
        far.transport.resumeProducing()
        near.sendall(b"anybody there?")
        await turns()
        left = 8 * MEGABYTE
        while left:
            left -= len(near.recv(MEGABYTE))
            await turns(1)
        await far.lost()
        self.assertEqual(far.data, b"")

    async def test_stop_producing_closes(self) -> None:
        """A consumer that is gone stops its producer, and so this connection."""
        far, near = await self.raw_pair()
        far.transport.stopProducing()
        self.assertIs(await far.lost(), ConnectionDone)
        self.assertEqual(near.recv(1), b"")


class VanishingTests(ConnectionCase):
    async def test_a_reset(self) -> None:
        """A peer that resets is lost, not done."""
        far, near = await self.raw_pair()
        reset(near)
        self.assertIs(await far.lost(), ConnectionLost)

    async def test_a_reset_while_paused(self) -> None:
        """A paused connection learns that its peer is gone when nothing is left to be read."""
        far, near = await self.raw_pair()
        far.transport.pauseProducing()
        near.sendall(b"x")
        await turns()
        self.assertEqual(far.transport.getHandle().recv(10), b"x")
        reset(near)
        self.assertIs(await far.lost(), ConnectionLost)

    async def test_input_before_a_reset_is_kept_for_a_paused_reader(self) -> None:
        """An answer that came before the reset is read when the reader resumes."""
        far, near = await self.raw_pair()
        far.transport.pauseProducing()
        near.sendall(b"the answer")
        await turns()
        reset(near)
        await turns(10)
        self.assertEqual(far.losses, [])
        far.transport.resumeProducing()
        self.assertIs(await far.lost(), ConnectionLost)
        self.assertEqual(far.data, b"the answer")

    async def test_a_paused_connection_does_not_spin(self) -> None:
        """While a reader pauses, neither input nor a reset wakes it again and again."""
        far, near = await self.raw_pair()
        far.transport.pauseProducing()
        near.sendall(b"x")
        await turns()
        calls = count_events(self, far.transport)
        await turns(10)
        self.assertEqual(calls, [])
        reset(near)
        await turns(10)
        self.assertLessEqual(len(calls), 1)

    async def test_a_half_closed_connection_does_not_spin(self) -> None:
        """A peer that has sent its last byte is not asked for more again and again."""
        far, near = await self.raw_pair(HalfCloser)
        near.shutdown(socket.SHUT_WR)
        await far.until(lambda: far.events == ["read"])
        calls = count_events(self, far.transport)
        await turns(10)
        self.assertEqual(calls, [])
        far.transport.resumeProducing()
        await turns(10)
        self.assertEqual(calls, [])
        reset(near)
        self.assertIs(await far.lost(), ConnectionLost)

    async def test_a_peer_that_vanishes_while_we_send(self) -> None:
        """Output that waits is dropped, and the protocol is told once."""
        far, near = await self.raw_pair()
        far.transport.write(b"x" * (8 * MEGABYTE))
        reset(near)
        self.assertIs(await far.lost(), ConnectionLost)
        self.assertEqual(far.transport.bufferedBytes, 0)
        await turns()
        self.assertEqual(len(far.losses), 1)

    async def test_what_the_peer_said_before_a_write_failed(self) -> None:
        """A failed write does not hide the answer that explains it, such as a 413."""
        far, near = await self.raw_pair()
        far.transport.pauseProducing()
        near.sendall(b"too large")
        await turns()
        reset(near)
        far.transport.resumeProducing()
        far.transport.write(b"body")
        far.transport.write(b"body")
        self.assertEqual(far.losses, [])
        self.assertIs(await far.lost(), ConnectionLost)
        self.assertEqual(far.data, b"too large")

    async def test_a_peer_that_vanishes_after_we_ended_our_half(self) -> None:
        """A connection that only waits for the peer's end learns of its reset."""
        far, near = await self.raw_pair(HalfCloser)
        far.transport.loseWriteConnection()
        await far.until(lambda: far.events == ["write"])
        reset(near)
        self.assertIs(await far.lost(), ConnectionLost)

    async def test_ending_a_half_of_what_is_gone(self) -> None:
        """Ending the sending half of a connection that was reset ends all of it."""
        far, near = await self.raw_pair(HalfCloser)
        reset(near)
        far.transport.loseWriteConnection()
        self.assertIs(await far.lost(), ConnectionLost)
        self.assertEqual(far.events, [])

    async def test_abort_resets(self) -> None:
        """The peer of an abort sees a reset, not an end that looks complete."""
        far, near = await self.raw_pair()
        far.transport.write(b"half an answ")
        far.transport.abortConnection()
        await far.lost()
        with self.assertRaises(ConnectionResetError):
            while near.recv(100):
                pass

    async def test_an_exception_resets(self) -> None:
        """A fault in the protocol does not look like a complete answer to the peer."""

        class Fails(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"half an answ")
                raise ZeroDivisionError

        far, near = await self.raw_pair(Fails)
        near.sendall(b"x")
        await far.lost()
        with self.assertRaises(ConnectionResetError):
            while near.recv(100):
                pass
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_an_exception_at_the_end_is_logged(self) -> None:
        """A fault in `connectionLost` or in a producer stops nothing else."""

        class FailsAtTheEnd(Recorder):
            def connectionLost(self, reason: object) -> None:
                super().connectionLost(reason)
                raise ZeroDivisionError

        class FailsToStop(Chunk):
            def stopProducing(self) -> None:
                raise KeyError

        far, near = await self.raw_pair(FailsAtTheEnd)
        far.transport.registerProducer(FailsToStop(), streaming=True)
        near.close()
        await far.lost()
        await turns()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(near.fileno(), -1)
        self.assertEqual(far.transport.getHandle().fileno(), -1)

    async def test_no_file_descriptor_is_left(self) -> None:
        """Each way to end closes the socket."""
        await self.die_in_every_way()
        before = open_files()
        await self.die_in_every_way()
        self.assertEqual(open_files(), before)

    async def die_in_every_way(self) -> None:
        port, factory = await self.listen()
        for way in range(5):
            near = socket.create_connection(("127.0.0.1", port.getHost().port))
            far = await factory.accepted()
            match way:
                case 0:
                    near.close()
                case 1:
                    reset(near)
                case 2:
                    far.transport.loseConnection()
                case 3:
                    far.transport.abortConnection()
                case 4:
                    far.transport.on_failure(Failure(ZeroDivisionError()))
            with contextlib.suppress(OSError):
                near.close()
            await far.lost()
        factory.built.clear()
        await port.stopListening()


def open_files() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}

"""What a protocol may expect of its transport, on ours and on Twisted's: TCP, Unix and TLS."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPullProducer, IPushProducer, ITransport
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.unit.transport.peers import (
    ConnectionCase,
    HalfCloser,
    Recorder,
    Wiring,
    count_events,
    turns,
)

MEGABYTE = 1024 * 1024


class Echo(Recorder):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class SaysBye(Recorder):
    """Answers the first bytes, and closes in the same call."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.write(b"bye")
        self.transport.loseConnection()
        self.events.append("returned")

    def connectionLost(self, reason: object) -> None:
        self.events.append("lost")
        super().connectionLost(reason)


class Aborts(Recorder):
    """Aborts on the first bytes."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.abortConnection()
        self.transport.write(b"never")
        self.events.append("returned")

    def connectionLost(self, reason: object) -> None:
        self.events.append("lost")
        super().connectionLost(reason)


class Fails(Recorder):
    def dataReceived(self, data: bytes) -> None:
        raise ZeroDivisionError


@implementer(IPushProducer)
class Pusher:
    """Writes as long as it is let."""

    def __init__(self, transport: ITransport, total: int) -> None:
        self.transport = transport
        self.left = total
        self.paused = False
        self.pauses = 0
        self.stopped = False
        self.chunk = b"p" * 16384

    def resumeProducing(self) -> None:
        self.paused = False
        while self.left and not self.paused and not self.stopped:
            self.left -= len(self.chunk)
            self.transport.write(self.chunk)
        if not self.left:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.paused = True
        self.pauses += 1

    def stopProducing(self) -> None:
        self.stopped = True


@implementer(IPullProducer)
class Pulled:
    """Writes one piece each time it is asked."""

    def __init__(self, transport: ITransport, pieces: int) -> None:
        self.transport = transport
        self.pieces = pieces
        self.asked = 0
        self.stopped = False

    def resumeProducing(self) -> None:
        self.asked += 1
        self.transport.write(b"%7d\n" % self.asked)
        if self.asked == self.pieces:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.stopped = True


class Contract:
    """The tests; the classes below run them on each wiring."""

    aborted: type[Exception] = ConnectionAborted  # what who aborts is told
    cut_off: type[Exception] = ConnectionLost  # what the other side is told
    failed: type[Exception] = ConnectionLost  # what a client is told when the server's code fails
    told_of_own_fault: type[Exception] = ZeroDivisionError

    async def test_echo(self) -> None:
        """What is sent comes back."""
        _, near = await self.pair(Echo)
        near.transport.write(b"hello")
        self.assertEqual(await near.received(5), b"hello")

    async def test_a_megabyte_both_ways(self) -> None:
        """More than the kernel takes at once arrives whole, in order, in both directions."""
        text = bytes(range(256)) * (4 * MEGABYTE // 256)
        far, near = await self.pair()
        far.transport.write(text)
        near.transport.write(text)
        self.assertEqual(await near.received(len(text)), text)
        self.assertEqual(await far.received(len(text)), text)

    async def test_pieces_arrive_in_order(self) -> None:
        """Small writes behind a large one, and a sequence, keep their order."""
        far, near = await self.pair()
        far.transport.write(b"L" * (4 * MEGABYTE))
        for number in range(100):
            far.transport.write(b"%d," % number)
        far.transport.writeSequence([b"a", b"", b"b"])
        far.transport.write(b"")
        tail = b"".join(b"%d," % number for number in range(100)) + b"ab"
        received = await near.received(4 * MEGABYTE + len(tail))
        self.assertEqual(received[4 * MEGABYTE :], tail)

    async def test_a_pause_holds_bytes_back(self) -> None:
        """Nothing arrives at a paused reader; all of it does when it resumes."""
        far, near = await self.pair()
        far.transport.pauseProducing()
        near.transport.write(b"held")
        await turns(10)
        self.assertEqual(far.data, b"")
        far.transport.resumeProducing()
        self.assertEqual(await far.received(4), b"held")

    async def test_a_push_producer_is_paced_by_the_reader(self) -> None:
        """A reader that does not read stops the producer; all arrives when it reads again."""
        far, near = await self.pair()
        near.transport.pauseProducing()
        pusher = Pusher(far.transport, 16 * MEGABYTE)
        far.transport.registerProducer(pusher, streaming=True)
        pusher.resumeProducing()
        await turns()
        self.assertTrue(pusher.paused)
        self.assertGreater(pusher.left, 0)
        near.transport.resumeProducing()
        self.assertEqual(len(await near.received(16 * MEGABYTE)), 16 * MEGABYTE)
        self.assertEqual(pusher.left, 0)

    async def test_a_pull_producer_is_asked_again_and_again(self) -> None:
        """Each piece that is sent asks for the next; after the last one the rest goes on."""
        far, near = await self.pair()
        producer = Pulled(far.transport, 50)
        far.transport.registerProducer(producer, streaming=False)
        text = await near.received(8 * 50)
        self.assertEqual(text, b"".join(b"%7d\n" % n for n in range(1, 51)))
        far.transport.write(b"after")
        self.assertEqual((await near.received(8 * 50 + 5))[-5:], b"after")

    async def test_only_one_producer(self) -> None:
        """A second producer is refused while the first is registered."""
        far, _ = await self.pair()
        far.transport.registerProducer(Pusher(far.transport, 0), streaming=True)
        with self.assertRaises(RuntimeError):
            far.transport.registerProducer(Pusher(far.transport, 0), streaming=True)

    async def test_a_producer_is_stopped_when_its_consumer_is_lost(self) -> None:
        """Whoever produces for a connection hears that it is gone."""
        far, near = await self.pair()
        pusher = Pusher(far.transport, MEGABYTE)
        far.transport.registerProducer(pusher, streaming=True)
        near.transport.abortConnection()
        await far.lost()
        self.assertTrue(pusher.stopped)
        late = Pusher(far.transport, MEGABYTE)
        far.transport.registerProducer(late, streaming=True)
        self.assertTrue(late.stopped)

    async def test_closing_waits_for_the_producer(self) -> None:
        """`loseConnection` lets a producer that is held up finish first."""
        far, near = await self.pair()
        near.transport.pauseProducing()
        pusher = Pusher(far.transport, 16 * MEGABYTE)
        far.transport.registerProducer(pusher, streaming=True)
        pusher.resumeProducing()
        await turns()
        far.transport.loseConnection()
        near.transport.resumeProducing()
        await near.lost()
        self.assertEqual(len(near.data), 16 * MEGABYTE)

    async def test_closing_sends_what_was_written(self) -> None:
        """All 10 MB written before `loseConnection` arrive, then the end."""
        far, near = await self.pair()
        far.transport.write(b"x" * (10 * MEGABYTE))
        far.transport.loseConnection()
        self.assertIs(await near.lost(), ConnectionDone)
        self.assertIs(await far.lost(), ConnectionDone)
        self.assertEqual(len(near.data), 10 * MEGABYTE)

    async def test_closing_with_unread_input_keeps_the_last_words(self) -> None:
        """An answer given before all of the request was read arrives whole."""

        class Refuses(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.pauseProducing()
                self.transport.write(b"too large")
                self.transport.loseConnection()

        _, near = await self.pair(Refuses)
        near.transport.write(b"x" * 200_000)
        await near.lost()
        self.assertEqual(near.data, b"too large")

    async def test_the_end_is_told_once_and_later(self) -> None:
        """`connectionLost` comes after the call that closed has returned, and only once."""
        far, near = await self.pair(SaysBye)
        near.transport.write(b"hello")
        self.assertIs(await near.lost(), ConnectionDone)
        self.assertIs(await far.lost(), ConnectionDone)
        self.assertEqual(near.data, b"bye")
        far.transport.loseConnection()
        await turns()
        self.assertEqual(far.events, ["returned", "lost"])
        self.assertEqual(len(near.losses), 1)

    async def test_abort_is_told_once_and_later(self) -> None:
        """An abort cuts both off: the one that aborts is told so, the other that it lost."""
        far, near = await self.pair(Aborts)
        near.transport.write(b"hello")
        self.assertIs(await far.lost(), self.aborted)
        self.assertIs(await near.lost(), self.cut_off)
        await turns()
        self.assertEqual(far.events, ["returned", "lost"])
        self.assertEqual(near.data, b"")

    async def test_abort_throws_away_what_is_unsent(self) -> None:
        """An abort does not wait for a peer that does not read."""
        far, near = await self.pair()
        near.transport.pauseProducing()
        far.transport.write(b"x" * (10 * MEGABYTE))
        far.transport.loseConnection()
        await turns()
        self.assertEqual(far.losses, [])
        far.transport.abortConnection()
        self.assertIs(await far.lost(), self.aborted)
        near.transport.resumeProducing()
        await near.lost()
        self.assertLess(len(near.data), 10 * MEGABYTE)

    async def test_a_write_after_the_end_is_ignored(self) -> None:
        """Late writes do no harm."""
        far, near = await self.pair()
        near.transport.loseConnection()
        await near.lost()
        await far.lost()
        for one in (near, far):
            one.transport.write(b"late")
            one.transport.writeSequence([b"la", b"te"])
            one.transport.loseConnection()
        await turns()
        self.assertEqual((len(near.losses), len(far.losses)), (1, 1))

    async def test_an_exception_ends_one_connection(self) -> None:
        """A fault in one protocol is logged and ends its connection; another one goes on."""
        failing, first = await self.pair(Fails)
        _, second = await self.pair(Echo)
        first.transport.write(b"x")
        self.assertIs(await first.lost(), self.failed)
        self.assertIs(await failing.lost(), self.told_of_own_fault)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        second.transport.write(b"still here")
        self.assertEqual(await second.received(10), b"still here")

    async def test_the_peer_closes(self) -> None:
        """What was sent before the end arrives before it."""
        far, near = await self.pair()
        near.transport.write(b"last words")
        near.transport.loseConnection()
        self.assertIs(await far.lost(), ConnectionDone)
        self.assertEqual(far.data, b"last words")

    async def test_addresses(self) -> None:
        """Each side knows both ends, and what one calls its host the other calls its peer."""
        far, near = await self.pair()
        self.assertTrue(verifyObject(ITransport, far.transport))
        if self.wiring.kind == "unix":
            self.assertEqual(far.transport.getHost().name, near.transport.getPeer().name)
        else:
            self.assertEqual(far.transport.getHost(), near.transport.getPeer())
            self.assertEqual(near.transport.getHost(), far.transport.getPeer())


class PauseContract:
    """Pauses that take effect at once; those of Twisted's TLS do after the next records."""

    async def test_a_reader_pauses_itself_in_the_middle(self) -> None:
        """A pause inside `dataReceived` takes effect at once."""

        class OneAtATime(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.pauseProducing()
                super().dataReceived(data)

        far, near = await self.pair(OneAtATime)
        near.transport.write(b"x" * (2 * MEGABYTE))
        await far.received(1)
        while len(far.data) < 2 * MEGABYTE:
            before = len(far.data)
            await turns(3)
            self.assertEqual(len(far.data), before)
            far.transport.resumeProducing()
            await far.received(before + 1)


class MutualCloseContract:
    """Twisted's transports read no more once they close, and then may wait for each other."""

    async def test_two_that_close_at_once(self) -> None:
        """Two sides that close with much unsent both come to their end."""
        far, near = await self.pair()
        for one in (far, near):
            one.transport.pauseProducing()
            one.transport.write(b"x" * (10 * MEGABYTE))
        await turns()
        for one in (far, near):
            one.transport.loseConnection()
        self.assertIn(await far.lost(), (ConnectionDone, ConnectionLost))
        self.assertIn(await near.lost(), (ConnectionDone, ConnectionLost))
        self.assertEqual((far.data, near.data), (b"", b""))

    async def test_input_while_closing_does_not_spin(self) -> None:
        """A peer that ends its sending while the last output waits is not asked again and again."""
        far, near = await self.pair(Recorder, HalfCloser)
        near.transport.pauseProducing()
        far.transport.write(b"x" * (10 * MEGABYTE))
        far.transport.loseConnection()
        near.transport.write(b"more")
        near.transport.loseWriteConnection()
        await turns(10)
        calls = count_events(self, far.transport)
        await turns(10)
        self.assertEqual(calls, [])
        near.transport.resumeProducing()
        await near.until(lambda: "read" in near.events or near.losses)
        self.assertEqual(len(near.data), 10 * MEGABYTE)


class HalfCloseContract:
    """Half-close; Twisted's TLS has none."""

    async def test_each_half_closes_by_itself(self) -> None:
        """One side ends what it sends, still receives, and is told of both ends."""
        far, near = await self.pair(HalfCloser, HalfCloser)
        near.transport.write(b"question")
        near.transport.loseWriteConnection()
        await far.until(lambda: far.events == ["read"])
        self.assertEqual(far.data, b"question")
        await near.until(lambda: near.events == ["write"])
        near.transport.write(b"too late")
        far.transport.write(b"answer")
        self.assertEqual(await near.received(6), b"answer")
        far.transport.loseWriteConnection()
        await near.until(lambda: "read" in near.events)
        await far.until(lambda: "write" in far.events)
        for one in (near, far):
            one.transport.loseConnection()
            self.assertIs(await one.lost(), ConnectionDone)
        self.assertEqual(far.data, b"question")

    async def test_a_half_is_closed_after_what_was_written(self) -> None:
        """Ending the sending half does not cut off what waits to be sent."""
        far, near = await self.pair(HalfCloser, HalfCloser)
        near.transport.write(b"x" * (10 * MEGABYTE))
        near.transport.loseWriteConnection()
        near.transport.loseWriteConnection()
        await far.until(lambda: far.events == ["read"])
        self.assertEqual(len(far.data), 10 * MEGABYTE)

    async def test_a_protocol_without_halves_ends_with_the_first(self) -> None:
        """Who cannot be told of half an end is told of the whole."""
        far, near = await self.pair(Recorder, HalfCloser)
        near.transport.write(b"all")
        near.transport.loseWriteConnection()
        self.assertIs(await far.lost(), ConnectionDone)
        self.assertEqual(far.data, b"all")

    async def test_an_exception_when_told_of_a_half(self) -> None:
        """A fault in a notification is logged, and ends the connection once."""

        class FailsOnHalf(HalfCloser):
            def readConnectionLost(self) -> None:
                raise ZeroDivisionError

        far, near = await self.pair(FailsOnHalf, HalfCloser)
        near.transport.loseWriteConnection()
        self.assertIs(await far.lost(), ZeroDivisionError)
        await turns()
        self.assertEqual(len(far.losses), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OursContract(Contract, PauseContract, MutualCloseContract):
    """Where both sides are ours."""


class OursTcpTests(OursContract, HalfCloseContract, ConnectionCase):
    wiring = Wiring("tcp")


class StockTcpTests(Contract, PauseContract, HalfCloseContract, ConnectionCase):
    wiring = Wiring("tcp", stock_server=True, stock_client=True)
    failed = ConnectionDone


class OursUnixTests(
    Contract, PauseContract, MutualCloseContract, HalfCloseContract, ConnectionCase
):
    wiring = Wiring("unix")
    cut_off = failed = ConnectionDone


class StockUnixTests(Contract, PauseContract, HalfCloseContract, ConnectionCase):
    wiring = Wiring("unix", stock_server=True, stock_client=True)
    cut_off = failed = ConnectionDone


class OursTlsTests(OursContract, HalfCloseContract, ConnectionCase):
    wiring = Wiring("tls")


class StockTlsTests(Contract, ConnectionCase):
    wiring = Wiring("tls", stock_server=True, stock_client=True)
    aborted = told_of_own_fault = ConnectionLost


class OursTlsToStockTests(Contract, ConnectionCase):
    wiring = Wiring("tls", stock_server=True)
    aborted = told_of_own_fault = ConnectionLost


class StockTlsToOursTests(Contract, PauseContract, ConnectionCase):
    wiring = Wiring("tls", stock_client=True)

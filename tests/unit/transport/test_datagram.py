"""Datagrams between real sockets, over our poller and over the reactor itself."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import pytest
from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import TestCase

from a3s_gateway.transport.datagram import (
    DatagramLink,
    DatagramPort,
    Raw,
    WildcardPort,
    open_datagram,
    port_for,
)
from a3s_gateway.transport.watch import Watch, watch_for
from tests.support import eventually

LARGEST = 65_507  # bytes; what UDP can carry over IPv4


class Client:
    """A socket of the operating system's, and nothing else."""

    def __init__(self, family: socket.AddressFamily, host: str, port: int) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)  # noqa: FBT003
        self.socket.connect((host, port))  # so that it takes answers from there alone
        self.send = self.socket.send

    async def receive(self) -> bytes:
        found: list[bytes] = []

        def look() -> bool:
            try:
                found.append(self.socket.recv(65_535))
            except BlockingIOError:
                return False
            return True

        await eventually(look, "a datagram")
        return found[0]


class Notes:
    """A talker that notes."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.errors: list[int | None] = []
        self.on_answer: Callable[[], object] = lambda: None

    def answered(self, data: bytes) -> None:
        self.answers.append(data)
        self.on_answer()

    def broke(self, error: OSError) -> None:
        self.errors.append(error.errno)


class DatagramTests(TestCase):
    """Over our poller."""

    stock = False

    def setUp(self) -> None:
        self.watch: Watch = watch_for(reactor, stock=self.stock)
        self.received: list[tuple[bytes, Raw]] = []

    def port(self, host: str, received: Callable[[bytes, Raw], None] | None = None) -> DatagramPort:
        port = port_for(self.watch, open_datagram(host, 0), received or self.note)
        self.addCleanup(port.close)
        port.start()
        return port

    def note(self, data: bytes, peer: Raw) -> None:
        self.received.append((data, peer))

    def echoing(self, host: str) -> DatagramPort:
        def answer(data: bytes, peer: Raw) -> None:
            port.send(data, peer)

        port = self.port(host, answer)
        return port

    def client(self, port: DatagramPort, host: str) -> Client:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        client = Client(family, host, port.getHost().port)
        self.addCleanup(client.socket.close)
        return client

    def link(self, port: int, talker: Notes) -> DatagramLink:
        link = DatagramLink.open(self.watch, socket.AF_INET, ("127.0.0.1", port), talker)
        self.addCleanup(link.close)
        return link

    async def test_an_answer_comes_from_the_address_that_was_asked(self) -> None:
        """The client takes it from there alone; 127.0.0.1 would be nearest to it."""
        for listening, asked in (
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("0.0.0.0", "127.0.0.5"),
            ("", "127.0.0.6"),
            ("", "::1"),
        ):
            client = self.client(self.echoing(listening), asked)
            client.send(b"hello")
            assert await client.receive() == b"hello"

    async def test_what_a_peer_is(self) -> None:
        """One address and port that asks two of ours is two peers, of one source."""
        port = self.port("0.0.0.0")
        assert isinstance(port, WildcardPort)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.bind(("127.0.0.1", 0))
        for host in ("127.0.0.5", "127.0.0.6", "127.0.0.5"):
            client.sendto(b"x", (host, port.getHost().port))
        await eventually(lambda: len(self.received) == 3, "three datagrams")
        first, second, third = (peer for _, peer in self.received)
        assert first == third != second
        assert {port.source_of(peer) for peer in (first, second)} == {client.getsockname()}

    async def test_datagrams_of_every_size(self) -> None:
        """Nothing is cut, or joined; an empty one is one, too."""
        client = self.client(self.echoing("127.0.0.1"), "127.0.0.1")
        for size in (0, 1, 1472, 9000, LARGEST):
            client.send(bytes(size))
            assert len(await client.receive()) == size

    async def test_an_error_of_the_receiver_is_its_own(self) -> None:
        """The port goes on."""

        def fail(data: bytes, peer: Raw) -> None:
            if data == b"bad":
                raise ValueError("bad")
            self.note(data, peer)

        client = self.client(self.port("127.0.0.1", fail), "127.0.0.1")
        client.send(b"bad")
        client.send(b"good")
        await eventually(lambda: self.received, "the second one")
        assert [data for data, _ in self.received] == [b"good"]
        assert len(self.flushLoggedErrors(ValueError)) == 1

    async def test_a_port_that_stops_receiving_can_still_send(self) -> None:
        """For the answers to what it had received."""
        port = self.port("127.0.0.1")
        client = self.client(port, "127.0.0.1")
        client.send(b"question")
        await eventually(lambda: self.received, "the question")
        port.stop()
        port.stop()
        client.send(b"another")
        port.send(b"answer", self.received[0][1])
        assert await client.receive() == b"answer"
        assert len(self.received) == 1

    def test_an_address_that_cannot_be_had(self) -> None:
        """Somebody has it, or it is nobody's here."""
        port = self.port("127.0.0.1").getHost().port
        with self.assertRaises(CannotListenError) as raised:
            open_datagram("127.0.0.1", port)
        assert raised.exception.socketError.errno == errno.EADDRINUSE
        with self.assertRaises(CannotListenError):
            open_datagram("192.0.2.1", 0)

    async def test_a_link_talks_with_one_server(self) -> None:
        """It hears answers, until it is closed."""
        port, notes = self.echoing("127.0.0.1"), Notes()
        link = self.link(port.getHost().port, notes)
        link.send(b"a")
        link.send(b"b")
        await eventually(lambda: len(notes.answers) == 2, "two answers")
        assert notes.answers == [b"a", b"b"]
        link.close()
        link.close()
        assert notes.errors == []

    async def test_a_link_that_is_closed_by_an_answer(self) -> None:
        """Hears no further one."""
        port, notes = self.echoing("127.0.0.1"), Notes()
        link = self.link(port.getHost().port, notes)
        notes.on_answer = link.close
        for _ in range(3):
            link.send(b"x")
        await eventually(lambda: notes.answers, "an answer")
        assert notes.answers == [b"x"]

    async def test_a_link_to_nobody(self) -> None:
        """It hears of that, though it only sent."""
        vacant = self.port("127.0.0.1")
        number = vacant.getHost().port
        vacant.close()
        notes = Notes()
        self.link(number, notes).send(b"x")
        await eventually(lambda: notes.errors, "the refusal")
        assert notes.errors == [errno.ECONNREFUSED]

    async def test_an_error_of_the_talker_ends_the_talk(self) -> None:
        """And no other."""
        port, bad, good = self.echoing("127.0.0.1"), Notes(), Notes()

        def fail() -> None:
            raise ValueError("bad")

        bad.on_answer = fail
        links = [self.link(port.getHost().port, notes) for notes in (bad, good)]
        for link in links:
            link.send(b"x")
        await eventually(lambda: bad.errors and good.answers, "both")
        assert len(self.flushLoggedErrors(ValueError)) == 1
        assert (bad.errors, good.errors) == ([errno.EIO], [])


class StockDatagramTests(DatagramTests):
    """Over the reactor itself, where there is no epoll."""

    stock = True


def test_no_way_there_is_said_when_it_is_opened() -> None:
    """An address family that does not fit, say."""
    nowhere = ("255.255.255.255", 9)
    with pytest.raises(OSError, match=r"Permission denied|unreachable"):
        DatagramLink.open(watch_for(reactor, stock=True), socket.AF_INET, nowhere, Notes())

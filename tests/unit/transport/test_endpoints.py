"""Connecting: look-up, addresses in turn, deadlines, cancelling; and the choice of transports."""

# ruff: noqa: ASYNC240 - looking at a file on a local disk holds nobody up
from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    NoProtocol,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TooLate
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from a3s_gateway.transport.endpoints import (
    client_endpoint,
    server_endpoint,
    unix_client_endpoint,
    unix_server_endpoint,
)
from a3s_gateway.transport.poller import poller_for
from tests.unit.transport.peers import HOST, ConnectionCase, Recorder, turns

NOBODY_LISTENS = "127.1.2.3"
OTHER = "127.0.0.2"


class Counting(Factory):
    """Counts how often it is started and stopped."""

    noisy = False

    def __init__(self, make: Any = Recorder) -> None:
        self.make = make
        self.running = 0
        self.starts = 0

    def doStart(self) -> None:
        self.running += 1
        self.starts += 1

    def doStop(self) -> None:
        self.running -= 1

    def buildProtocol(self, addr: object) -> Any:
        self.addr = addr
        return self.make()


class ClientCase(ConnectionCase):
    def unanswered(self) -> socket.socket:
        """A listener whose queue is full: the kernel drops what else comes."""
        listening = socket.socket()
        listening.bind((HOST, 0))
        listening.listen(0)
        self.addCleanup(listening.close)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)  # noqa: FBT003
            filler.connect_ex(listening.getsockname())
            self.addCleanup(filler.close)
        return listening

    def failing(self, connecting: Deferred[Any]) -> Failure:
        return self.failureResultOf(connecting)


class AddressesTests(ClientCase):
    async def test_a_literal_address_asks_nobody(self) -> None:
        """Literal addresses of IPv4 and of IPv6 are connected to without a look-up."""
        resolver = self.resolve_with()
        for host, kind in ((HOST, IPv4Address), ("::1", IPv6Address)):
            port, _ = await self.listen(Recorder, server_endpoint(reactor, host, 0))
            factory = Counting()
            near = await client_endpoint(reactor, host, port.getHost().port).connect(factory)
            self.addCleanup(self.end, near)
            self.assertEqual(factory.addr, kind("TCP", host, port.getHost().port))
            self.assertEqual(near.transport.getPeer(), factory.addr)
        self.assertEqual(resolver.asked, [])

    async def test_nobody_listens(self) -> None:
        """The error is Twisted's, and the factory is stopped again."""
        port, _ = await self.listen()
        number = port.getHost().port
        await port.stopListening()
        factory = Counting()
        with self.assertRaises(Refused):
            await client_endpoint(reactor, HOST, number).connect(factory)
        self.assertEqual((factory.starts, factory.running), (1, 0))

    async def test_the_addresses_of_a_name_in_turn(self) -> None:
        """Where the first address refuses, the next one is tried; one lookup is enough."""
        port, _ = await self.listen()
        number = port.getHost().port
        resolver = self.resolve_with(
            IPv4Address("TCP", NOBODY_LISTENS, number),
            IPv6Address("TCP", "::1", number),
            IPv4Address("TCP", HOST, number),
        )
        endpoint = client_endpoint(reactor, "backend.example", number)
        for _ in range(2):
            near = await connectProtocol(endpoint, Recorder())
            self.addCleanup(self.end, near)
            self.assertEqual(near.transport.getPeer().host, HOST)
        self.assertEqual(resolver.asked, ["backend.example"])

    async def test_no_address_answers(self) -> None:
        """When all addresses refuse, the last refusal is the error."""
        port, _ = await self.listen()
        number = port.getHost().port
        await port.stopListening()
        self.resolve_with(*(IPv4Address("TCP", host, number) for host in (NOBODY_LISTENS, HOST)))
        with self.assertRaises(Refused):
            await connectProtocol(client_endpoint(reactor, "backend.example", number), Recorder())

    async def test_an_unknown_name(self) -> None:
        """A name without addresses is an error that says the name."""
        self.resolve_with()
        with self.assertRaises(DNSLookupError) as caught:
            await connectProtocol(client_endpoint(reactor, "backend.example", 80), Recorder())
        self.assertIn("backend.example", str(caught.exception))

    async def test_the_systems_resolver(self) -> None:
        """The name of this very machine is found by the reactor's own resolver."""
        port, _ = await self.listen()
        near = await connectProtocol(
            client_endpoint(reactor, "localhost", port.getHost().port), Recorder()
        )
        self.addCleanup(self.end, near)
        self.assertEqual(near.transport.getPeer().host, HOST)


class DeadlineTests(ClientCase):
    async def test_nobody_answers(self) -> None:
        """A server that swallows packets costs the timeout, and leaves no socket behind."""
        before = poller_for(reactor).watched
        number = self.unanswered().getsockname()[1]
        factory = Counting()
        with self.assertRaises(TooLate):
            await client_endpoint(reactor, HOST, number, timeout=0.05).connect(factory)
        self.assertEqual(poller_for(reactor).watched, before)
        self.assertEqual((factory.starts, factory.running), (1, 0))

    async def test_a_silent_address_leaves_time_for_the_next(self) -> None:
        """An address that swallows packets uses up its share of the time, not all of it."""
        number = self.unanswered().getsockname()[1]
        await self.listen(endpoint=server_endpoint(reactor, OTHER, number))
        self.resolve_with(*(IPv4Address("TCP", host, 0) for host in (HOST, OTHER)))
        endpoint = client_endpoint(reactor, "backend.example", number, timeout=0.4)
        near = await connectProtocol(endpoint, Recorder())
        self.addCleanup(self.end, near)
        self.assertTrue(near.made)

    async def test_a_look_up_that_takes_too_long(self) -> None:
        """The time includes the look-up; an answer that comes too late is ignored."""
        port, factory = await self.listen()
        resolver = self.resolve_with(IPv4Address("TCP", HOST, port.getHost().port))
        resolver.hold = True
        endpoint = client_endpoint(reactor, "backend.example", 80, timeout=0.05)
        with self.assertRaises(TooLate):
            await connectProtocol(endpoint, Recorder())
        resolver.answer()
        await turns()
        self.assertEqual(factory.built, [])

    async def test_no_files_left(self) -> None:
        """A system that has no file descriptor left is an error of connecting."""

        def exhausted(*_: object) -> None:
            raise OSError(errno.EMFILE, "of this test")

        endpoint = client_endpoint(reactor, HOST, 1)
        self.patch(socket, "socket", exhausted)
        with self.assertRaises(ConnectError) as caught:
            await endpoint.connect(Counting())
        self.assertEqual(caught.exception.osError, errno.EMFILE)

    async def test_the_end_of_the_reactor(self) -> None:
        """Who waits for a connection when the reactor stops is told."""
        number = self.unanswered().getsockname()[1]
        connecting = client_endpoint(reactor, HOST, number).connect(Counting())
        poller_for(reactor).connectionLost(Failure(ConnectionLost()))
        self.failing(connecting).trap(ConnectError)

    async def test_cancelled_while_connecting(self) -> None:
        """Who stops waiting leaves no socket and no timer behind."""
        before = poller_for(reactor).watched
        number = self.unanswered().getsockname()[1]
        factory = Counting()
        connecting = client_endpoint(reactor, HOST, number).connect(factory)
        self.assertEqual(poller_for(reactor).watched, before + 1)
        connecting.cancel()
        self.failing(connecting).trap(CancelledError)
        self.assertEqual(poller_for(reactor).watched, before)
        self.assertEqual(factory.running, 0)

    async def test_cancelled_while_looking_up(self) -> None:
        """Who stops waiting for a look-up is not connected when it answers."""
        port, accepted = await self.listen()
        resolver = self.resolve_with(IPv4Address("TCP", HOST, port.getHost().port))
        resolver.hold = True
        factory = Counting()
        connecting = client_endpoint(reactor, "backend.example", 80).connect(factory)
        connecting.cancel()
        self.failing(connecting).trap(CancelledError)
        resolver.answer()
        await turns()
        self.assertEqual((accepted.built, factory.running), ([], 0))


class FactoryTests(ClientCase):
    async def test_started_and_stopped(self) -> None:
        """A factory runs as long as its connection."""
        port, _ = await self.listen()
        factory = Counting()
        near = await client_endpoint(reactor, HOST, port.getHost().port).connect(factory)
        self.assertEqual(factory.running, 1)
        near.transport.loseConnection()
        self.assertIs(await near.lost(), ConnectionDone)
        await turns()
        self.assertEqual((factory.starts, factory.running), (1, 0))

    async def test_a_factory_that_declines_or_fails(self) -> None:
        """The caller hears of it, and the connection is closed."""

        def fail() -> None:
            raise ZeroDivisionError

        class FailsAtOnce(Recorder):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        for make, error in (
            (lambda: None, NoProtocol),
            (fail, ZeroDivisionError),
            (FailsAtOnce, ZeroDivisionError),
        ):
            port, accepted = await self.listen()
            factory = Counting(make)
            with self.assertRaises(error):
                await client_endpoint(reactor, HOST, port.getHost().port).connect(factory)
            await turns()
            await accepted.built[0].lost()
            self.assertEqual((factory.starts, factory.running), (1, 0))


class UnixTests(ClientCase):
    async def test_no_such_socket(self) -> None:
        """A path without a socket, or with one nobody listens on, is an error of connecting."""
        path = self.socket_path()
        with self.assertRaises(ConnectError):
            await connectProtocol(unix_client_endpoint(reactor, path), Recorder())
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        with self.assertRaises(Refused):
            await connectProtocol(unix_client_endpoint(reactor, path), Recorder())
        Path(path).unlink()


class ChoiceTests(ClientCase):
    async def test_interfaces(self) -> None:
        """All endpoints, ours and Twisted's, are what they say they are."""
        for stock in (False, True):
            self.assertTrue(
                verifyObject(IStreamServerEndpoint, server_endpoint(reactor, "", 0, stock=stock))
            )
            self.assertTrue(
                verifyObject(IStreamServerEndpoint, unix_server_endpoint(reactor, "x", stock=stock))
            )
            self.assertTrue(
                verifyObject(IStreamClientEndpoint, client_endpoint(reactor, HOST, 1, stock=stock))
            )
            self.assertTrue(
                verifyObject(IStreamClientEndpoint, unix_client_endpoint(reactor, "x", stock=stock))
            )

    def test_without_epoll(self) -> None:
        """Where the system has no epoll, Twisted's own transports are used."""
        script = (
            "import select; del select.epoll\n"
            "from twisted.internet import selectreactor; selectreactor.install()\n"
            "from twisted.internet import reactor\n"
            "from a3s_gateway.transport import endpoints as e\n"
            "for x in (e.server_endpoint(reactor, '', 0), e.server_endpoint(reactor, '::', 0),\n"
            "          e.unix_server_endpoint(reactor, 'x'),\n"
            "          e.client_endpoint(reactor, '127.0.0.1', 1),\n"
            "          e.unix_client_endpoint(reactor, 'x')):\n"
            "    print(type(x).__module__)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
        )
        self.assertEqual(set(done.stdout.split()), {"twisted.internet.endpoints"})

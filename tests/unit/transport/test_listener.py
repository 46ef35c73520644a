"""Listening: who is accepted, when not, and what is left afterwards."""

# ruff: noqa: ASYNC240 - looking at a file on a local disk holds nobody up
from __future__ import annotations

import errno
import socket
import stat
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from a3s_gateway.transport import server
from a3s_gateway.transport.endpoints import (
    client_endpoint,
    server_endpoint,
    unix_client_endpoint,
    unix_server_endpoint,
)
from a3s_gateway.transport.listener import ACCEPTS, BACK_OFF, Listener
from a3s_gateway.transport.listening import open_tcp
from a3s_gateway.transport.poller import Poller
from a3s_gateway.transport.tcp import TcpConnection
from tests.unit.transport.peers import HOST, ConnectionCase, Listening, Recorder, turns
from tests.unit.transport.test_poller import FakeReactor


class Counting(Listening):
    """Counts how often it is started and stopped."""

    def __init__(self) -> None:
        super().__init__(Recorder)
        self.running = 0

    def doStart(self) -> None:
        self.running += 1

    def doStop(self) -> None:
        self.running -= 1


class TcpListenerTests(ConnectionCase):
    async def test_a_port_in_use(self) -> None:
        """The fault names the address; the first listener goes on accepting."""
        port, factory = await self.listen()
        number = port.getHost().port
        with self.assertRaises(CannotListenError) as caught:
            await server_endpoint(reactor, HOST, number).listen(factory)
        self.assertIn(f"{HOST}:{number}", str(caught.exception))
        near = await connectProtocol(client_endpoint(reactor, HOST, number), Recorder())
        self.addCleanup(self.end, near)
        self.assertTrue(near.made)

    async def test_a_port_can_be_had_again_at_once(self) -> None:
        """A restart need not wait for the connections of its predecessor to be forgotten."""
        port, factory = await self.listen()
        number = port.getHost().port
        near = await connectProtocol(client_endpoint(reactor, HOST, number), Recorder())
        await turns()
        factory.built[0].transport.loseConnection()
        await near.lost()
        await port.stopListening()
        again, _ = await self.listen(Recorder, server_endpoint(reactor, HOST, number))
        self.assertEqual(again.getHost().port, number)

    async def test_all_interfaces(self) -> None:
        """Without a host both IPv4 and IPv6 are served, and each client is seen as what it is."""
        port, factory = await self.listen(Recorder, server_endpoint(reactor, "", 0))
        for host, kind in ((HOST, IPv4Address), ("::1", IPv6Address)):
            endpoint = client_endpoint(reactor, host, port.getHost().port)
            near = await connectProtocol(endpoint, Recorder())
            self.addCleanup(self.end, near)
            near.transport.write(b"x")
            await turns()
            far = factory.built[-1]
            await far.received(1)
            self.assertIsInstance(far.transport.getPeer(), kind)
            self.assertEqual(far.transport.getPeer().host, host)

    async def test_ipv6_only(self) -> None:
        """A literal address of IPv6 is listened on."""
        port, _ = await self.listen(Recorder, server_endpoint(reactor, "::1", 0))
        self.assertEqual(port.getHost().host, "::1")
        near = await connectProtocol(
            client_endpoint(reactor, "::1", port.getHost().port), Recorder()
        )
        self.addCleanup(self.end, near)
        self.assertTrue(near.made)

    async def test_a_name(self) -> None:
        """A name is looked up, and IPv4 is preferred; one without addresses is a fault."""
        self.resolve_with(IPv6Address("TCP", "::1", 0), IPv4Address("TCP", HOST, 0))
        port, _ = await self.listen(Recorder, server_endpoint(reactor, "this.example", 0))
        self.assertEqual(port.getHost().host, HOST)
        self.resolve_with()
        with self.assertRaises(CannotListenError) as caught:
            await server_endpoint(reactor, "nowhere.example", 0).listen(Listening(Recorder))
        self.assertIn("no address found for 'nowhere.example'", str(caught.exception))

    async def test_a_look_up_that_takes_too_long(self) -> None:
        """A resolver that does not answer is a fault of listening, not a start that hangs."""
        self.patch(server, "LOOKUP_TIMEOUT", 0.01)
        self.resolve_with().hold = True
        with self.assertRaises(CannotListenError):
            await server_endpoint(reactor, "slow.example", 0).listen(Listening(Recorder))

    async def test_stopping(self) -> None:
        """A stopped listener accepts no more, and its connections live on."""
        factory = Counting()
        port = await server_endpoint(reactor, HOST, 0).listen(factory)
        self.assertTrue(verifyObject(IListeningPort, port))
        self.assertEqual(factory.running, 1)
        address = port.getHost()
        near = await connectProtocol(client_endpoint(reactor, HOST, address.port), Recorder())
        self.addCleanup(self.end, near)
        await turns()
        await port.stopListening()
        await port.stopListening()
        self.assertEqual(factory.running, 0)
        self.assertEqual(port.getHost(), address)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((HOST, address.port))
        near.transport.write(b"still here")
        await factory.built[0].received(10)

    async def test_a_factory_that_declines(self) -> None:
        """A connection for which no protocol is made is closed; the next one is accepted."""
        port, factory = await self.listen(lambda: None)
        address = (HOST, port.getHost().port)
        with socket.create_connection(address, timeout=10) as near:
            await turns()
            self.assertEqual(near.recv(1), b"")
        factory.make = Recorder
        with socket.create_connection(address, timeout=10) as near:
            near.sendall(b"x")
            await turns()
            await factory.built[-1].received(1)
            await self.end(factory.built[-1])

    async def test_a_factory_that_fails(self) -> None:
        """A fault while a protocol is made, or connected, costs that connection only."""

        def fail() -> None:
            raise ZeroDivisionError

        class FailsAtOnce(Recorder):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        port, factory = await self.listen(fail)
        address = (HOST, port.getHost().port)
        for make in (fail, FailsAtOnce):
            factory.make = make
            with socket.create_connection(address, timeout=10) as near:
                await turns()
                with self.assertRaises(ConnectionResetError):
                    assert near.recv(1) == b""
                    raise ConnectionResetError
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        factory.make = Recorder
        with socket.create_connection(address, timeout=10) as near:
            near.sendall(b"x")
            await turns()
            await factory.built[-1].received(1)
            await self.end(factory.built[-1])

    async def test_no_more_connections_than_allowed(self) -> None:
        """Above the limit a client waits, and is served when another one leaves."""
        port, factory = await self.listen(
            Recorder, server_endpoint(reactor, HOST, 0, max_connections=2)
        )
        clients = []
        for _ in range(3):
            near = socket.create_connection((HOST, port.getHost().port))
            self.addCleanup(near.close)
            near.sendall(b"x")
            clients.append(near)
        await turns(10)
        self.assertEqual(len(factory.built), 2)
        self.assertEqual(port.connections, 2)
        clients[0].close()
        await factory.built[0].lost()
        await turns()
        self.assertEqual(len(factory.built), 3)
        for far in factory.built[1:]:
            await self.end(far)
        await turns()
        self.assertEqual(port.connections, 0)


class Scarce(socket.socket):
    """A listening socket on a system that runs out of files when the test says so."""

    failing: int | None = None

    def accept(self) -> Any:
        if self.failing is not None:
            raise OSError(self.failing, "of this test")
        return super().accept()


class ScarcityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.poller = Poller(self.reactor)
        opened = open_tcp(HOST, 0, 1024)
        self.sock = Scarce(fileno=opened.detach())
        self.sock.setblocking(False)  # noqa: FBT003
        self.factory = Counting()
        self.listener = Listener(
            self.poller,
            self.sock,
            self.factory,
            lambda sock, peer, listener: TcpConnection(
                self.poller, sock, peer, listener.connection_ended
            ),
        )
        self.listener.startListening()
        self.addCleanup(self.finish)
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def finish(self) -> None:
        self.listener.stopListening()
        self.poller.connectionLost(Failure(ConnectionLost()))

    def connect(self, count: int = 1) -> None:
        for _ in range(count):
            near = socket.create_connection(self.sock.getsockname())
            self.addCleanup(near.close)

    def warnings(self) -> list[Any]:
        return [event for event in self.events if event["log_level"] is LogLevel.warn]

    def test_out_of_files(self) -> None:
        """Without files the listener rests, says so once, and accepts when there are some."""
        self.connect(3)
        self.sock.failing = errno.EMFILE
        self.poller.doRead()
        self.assertEqual(self.poller.watched, 0)
        for _ in range(3):
            self.reactor.advance(BACK_OFF + 1)
            self.poller.doRead()
        self.assertEqual(len(self.warnings()), 1)
        self.assertEqual(self.factory.built, [])
        self.sock.failing = None
        self.reactor.advance(BACK_OFF + 1)
        self.poller.doRead()
        self.assertEqual(len(self.factory.built), 3)
        self.sock.failing = errno.ENFILE
        self.connect()
        self.poller.doRead()
        self.assertEqual(len(self.warnings()), 2)

    def test_stopped_while_out_of_files(self) -> None:
        """A listener that is stopped while it rests leaves nothing behind."""
        self.connect()
        self.sock.failing = errno.EMFILE
        self.poller.doRead()
        self.listener.stopListening()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.sock.fileno(), -1)

    def test_a_client_that_has_gone(self) -> None:
        """An error of the connection that was to be accepted is none of the listener."""
        self.connect()
        self.sock.failing = errno.ECONNABORTED
        self.poller.doRead()
        self.assertEqual(self.warnings(), [])
        self.sock.failing = None
        self.poller.doRead()
        self.assertEqual(len(self.factory.built), 1)

    def test_a_crowd(self) -> None:
        """However many clients wait, connections already open are served in between."""
        self.connect(ACCEPTS + 10)
        self.listener.on_events(1)
        self.assertEqual(len(self.factory.built), ACCEPTS)

    def test_the_end_of_the_reactor(self) -> None:
        """When the reactor stops, the socket is closed and the factory is told."""
        self.poller.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.sock.fileno(), -1)
        self.assertEqual(self.factory.running, 0)
        self.factory.running = 1


class NoIpv6Tests(SynchronousTestCase):
    def test_all_interfaces_of_a_system_without_ipv6(self) -> None:
        """Where there is no IPv6, no host means all of IPv4."""

        class Ipv4Socket(socket.socket):
            def __init__(self, family: int, *args: Any) -> None:
                if family == socket.AF_INET6:
                    raise OSError(errno.EAFNOSUPPORT, "of this test")
                super().__init__(family, *args)

        self.patch(socket, "socket", Ipv4Socket)
        with open_tcp("", 0, 10) as sock:
            self.assertEqual(sock.getsockname()[0], "0.0.0.0")


class UnixListenerTests(ConnectionCase):
    async def bind(self, path: str, **options: Any) -> Any:
        port = await unix_server_endpoint(reactor, path, **options).listen(
            Factory.forProtocol(Recorder)
        )
        self.addCleanup(port.stopListening)
        return port

    async def test_the_file_comes_and_goes(self) -> None:
        """The socket's file has the mode that was asked for, and is removed at the end."""
        path = self.socket_path()
        port = await self.bind(path, mode=0o600)
        self.assertEqual(stat.S_IMODE(Path(path).stat().st_mode), 0o600)
        await port.stopListening()
        self.assertFalse(Path(path).exists())

    async def test_a_file_left_behind(self) -> None:
        """The file of a process that was killed does not keep the next one from starting."""
        path = self.socket_path()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
            dead.listen()
        await self.bind(path)
        near = await connectProtocol(unix_client_endpoint(reactor, path), Recorder())
        self.addCleanup(self.end, near)
        self.assertTrue(near.made)

    async def test_a_listener_that_lives(self) -> None:
        """A path on which somebody listens cannot be had."""
        path = self.socket_path()
        await self.bind(path)
        with self.assertRaises(CannotListenError) as caught:
            await self.bind(path)
        self.assertIn(path, str(caught.exception))
        self.assertTrue(Path(path).exists())

    async def test_a_file_that_is_no_socket(self) -> None:
        """A file of somebody else is neither used nor removed."""
        path = Path(self.socket_path())
        path.write_text("precious")
        with self.assertRaises(CannotListenError):
            await self.bind(str(path))
        self.assertEqual(path.read_text(), "precious")

    async def test_a_path_that_cannot_be_had(self) -> None:
        """The fault of a missing folder is one of listening."""
        with self.assertRaises(CannotListenError):
            await self.bind("/nonexistent/socket")

    async def test_the_file_of_a_successor(self) -> None:
        """A listener that ends late leaves the file of the one that took its place."""
        path = self.socket_path()
        first = await self.bind(path)
        Path(path).unlink()
        await self.bind(path)
        await first.stopListening()
        self.assertTrue(Path(path).exists())

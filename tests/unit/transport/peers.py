"""What the tests of transports connect: protocols that remember, and the ways to connect them."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHostnameResolver,
    IListeningPort,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from a3s_gateway.transport.endpoints import (
    client_endpoint,
    server_endpoint,
    unix_client_endpoint,
    unix_server_endpoint,
)
from a3s_gateway.transport.tls_client import ClientTls
from a3s_gateway.transport.tls_context import client_context
from a3s_gateway.transport.tls_server import ServerTls, server_tls
from tests.certificates import Authority, issue, make_ca

HOST = "127.0.0.1"


class Recorder(Protocol):
    """Keeps what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.made = False
        self.losses: list[Failure] = []
        self.events: list[str] = []
        self._waiting: list[tuple[Callable[[], object], Deferred[None]]] = []

    def connectionMade(self) -> None:
        self.made = True
        self.changed()

    def dataReceived(self, data: bytes) -> None:
        assert type(data) is bytes
        self.data += data
        self.changed()

    def connectionLost(self, reason: Failure) -> None:
        self.losses.append(reason)
        self.changed()

    def changed(self) -> None:
        ready = [waiter for waiter in self._waiting if waiter[0]()]
        for waiter in ready:
            self._waiting.remove(waiter)
            waiter[1].callback(None)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that this protocol is told makes the condition true."""
        if not condition():
            done: Deferred[None] = Deferred()
            self._waiting.append((condition, done))
            await done

    async def received(self, count: int) -> bytes:
        await self.until(lambda: len(self.data) >= count)
        return bytes(self.data)

    async def lost(self) -> type[Exception]:
        """Wait for the end; gives the type of the reason."""
        await self.until(lambda: self.losses)
        return self.losses[-1].type


@implementer(IHalfCloseableProtocol)
class HalfCloser(Recorder):
    """A recorder that is told of the ends of the halves."""

    def readConnectionLost(self) -> None:
        self.events.append("read")
        self.changed()

    def writeConnectionLost(self) -> None:
        self.events.append("write")
        self.changed()


@implementer(IHostnameResolver)
class Resolver:
    """Answers when the test says so."""

    def __init__(self, *addresses: Any) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.held: list[Any] = []
        self.hold = False

    def resolveHostName(self, receiver: Any, name: str, port: int = 0, *_: Any, **__: Any) -> None:
        self.asked.append(name)
        receiver.resolutionBegan(None)
        self.held.append(receiver)
        if not self.hold:
            self.answer()

    def answer(self) -> None:
        receiver = self.held.pop()
        for address in self.addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()


class Listening(Factory):
    """Builds the protocols of accepted connections, and lets a test wait for one."""

    noisy = False

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.built: list[Any] = []
        self._waiting: list[Deferred[Any]] = []

    def buildProtocol(self, addr: object) -> Any:
        protocol = self.make()
        self.built.append(protocol)
        if self._waiting:
            self._waiting.pop(0).callback(protocol)
        return protocol

    async def accepted(self) -> Any:
        """Wait for the next connection."""
        waiting: Deferred[Any] = Deferred()
        self._waiting.append(waiting)
        protocol = await waiting
        await protocol.until(lambda: protocol.made)
        return protocol


@cache
def authority() -> Authority:
    return make_ca()


@cache
def identity() -> tuple[Path, Path]:
    return issue(authority(), ["localhost", HOST])


@cache
def contexts() -> tuple[ServerTls, SSL.Context]:
    """Contexts of a server and of its clients, with HTTP/1.1 in ALPN."""
    cert, key = identity()
    client = client_context(ca_file=authority().cert_path, alpn=(b"http/1.1",))
    return server_tls([(cert, key)]), client


@frozen
class Wiring:
    """How the two sides of a connection are made."""

    kind: str = "tcp"  # or "tls" or "unix"
    stock_server: bool = False
    stock_client: bool = False

    def server(self, path: str) -> IStreamServerEndpoint:
        if self.kind == "unix":
            return unix_server_endpoint(reactor, path, stock=self.stock_server)
        tls = contexts()[0] if self.kind == "tls" else None
        return server_endpoint(reactor, HOST, 0, tls=tls, stock=self.stock_server)

    def client(self, address: Any) -> IStreamClientEndpoint:
        if self.kind == "unix":
            return unix_client_endpoint(reactor, os.fsdecode(address.name), stock=self.stock_client)
        tls = ClientTls(contexts()[1], "localhost") if self.kind == "tls" else None
        return client_endpoint(reactor, HOST, address.port, tls=tls, stock=self.stock_client)


class ConnectionCase(TestCase):
    """A test case with connected pairs; subclasses choose the wiring."""

    timeout = 30
    wiring = Wiring()

    async def listen(
        self, make: Callable[[], Any] = Recorder, endpoint: IStreamServerEndpoint | None = None
    ) -> tuple[IListeningPort, Listening]:
        """Listen until the test ends."""
        factory = Listening(make)
        port = await (endpoint or self.wiring.server(self.socket_path())).listen(factory)
        self.addCleanup(port.stopListening)
        return port, factory

    async def pair(
        self, server: Callable[[], Any] = Recorder, client: Callable[[], Any] = Recorder
    ) -> tuple[Any, Any]:
        """Connect; both sides are gone when the test ends."""
        port, factory = await self.listen(server)
        accepted = Deferred.fromCoroutine(factory.accepted())
        near = await connectProtocol(self.wiring.client(port.getHost()), client())
        far = await accepted
        self.addCleanup(self.end, far)
        self.addCleanup(self.end, near)
        return far, near

    def socket_path(self) -> str:
        """A path short enough for a Unix socket, in a folder of its own."""
        folder = mkdtemp(prefix="unix-")
        self.addCleanup(shutil.rmtree, folder)
        return f"{folder}/socket"

    def resolve_with(self, *addresses: Any) -> Resolver:
        """Let the reactor find these addresses for any name, until the test ends."""
        resolver = Resolver(*addresses)
        before = reactor.installNameResolver(resolver)
        self.addCleanup(reactor.installNameResolver, before)
        return resolver

    async def end(self, protocol: Any) -> None:
        """Abort, and wait until the protocol has been told."""
        if not protocol.losses:
            protocol.transport.abortConnection()
            await protocol.lost()

    async def raw_pair(self, server: Callable[[], Any] = Recorder) -> tuple[Any, socket.socket]:
        """Connect a blocking socket; what is done with it does not pass the reactor."""
        port, factory = await self.listen(server)
        accepted = Deferred.fromCoroutine(factory.accepted())
        address = port.getHost()
        near = socket.socket(socket.AF_UNIX if self.wiring.kind == "unix" else socket.AF_INET)
        self.addCleanup(near.close)
        near.settimeout(10)
        near.connect(address.name if self.wiring.kind == "unix" else (HOST, address.port))
        far = await accepted
        self.addCleanup(self.end, far)
        return far, near


async def turns(count: int = 5) -> None:
    """Let the reactor go round, so that what must not happen could have happened."""
    for _ in range(count):
        await deferLater(reactor, 0)


def reset(sock: socket.socket) -> None:
    """Close so that the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def count_events(case: ConnectionCase, transport: object) -> list[int]:
    """Count the events that reach a transport from now on."""
    calls: list[int] = []
    real = type(transport).on_events

    def counted(self: object, events: int) -> None:
        calls.append(events)
        real(self, events)

    case.patch(type(transport), "on_events", counted)
    return calls

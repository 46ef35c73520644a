# ruff: noqa: SLF001 - counts what the gateway holds, which is nobody else's business
"""A gateway with a raw client before it and scripted backends behind it, over real sockets."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from a3s_gateway import Gateway, GatewayConfig
from a3s_gateway.protocol.websocket import accept_of
from a3s_gateway.proxy.http import HttpOrigin
from a3s_gateway.proxy.pool import Pool

reactor: Any = global_reactor
T = TypeVar("T")

PATIENCE = 10.0  # seconds; a test that has to wait so long has failed
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# A WebSocket's opening, and the answer to it.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
OPENING = (
    b"GET /chat?room=1 HTTP/1.1\r\nHost: chat.test\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n"
    b"Origin: http://chat.test\r\nCookie: a=1; b=2\r\nAuthorization: Bearer t\r\n"
    b"Sec-WebSocket-Protocol: soap, wamp\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
) % KEY.encode()
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: wamp\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\nSet-Cookie: c=3\r\n\r\n"
) % accept_of(KEY).encode()
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def eventually(holds: Callable[[], object], what: str = "") -> None:
    """Wait for a state that nobody announces; fails when it does not come."""
    deadline = reactor.seconds() + PATIENCE
    while not holds():
        if reactor.seconds() > deadline:
            raise AssertionError(f"it did not happen: {what or holds}")
        await deferLater(reactor, 0.002)


async def passed(seconds: float) -> None:
    """Let a time limit run that the test is about."""
    since = reactor.seconds()
    await eventually(lambda: reactor.seconds() - since > seconds, "time to pass")


async def gather(*steps: Awaitable[T]) -> list[T]:
    """Run steps at the same time."""

    async def run(step: Awaitable[T]) -> T:
        return await step

    return await gatherResults([Deferred.fromCoroutine(run(s)) for s in steps], consumeErrors=True)


class Peer(Protocol):
    """
    One end of a connection as bytes: what came, whether it ended, and a way to wait for both.

    `answer`, where set, is sent each time a head is complete.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.end: str = ""  # "closed" or "reset" once it has ended
        self.total = 0  # bytes received in all
        self._waiting: list[tuple[Callable[[], object], Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.total += len(data)
        self._look()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.end = "closed" if reason.check(ConnectionDone) else "reset"
        self._look()

    def _look(self) -> None:
        for waiting in [each for each in self._waiting if each[0]()]:
            self._waiting.remove(waiting)
            waiting[1].callback(None)

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something of this connection is as it should be."""
        if holds():
            return
        waiting = (holds, Deferred[None]())
        self._waiting.append(waiting)
        try:
            await waiting[1].addTimeout(PATIENCE, reactor)
        except Exception as error:
            some = bytes(self.received[:400])
            raise AssertionError(f"waited for {what}; has {some!r}, end {self.end!r}") from error

    # -- speaking

    def send(self, *pieces: bytes) -> None:
        self.transport.write(b"".join(pieces))

    def reset(self) -> None:
        """Go away without a word (RST)."""
        self.transport.abortConnection()

    def close(self) -> None:
        """Go away in good order (FIN)."""
        self.transport.loseConnection()

    def stop_reading(self) -> None:
        self.transport.pauseProducing()

    def read_on(self) -> None:
        self.transport.resumeProducing()

    # -- listening

    async def bytes(self, count: int) -> bytes:
        """Take exactly so many bytes."""
        await self.until(lambda: len(self.received) >= count or self.end, f"{count} bytes")
        return self._take(count)

    async def line_end(self, end: bytes) -> bytes:
        """Take everything up to `end`, and `end`."""
        await self.until(lambda: end in self.received or self.end, repr(end))
        found = self.received.find(end)
        if found < 0:
            raise AssertionError(f"no {end!r} in {bytes(self.received)!r} before the end")
        return self._take(found + len(end))

    async def head(self) -> Head:
        """Take a head, of a request or of a response."""
        return Head(await self.line_end(b"\r\n\r\n"))

    async def ended(self) -> str:
        """Wait for the end; says how: "closed" or "reset"."""
        await self.until(lambda: self.end, "the end of the connection")
        return self.end

    async def response(self, *, method: str = "GET") -> Answer:
        """Take one response whole, interim ones left out; its body ends by its framing."""
        head = await self.head()
        while 100 <= head.status < 200:
            head = await self.head()
        if method == "HEAD" or head.status in (204, 304):
            return Answer(head, b"")
        if head.find("transfer-encoding") == "chunked":
            return Answer(head, *await self.chunked())
        length = head.find("content-length")
        if length is not None:
            return Answer(head, await self.bytes(int(length)))
        await self.ended()
        return Answer(head, self._take(len(self.received)))

    async def chunk(self) -> bytes:
        """Take one chunk; empty is the last one, whose trailers stay."""
        size = int(await self.line_end(b"\r\n"), 16)
        if not size:
            return b""
        data = await self.bytes(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def chunked(self) -> tuple[bytes, list[tuple[str, str]]]:
        """Take chunks to their end; returns the body and the trailers."""
        body = b""
        while data := await self.chunk():
            body += data
        trailers = b""
        while (line := await self.line_end(b"\r\n")) != b"\r\n":
            trailers += line
        return body, _fields(trailers)

    def _take(self, count: int) -> bytes:
        if len(self.received) < count:
            raise AssertionError(f"the connection ended ({self.end}): {bytes(self.received)!r}")
        data = bytes(self.received[:count])
        del self.received[:count]
        return data


def unsent(transport: Any) -> int:
    """Bytes that a transport of either kind keeps."""
    if hasattr(transport, "bufferedBytes"):
        return int(transport.bufferedBytes)
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


def pipelined(connection: Any) -> int:
    """Bytes of further requests that the gateway keeps for a client's connection."""
    return len(connection._codec._buffer)


def _fields(lines: bytes) -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in lines.decode("latin-1").split("\r\n") if line)
    return [(name, value.strip()) for name, _, value in pairs]


class Head:
    """A head as it came; names of fields as sent, found in any case."""

    def __init__(self, wire: bytes) -> None:
        first, _, rest = wire.partition(b"\r\n")
        self.wire = wire
        self.first = first.decode("latin-1")
        self.fields = _fields(rest)

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def find(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    @property
    def names(self) -> list[str]:
        return [name.lower() for name, _ in self.fields]


class Answer:
    """A response: head, body, trailers."""

    def __init__(
        self, head: Head, body: bytes, trailers: list[tuple[str, str]] | None = None
    ) -> None:
        self.head = head
        self.body = body
        self.trailers = trailers or []

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def error(self) -> dict[str, str]:
        """The JSON of an answer that the gateway itself gave."""
        error: dict[str, str] = json.loads(self.body)
        return error


class Backend(Factory):
    """
    A server whose connections the test drives by hand, or which `answer`s every head.

    Attributes:
        answer: Bytes sent as soon as a head without a body is complete; None: nothing.
        peers: Its connections, in the order they came.

    """

    noisy = False

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer
        self.peers: list[Peer] = []
        self.requests: list[Head] = []
        self.port: Any = None
        self._seen = 0

    def buildProtocol(self, addr: object) -> Peer:
        peer: Peer = Answering(self) if self.answer is not None else Peer()
        self.peers.append(peer)
        return peer

    @property
    def url(self) -> str:
        address = self.port.getHost()
        if hasattr(address, "name"):
            return f"unix:{os.fsdecode(address.name)}"
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"http://{host}:{address.port}"

    @property
    def open(self) -> list[Peer]:
        return [peer for peer in self.peers if not peer.end]

    async def accept(self) -> Peer:
        """Wait for the next connection."""
        self._seen += 1
        seen = self._seen
        await eventually(lambda: len(self.peers) >= seen, f"connection {seen} to the backend")
        return self.peers[seen - 1]


class Answering(Peer):
    """The backend's end of a connection on which every head gets the same answer."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._backend = backend

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            self._backend.requests.append(Head(self._take(end + 4)))
            assert self._backend.answer is not None
            self.send(self._backend.answer)


class Clients(ClientFactory):
    """Makes the client's ends."""

    noisy = False

    def __init__(self) -> None:
        self.made: Deferred[Peer] = Deferred()

    def buildProtocol(self, addr: object) -> Peer:
        peer = Peer()
        reactor.callLater(0, self.made.callback, peer)
        return peer

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self.made.errback(reason)


class Blackhole:
    """Listens where connections are never established: the queue is full, nobody accepts."""

    def __enter__(self) -> str:
        self._sockets = [socket.socket()]
        listener = self._sockets[0]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            queued = socket.socket()
            queued.setblocking(False)  # noqa: FBT003 - the standard library's
            queued.connect_ex(listener.getsockname())
            self._sockets.append(queued)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()


class GatewayTestCase(TestCase):
    """
    Starts what a test asks for, and closes all of it afterwards.

    A subclass of a test class with `stock = True` runs its tests on Twisted's own transports.
    """

    stock: ClassVar[bool] = False
    timeout = 30  # type: ignore[assignment]

    def setUp(self) -> None:
        self.gateways: list[Gateway] = []
        self.ports: list[IListeningPort] = []
        self.everyone: list[Peer] = []
        self.backends: list[Backend] = []
        self.log = Path(self.mktemp()).absolute()

    async def tearDown(self) -> None:
        for peer in [*self.everyone, *(p for b in self.backends for p in b.peers)]:
            if not peer.end:
                peer.reset()
        for port in self.ports:
            await port.stopListening()
        for gateway in self.gateways:
            await gateway.shutdown()
        await eventually(lambda: all(p.end for b in self.backends for p in b.peers), "all closed")
        await eventually(lambda: all(p.end for p in self.everyone), "all clients closed")

    # -- who takes part

    async def backend(
        self, answer: bytes | None = None, *, path: str = "", host: str = "127.0.0.1"
    ) -> Backend:
        """Listen as a backend; with `path`, on a Unix socket."""
        backend = Backend(answer)
        if path:
            endpoint: Any = UNIXServerEndpoint(reactor, path)
        elif ":" in host:
            endpoint = TCP6ServerEndpoint(reactor, 0, 1024, host)
        else:
            endpoint = TCP4ServerEndpoint(reactor, 0, 1024, host)
        backend.port = await endpoint.listen(backend)
        self.ports.append(backend.port)
        self.backends.append(backend)
        return backend

    async def gateway(
        self,
        *urls: str,
        entrypoint: str = "",
        balancing: str = "",
        address: str = "127.0.0.1:0",
        rule: str = "PathPrefix(`/`)",
        more: str = "",
        logged: bool = False,
        shutdown_timeout: str = "0s",
        shutdown_delay: str = "0s",
        admin: str = "enabled = false",
    ) -> Gateway:
        """Start a gateway with one entrypoint and one service of these servers."""
        servers = "\n".join(f'servers {{ url = "{url}" }}' for url in urls)
        service = f'services "backend" {{ load_balancer {{ {balancing}\n{servers} }} }}'
        text = f"""
            entrypoints "web" {{ address = "{address}"
              {entrypoint} }}
            routers "all" {{ rule = "{rule}"
              service = "{"backend" if urls else "whoami@internal"}" }}
            {service if urls else ""}
            {more}
            access_log {{ enabled = {str(logged).lower()}
              path = "{self.log}" }}
            admin {{ {admin} }}
            shutdown_timeout_secs = "{shutdown_timeout}"
            shutdown_delay_secs = "{shutdown_delay}"
        """
        gateway = Gateway(GatewayConfig.from_text(text), reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        return gateway

    async def through(self, url: str, *middlewares: str, **options: Any) -> None:
        """Start a gateway whose requests pass these, written as `type: keys`."""
        blocks, names = [], []
        for index, each in enumerate(middlewares):
            kind, _, keys = each.partition(":")
            names.append(f'"m{index}"')
            blocks.append(f'middlewares "m{index}" {{\n type = "{kind}"\n {keys.strip()}\n}}')
        rule = f'PathPrefix(`/`)"\n middlewares = [{", ".join(names)}] # "'
        await self.gateway(url, rule=rule, more="\n".join(blocks), **options)

    async def client(self, gateway: Gateway | None = None) -> Peer:
        """Connect to the gateway's entrypoint."""
        address = (gateway or self.gateways[-1]).addresses()["web"]
        clients = Clients()
        if hasattr(address, "name"):
            reactor.connectUNIX(os.fsdecode(address.name), clients)
        else:
            reactor.connectTCP(address.host, address.port, clients)
        peer = await clients.made
        self.everyone.append(peer)
        return peer

    async def websocket(self, backend: Backend, path: bytes = b"/chat") -> tuple[Peer, Peer]:
        """Open a WebSocket; returns the client's and the backend's end."""
        client = await self.client()
        client.send(OPENING.replace(b"/chat", path))
        peer = await backend.accept()
        await peer.head()
        peer.send(SWITCHED)
        assert (await client.head()).status == 101
        return client, peer

    async def exchange(self, *pieces: bytes) -> Answer:
        """Send on a connection of its own and take one response."""
        client = await self.client()
        client.send(*pieces)
        return await client.response(method=pieces[0].split(b" ")[0].decode("latin-1"))

    # -- what the gateway shows

    async def logged(self) -> list[dict[str, Any]]:
        """Shut the gateway down and read its access log."""
        await self.gateways[-1].shutdown()
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def pools(self) -> list[Pool]:
        """The connection pools of the service, one per server."""
        route = self.gateways[-1].snapshot().routes["all"]
        upstream: Any = route.handler.__self__  # type: ignore[attr-defined]
        origins = upstream.origins.values()
        assert all(isinstance(origin, HttpOrigin) for origin in origins)
        return [origin.pool for origin in origins]

    def waiting(self) -> int:
        """How many requests wait for a connection to the first server."""
        return len(self.pools()[0].waiting.queue)

    def upstream_connections(self) -> list[Any]:
        """The connections to the first server."""
        return list(self.pools()[0]._open)

    def connections(self) -> list[Any]:
        """The clients' connections as the gateway has them."""
        return [c for each in self.gateways[-1]._listeners() for c in each.factory.connections]

    def in_flight(self) -> list[int]:
        """How many requests each server of the service carries."""
        return [each.in_flight for each in self.gateways[-1].snapshot().services["backend"]]

# ruff: noqa: SLF001 - looks at what a pool keeps
"""Ten thousand connections that end in every way there is leave nothing behind."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet.endpoints import TCP4ServerEndpoint

from a3s_gateway.protocol.http2 import frames
from tests.integration.test_http2 import HEAD, POST, Http2TestCase
from tests.support import (
    GET,
    OK,
    OPENING,
    SWITCHED,
    Backend,
    Peer,
    eventually,
    gather,
    reactor,
)

CONNECTIONS = 10_000
AT_A_TIME = 50
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UPLOAD = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun"


class Various(Peer):
    """Answers by path, and ends WebSockets as their first byte says."""

    def __init__(self) -> None:
        super().__init__()
        self._is_tunnel = False

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self._is_tunnel:
            self._talk(data)
            return
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        path = bytes(self.received[:end]).split(b" ")[1]
        if path == b"/up":
            return  # it never ends, nor does the wait for an answer
        del self.received[: end + 4]
        if path == b"/events":
            self.send(EVENTS, b"1\r\nx\r\n")
        elif path == b"/broken":
            self.send(EVENTS, b"1\r\nx\r\n")
            self.close()  # without the last chunk
        elif path.startswith(b"/chat"):
            self._is_tunnel = True
            self.send(SWITCHED)
        else:
            self.send(OK)

    def _talk(self, data: bytes) -> None:
        if data == b"reset":
            self.reset()
        elif data == b"close":
            self.close()
        else:
            self.send(data)


class VariousBackend(Backend):
    """A server of these."""

    def buildProtocol(self, addr: object) -> Peer:
        peer = Various()
        self.peers.append(peer)
        return peer


def events() -> list[tuple[bytes, bytes]]:
    return [*HEAD[:2], (b":path", b"/events"), HEAD[3]]


def upload() -> list[tuple[bytes, bytes]]:
    return [POST[0], HEAD[1], (b":path", b"/up"), HEAD[3], (b"content-length", b"1000000")]


class LeakTests(Http2TestCase):
    """Descriptors and gauges are what they were before."""

    timeout = 240  # type: ignore[assignment]

    async def test_nothing_is_left_of_ten_thousand_connections(self) -> None:
        """HTTP/1.1, HTTP/2, uploads, streams, WebSockets; ended by either side or by resets."""
        self.server = VariousBackend()
        port = await self.listen(self.server)
        gateway = await self.gateway(f"http://127.0.0.1:{port}")
        ways = self.ways()
        await gather(*(way() for way in ways))
        await self.all_is_over()
        before = self.descriptors(), self.gauges()
        for first in range(0, CONNECTIONS, AT_A_TIME):
            await gather(*(ways[(first + n) % len(ways)]() for n in range(AT_A_TIME)))
            self.everyone = [peer for peer in self.everyone if not peer.end]
            self.server.peers = self.server.open
        await self.all_is_over()
        gc.collect()
        self.assertEqual((self.descriptors(), self.gauges()), before)
        self.assertGreaterEqual(gateway.health().total_requests, CONNECTIONS * 0.7)

    # -- the ways of a client

    def ways(self) -> list[Callable[[], Awaitable[object]]]:
        """Return each way to use a connection."""
        return [
            self.answered,
            self.gone_before_the_answer,
            self.refused,
            *(lambda end=end: self.stream(end) for end in (Peer.close, Peer.reset)),  # type: ignore[misc]
            self.broken_stream,
            *(lambda end=end: self.upload(end) for end in (Peer.close, Peer.reset)),  # type: ignore[misc]
            *(lambda end=end: self.tunnel(end) for end in (Peer.close, Peer.reset)),  # type: ignore[misc]
            lambda: self.tunnel_that_ends(b"close"),
            lambda: self.tunnel_that_ends(b"reset"),
            self.gone_within_an_upgrade,
            self.silent,
            *(lambda end=end: self.streams(end) for end in (Peer.close, Peer.reset)),  # type: ignore[misc]
            self.streams_that_are_reset,
            self.silent_http2,
        ]

    async def answered(self) -> None:
        client = await self.client()
        client.send(GET, GET)
        for _ in range(2):
            self.assertEqual((await client.response()).status, 200)
        client.close()

    async def gone_before_the_answer(self) -> None:
        client = await self.client()
        client.send(GET)
        client.reset()

    async def refused(self) -> None:
        client = await self.client()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual((await client.response()).status, 400)
        client.close()

    async def stream(self, end: Callable[[Peer], None]) -> None:
        client = await self.client()
        client.send(GET.replace(b"/ ", b"/events "))
        await client.head()
        self.assertEqual(await client.chunk(), b"x")
        end(client)

    async def broken_stream(self) -> None:
        client = await self.client()
        client.send(GET.replace(b"/ ", b"/broken "))
        await client.ended()

    async def upload(self, end: Callable[[Peer], None]) -> None:
        client = await self.client()
        client.send(UPLOAD)
        end(client)

    async def tunnel(self, end: Callable[[Peer], None]) -> None:
        client = await self.client()
        client.send(OPENING)
        await client.head()
        client.send(b"echo")
        self.assertEqual(await client.bytes(4), b"echo")
        end(client)

    async def tunnel_that_ends(self, word: bytes) -> None:
        client = await self.client()
        client.send(OPENING)
        await client.head()
        client.send(word)
        await client.ended()

    async def gone_within_an_upgrade(self) -> None:
        client = await self.client()
        client.send(OPENING, b"early")
        client.reset()

    async def silent(self) -> None:
        (await self.client()).close()

    async def streams(self, end: Callable[[Peer], None]) -> None:
        """One request is answered, one streams, one uploads, one has no answer yet."""
        client = await self.http2()
        client.ask(1)
        client.ask(3, events())
        while (await client.until(frames.DATA))[3] != b"x":
            pass
        client.ask(5, upload(), ends=False)
        client.data(5, b"begun")
        end(client.peer)

    async def streams_that_are_reset(self) -> None:
        client = await self.http2()
        client.ask(1, events())
        await client.until(frames.DATA)
        client.ask(3, upload(), ends=False)
        client.peer.send(frames.rst_stream(1, 8), frames.rst_stream(3, 8))
        client.ask(5)
        await client.until(frames.DATA)
        client.peer.close()

    async def silent_http2(self) -> None:
        client = await self.http2()
        await client.until(frames.SETTINGS)
        client.peer.close()

    # -- what there is

    async def listen(self, backend: Backend) -> int:
        """Listen with a backend of another kind."""
        endpoint = TCP4ServerEndpoint(reactor, 0, 1024, "127.0.0.1")
        port = await endpoint.listen(backend)
        self.ports.append(port)
        number: int = port.getHost().port
        return number

    async def all_is_over(self) -> None:
        """Wait until no client is there, and nothing is done for one."""
        gateway = self.gateways[-1]
        pool = self.pools()[0]
        await eventually(lambda: all(peer.end for peer in self.everyone), "the clients to be gone")
        await eventually(lambda: not gateway.health().active_connections, "no connection")
        await eventually(lambda: gateway.snapshot().generation.holds == 0, "no exchange")
        for connection in list(pool._idle):
            connection.close()
        await eventually(lambda: not pool.open, "no connection to the backend")
        await eventually(lambda: not self.server.open, "none on its side")

    def descriptors(self) -> int:
        """Count what this process has open: the gateway, its clients and the backend."""
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    def gauges(self) -> list[str]:
        """Every gauge that the gateway's traffic moves."""
        text = b"".join(self.gateways[-1].metrics().text()).decode()
        names = [line.split(" ")[2] for line in text.splitlines() if line.endswith(" gauge")]
        told = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] in names]
        return [line for line in told if line.startswith("gateway_")]

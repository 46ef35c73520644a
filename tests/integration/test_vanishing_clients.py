# ruff: noqa: SLF001 - it looks where each connection stands
"""More than a thousand clients that go away in the middle, and what they leave behind: nothing."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support import GET, OK, Backend, Blackhole, GatewayTestCase, Peer, eventually, gather

MANY = 140  # clients in each phase; half of them close (FIN), half reset (RST)
FEW = 16  # where each of them fills the kernel's buffers
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
BLOCK = bytes(64 * 1024)


def open_files() -> list[str]:
    links = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            links.append(str(each.readlink()))
    return sorted(link for link in links if link.startswith("socket:"))


class VanishingClientsTests(GatewayTestCase):
    """In every phase of a request: all is taken back, and each exchange is logged once."""

    async def start(self, *urls: str, **options: Any) -> None:
        await self.gateway(*urls, logged=True, **options)
        self.files = open_files()

    async def clients(self, count: int, *pieces: bytes) -> list[Peer]:
        """Connect clients that each send the same."""
        clients = await gather(*(self.client() for _ in range(count)))
        for client in clients:
            client.send(*pieces)
        return clients

    async def vanish(
        self,
        clients: list[Peer],
        *,
        exchanges: int,
        outcomes: tuple[tuple[int, str], ...] = ((499, "CLIENT_GONE"),),
        others: int = 0,
    ) -> None:
        """Let all of them go, and look at what is left."""
        for number, client in enumerate(clients):
            if number % 2:
                client.close()
            else:
                client.reset()
        generation = self.gateways[-1].snapshot().generation
        await eventually(lambda: not self.connections(), "all connections gone")
        await eventually(lambda: not any(self.in_flight()), "no request in flight")
        await eventually(lambda: generation.holds == 0, "nobody to hold the generation")
        for pool in self.pools():
            await eventually(lambda p=pool: p.open == p.idle, "no connection in use")
        self.assertEqual(self.waiting(), 0)
        for peer in [each for backend in self.backends for each in backend.open]:
            peer.read_on()
        kept = sum(pool.idle for pool in self.pools())
        await eventually(lambda: sum(len(b.open) for b in self.backends) == kept, "backends free")
        # Of a kept connection both ends are in this process.
        await eventually(
            lambda: len(open_files()) == len(self.files) + 2 * kept, "no socket left open"
        )
        health = self.gateways[-1].health()
        self.assertEqual(
            (health.active_connections, health.total_requests), (0, exchanges + others)
        )
        lines = await self.logged()
        self.assertEqual(len({line["request_id"] for line in lines}), len(lines))
        counted = Counter((line["status"], line["code"]) for line in lines)
        served = counted.pop((200, None), 0)
        self.assertEqual((sum(counted.values()), served), (exchanges, others))
        self.assertLessEqual(set(counted), set(outcomes))

    async def heads(self, backend: Backend, count: int) -> list[Peer]:
        """Wait until so many requests have reached the backend."""
        peers = [await backend.accept() for _ in range(count)]
        await gather(*(peer.head() for peer in peers))
        return peers

    async def test_while_they_connect(self) -> None:
        """They have not said anything, so there is nothing to log."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(MANY)
        await eventually(lambda: len(self.connections()) == MANY)
        await self.vanish(clients, exchanges=0)

    async def test_while_they_send_the_head(self) -> None:
        """Half a head is not a request."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(MANY, b"GET / HTTP/1.1\r\nHo")
        await eventually(lambda: sum(not c._codec.is_idle for c in self.connections()) == MANY)
        await self.vanish(clients, exchanges=0)

    async def test_while_they_send_the_body(self) -> None:
        """The backend's connections are given up with them: the body will never be complete."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(MANY, POST, b"Content-Length: 1000\r\n\r\nsome")
        peers = await self.heads(backend, MANY)
        await gather(*(peer.bytes(4) for peer in peers))
        await self.vanish(clients, exchanges=MANY)

    async def test_while_they_wait_to_be_asked_for_the_body(self) -> None:
        """The backend has not said 100 yet."""
        backend = await self.backend()
        await self.start(backend.url)
        expect = b"Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
        clients = await self.clients(MANY, POST, expect)
        await self.heads(backend, MANY)
        await self.vanish(clients, exchanges=MANY)

    async def test_while_a_connection_is_made(self) -> None:
        """Nobody waits any more for a backend that does not accept."""
        with Blackhole() as url:
            await self.start(url)
            clients = await self.clients(MANY, GET)
            await eventually(lambda: self.pools()[0].open == MANY)
            await self.vanish(clients, exchanges=MANY)

    async def test_while_they_wait_for_the_answer(self) -> None:
        """The backend's connections are given up: their answers have nobody to go to."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(MANY, GET)
        await self.heads(backend, MANY)
        await self.vanish(clients, exchanges=MANY)

    async def test_while_half_a_head_of_the_answer_is_there(self) -> None:
        """What came of it is dropped."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(MANY, GET)
        for peer in await self.heads(backend, MANY):
            peer.send(b"HTTP/1.1 200 OK\r\nContent-")
        await eventually(lambda: sum(c._heard for c in self.upstream_connections()) == MANY)
        await self.vanish(clients, exchanges=MANY)

    async def test_while_the_answer_streams(self) -> None:
        """The status was sent; that the client left stands beside it."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(MANY, GET)
        for peer in await self.heads(backend, MANY):
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
        await gather(*(client.head() for client in clients))
        await self.vanish(clients, exchanges=MANY, outcomes=((200, "CLIENT_GONE"),))

    async def test_while_they_read_too_slowly(self) -> None:
        """The backend is held back for them when they go."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(FEW, GET)
        for client in clients:
            client.stop_reading()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"
        for peer in await self.heads(backend, FEW):
            peer.send(head, BLOCK * 160)
        await eventually(
            lambda: sum(c._is_paused for c in self.upstream_connections()) == FEW, "all paused"
        )
        await self.vanish(clients, exchanges=FEW, outcomes=((200, "CLIENT_GONE"),))

    async def test_while_the_backend_reads_too_slowly(self) -> None:
        """
        They are held back when they go.

        Who is not read from cannot be seen leaving in good order, so the time limit of
        bodies that stand still is what ends these.
        """
        backend = await self.backend()
        backend.port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await self.start(backend.url, balancing='stream_idle_timeout = "500ms"')
        clients = await self.clients(FEW, POST, b"Content-Length: 100000000\r\n\r\n", BLOCK * 160)
        for _ in range(FEW):
            (await backend.accept()).stop_reading()
        await eventually(
            lambda: sum(c._is_reading_paused for c in self.connections()) == FEW, "all paused"
        )
        outcomes = ((499, "CLIENT_GONE"), (504, "UPSTREAM_TIMEOUT"))
        await self.vanish(clients, exchanges=FEW, outcomes=outcomes)

    async def test_while_they_queue_for_a_connection(self) -> None:
        """The next in line is one that is still there."""
        backend = await self.backend()
        await self.start(backend.url, balancing="pool { max_connections = 1 }")
        (first,) = await self.clients(1, GET)
        (peer,) = await self.heads(backend, 1)
        clients = await self.clients(MANY, GET)
        await eventually(lambda: self.waiting() == MANY)
        (last,) = await self.clients(1, GET)
        await eventually(lambda: self.waiting() == MANY + 1)
        for number, client in enumerate(clients):
            (client.close if number % 2 else client.reset)()
        await eventually(lambda: self.waiting() == 1)
        for client in (first, last):
            peer.send(OK)
            self.assertEqual((await client.response()).body, b"ok")
        await self.vanish([first, last], exchanges=MANY, others=2)

    async def test_with_more_requests_in_the_pipeline(self) -> None:
        """Only the first of them had begun."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(MANY, GET * 3)
        await self.heads(backend, MANY)
        await self.vanish(clients, exchanges=MANY)

    async def test_between_two_requests(self) -> None:
        """What was answered stays answered, and its connections are kept for others."""
        backend = await self.backend(OK)
        await self.start(backend.url)
        clients = await self.clients(MANY, GET)
        await gather(*(client.response() for client in clients))
        await self.vanish(clients, exchanges=0, others=MANY)

    async def test_while_a_refusal_is_told(self) -> None:
        """The connection waits for them to read, and then no longer."""
        backend = await self.backend()
        await self.start(backend.url)
        clients = await self.clients(MANY, b"G@T / HTTP/1.1\r\n\r\n")
        await gather(*(client.head() for client in clients))
        await self.vanish(clients, exchanges=MANY, outcomes=((400, "BAD_REQUEST"),))


class VanishingClientsOnTwistedsTransportsTests(VanishingClientsTests):
    """The same on Twisted's own transports."""

    stock = True

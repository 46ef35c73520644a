"""HTTP/1.1 through a gateway, byte for byte, from a raw client to scripted backends."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from tests.support import (
    GET,
    OK,
    Backend,
    Blackhole,
    GatewayTestCase,
    Peer,
    eventually,
    gather,
    passed,
    unsent,
)

CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
SMALL = 64 * 1024
MANY = 32 * 1024 * 1024  # bytes; more than the kernel's buffers on a way of two connections hold


def get(path: str, *lines: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: a", *lines, "", ""]).encode()


@implementer(IPushProducer)
class Flood:
    """Sends `MANY` bytes as fast as the other end takes them."""

    def __init__(self, peer: Peer) -> None:
        self.transport = peer.transport
        self.left = MANY
        self._is_paused = False
        peer.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._is_paused = False
        while self.left and not self._is_paused:
            self.left -= SMALL
            self.transport.write(bytes(SMALL))
        if not self.left:
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._is_paused = True

    def stopProducing(self) -> None:
        self.left = 0

    async def stalled(self) -> None:
        """Wait until nothing more is taken."""
        seen = [0] * 30

        def is_still() -> bool:
            seen.append(self.left)
            return 0 < self.left == seen[-30]

        await eventually(is_still, "the flood to be held back")


class StreamingTests(GatewayTestCase):
    """Bodies pass while they come, at the pace of the slower side."""

    async def start(self, **options: Any) -> tuple[Peer, Backend]:
        backend = await self.backend()
        await self.gateway(backend.url, **options)
        return await self.client(), backend

    async def test_a_chunk_of_the_answer_arrives_before_its_end(self) -> None:
        """What the backend has said, the client has, however long the rest takes."""
        client, backend = await self.start()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        peer.send(CHUNKED_OK, b"5\r\nfirst\r\n")
        await client.head()
        self.assertEqual(await client.chunk(), b"first")
        peer.send(b"6\r\nsecond\r\n0\r\n\r\n")
        self.assertEqual(await client.chunked(), (b"second", []))

    async def test_a_part_of_the_answer_arrives_before_its_end(self) -> None:
        """The same where the length is known."""
        client, backend = await self.start()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        self.assertEqual((await client.head()).find("content-length"), "10")
        self.assertEqual(await client.bytes(5), b"first")
        peer.send(b"again")
        self.assertEqual(await client.bytes(5), b"again")

    async def test_an_answers_head_arrives_before_its_body(self) -> None:
        """A client that waits for the head only, as for server-sent events, gets it at once."""
        client, backend = await self.start()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        peer.send(CHUNKED_OK)
        self.assertEqual((await client.head()).status, 200)

    async def test_a_part_of_the_upload_arrives_before_its_end(self) -> None:
        """A backend can begin before the client has sent everything."""
        for framing, parts in (
            (b"Content-Length: 10\r\n\r\n", (b"first", b"again")),
            (b"Transfer-Encoding: chunked\r\n\r\n", (b"5\r\nfirst\r\n", b"5\r\nagain\r\n")),
        ):
            client, backend = await self.start()
            client.send(POST, framing, parts[0])
            peer = await backend.accept()
            await peer.head()
            self.assertEqual(await peer.bytes(len(parts[0])), parts[0])
            client.send(parts[1])
            self.assertEqual(await peer.bytes(len(parts[1])), parts[1])

    async def test_a_client_that_does_not_read_holds_the_backend_back(self) -> None:
        """The gateway keeps little of an answer that nobody takes."""
        client, backend = await self.start()
        client.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.stop_reading()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
        flood = Flood(peer)
        await flood.stalled()
        connection = self.connections()[0]
        self.assertLess(unsent(connection.transport), 1024 * 1024)
        client.read_on()
        await client.until(lambda: client.total > MANY, "all of it")
        await eventually(lambda: self.in_flight() == [0])

    async def test_a_backend_that_does_not_read_holds_the_client_back(self) -> None:
        """The gateway keeps little of an upload that nobody takes."""
        client, backend = await self.start()
        client.send(POST, b"Content-Length: %d\r\n\r\n" % MANY)
        peer = await backend.accept()
        peer.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        await peer.head()
        peer.stop_reading()
        flood = Flood(client)
        await flood.stalled()
        (upstream,) = self.upstream_connections()
        self.assertLess(unsent(upstream.transport), 1024 * 1024)
        peer.read_on()
        await peer.until(lambda: peer.total >= MANY, "all of it")
        peer.send(OK)
        self.assertEqual((await client.response()).body, b"ok")

    async def test_answers_to_pipelined_requests_wait_for_the_client(self) -> None:
        """A client that asks on and on, and reads nothing, is asked to read first."""
        count, size = 500, 50_000
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
        backend = await self.backend(answer)
        await self.gateway(backend.url)
        client = await self.client()
        client.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.stop_reading()
        client.send(GET * count)
        (connection,) = await self.one_connection()
        await eventually(lambda: unsent(connection.transport) > SMALL, "the client to be slow")
        asked = len(backend.requests)
        self.assertLess(asked, count)
        await passed(0.05)
        self.assertLess(unsent(connection.transport), 256 * 1024)
        client.read_on()
        for _ in range(count):
            self.assertEqual(len((await client.response()).body), size)
        client.send(GET)
        self.assertEqual((await client.response()).status, 200)

    async def one_connection(self) -> list[Any]:
        await eventually(self.connections, "a connection")
        return self.connections()

    async def test_a_backend_may_answer_before_the_upload_ends(self) -> None:
        """The client gets the answer, and the connection is not used again."""
        client, backend = await self.start()
        client.send(POST, b"Content-Length: 1000\r\n\r\nbegun")
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        answer = await client.response()
        self.assertEqual((answer.status, answer.head.find("connection")), (413, "close"))
        self.assertEqual(await client.ended(), "closed")
        await peer.ended()
        self.assertEqual((self.in_flight(), self.pools()[0].open), ([0], 0))

    async def test_a_backend_that_answers_and_goes_while_the_client_sends(self) -> None:
        """Its answer counts, although the rest of the upload could not be delivered."""
        client, backend = await self.start()
        client.send(POST, b"Content-Length: %d\r\n\r\nbegun" % MANY)
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        peer.close()
        self.assertEqual((await client.response()).status, 413)

    async def test_a_long_answer_to_an_unfinished_upload_arrives_whole(self) -> None:
        """A client that reads while it sends gets everything, however much it still sends."""
        client, backend = await self.start()
        client.send(POST, b"Content-Length: %d\r\n\r\n" % MANY)
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
        await client.head()
        flood = Flood(peer)
        upload = Flood(client)
        await client.until(lambda: client.total > MANY or client.end, "all of the answer")
        self.assertGreater(client.total, MANY)
        self.assertEqual(flood.left, 0)
        upload.stopProducing()

    async def test_both_directions_stream_at_the_same_time(self) -> None:
        """An answer may begin while the upload goes on, and both come to their end."""
        client, backend = await self.start()
        client.send(POST, b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        peer = await backend.accept()
        await peer.head()
        self.assertEqual(await peer.chunk(), b"one")
        peer.send(CHUNKED_OK, b"3\r\none\r\n")
        await client.head()
        self.assertEqual(await client.chunk(), b"one")
        client.send(b"3\r\ntwo\r\n0\r\n\r\n")
        self.assertEqual(await peer.chunked(), (b"two", []))
        peer.send(b"3\r\ntwo\r\n0\r\n\r\n")
        self.assertEqual(await client.chunked(), (b"two", []))


class ConnectionTests(GatewayTestCase):
    """Connections on both sides are kept, bounded, and given up when they must be."""

    async def test_one_connection_serves_many_requests(self) -> None:
        """Requests of different clients share a kept connection to the backend."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        client = await self.client()
        for _ in range(3):
            client.send(GET)
            self.assertEqual((await client.response()).status, 200)
        await self.exchange(GET)
        self.assertEqual((len(backend.peers), len(backend.requests)), (1, 4))
        self.assertEqual((self.pools()[0].open, self.pools()[0].idle), (1, 1))

    async def test_an_idle_connection_to_a_backend_expires(self) -> None:
        """It is closed in good order after `pool.idle_timeout`."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, balancing='pool { idle_timeout = "100ms" }')
        await self.exchange(GET)
        self.assertEqual(await backend.peers[0].ended(), "closed")
        await eventually(lambda: self.pools()[0].open == 0)

    async def test_a_connection_that_has_just_closed_is_not_used(self) -> None:
        """When its end and a request come in the same moment, the request takes another."""
        client, backend, peer = await self.reused()
        peer.transport.getHandle().shutdown(socket.SHUT_WR)
        client.transport.getHandle().send(POST + b"Content-Length: 0\r\n\r\n")
        again = await backend.accept()
        await again.head()
        again.send(OK)
        self.assertEqual((await client.response()).body, b"ok")

    async def test_a_shutdown_closes_idle_connections(self) -> None:
        """Those to backends and those to clients."""
        client, _, peer = await self.reused()
        await self.gateways[-1].shutdown()
        self.assertEqual((await peer.ended(), await client.ended()), ("closed", "closed"))

    async def test_an_idle_client_is_closed(self) -> None:
        """`keep_alive_idle` after its last answer, without a word."""
        await self.gateway(entrypoint='timeouts { keep_alive_idle = "100ms" }')
        client = await self.client()
        client.send(GET)
        await client.response()
        self.assertEqual((await client.ended(), client.received), ("closed", b""))

    async def test_idle_connections_are_bounded(self) -> None:
        """No more than `pool.max_idle_connections` are kept."""
        backend = await self.backend()
        await self.gateway(backend.url, balancing="pool { max_idle_connections = 1 }")
        clients = [await self.client() for _ in range(3)]
        for client in clients:
            client.send(GET)
        for _ in clients:
            (await backend.accept()).send(OK)
        await gather(*(client.response() for client in clients))
        await eventually(lambda: (self.pools()[0].open, len(backend.open)) == (1, 1))

    async def test_a_request_waits_for_a_connection_and_gets_it(self) -> None:
        """With `pool.max_connections` in use, the next request goes out when one comes free."""
        backend = await self.backend()
        await self.gateway(backend.url, balancing="pool { max_connections = 1 }")
        clients = [await self.client() for _ in range(3)]
        for client in clients:
            client.send(GET)
        peer = await backend.accept()
        for _ in clients:
            await peer.head()
            peer.send(OK)
        answers = await gather(*(client.response() for client in clients))
        self.assertEqual([answer.status for answer in answers], [200, 200, 200])
        self.assertEqual(len(backend.peers), 1)

    async def test_a_request_that_gets_no_connection_is_refused(self) -> None:
        """A backend at its limit is 503 after `connect_timeout`, and nothing stays behind."""
        backend = await self.backend()
        await self.gateway(
            backend.url, balancing='connect_timeout = "100ms"\n pool { max_connections = 1 }'
        )
        first, second = await self.client(), await self.client()
        first.send(GET)
        peer = await backend.accept()
        second.send(GET)
        answer = await second.response()
        self.assertEqual((answer.status, answer.error["code"]), (503, "UPSTREAM_BUSY"))
        peer.send(OK)
        self.assertEqual((await first.response()).status, 200)
        self.assertEqual((self.in_flight(), self.waiting()), ([0], 0))

    async def test_those_who_wait_hear_of_a_lost_connection(self) -> None:
        """When the connection they wait for is lost, a new one is opened for them."""
        backend = await self.backend()
        await self.gateway(backend.url, balancing="pool { max_connections = 1 }")
        first, second = await self.client(), await self.client()
        first.send(GET)
        peer = await backend.accept()
        second.send(GET)
        await eventually(self.waiting)
        peer.reset()
        self.assertEqual((await first.response()).status, 502)
        (await backend.accept()).send(OK)
        self.assertEqual((await second.response()).status, 200)

    async def test_those_who_wait_hear_of_a_connection_that_did_not_come_about(self) -> None:
        """When the attempt they wait for is given up, the next of them may try."""
        with Blackhole() as url:
            await self.gateway(url, balancing="pool { max_connections = 1 }")
            first, second = await self.client(), await self.client()
            first.send(GET)
            await eventually(lambda: self.pools()[0].open)
            second.send(GET)
            await eventually(self.waiting)
            first.reset()
            await eventually(lambda: not self.waiting())
            self.assertEqual((self.pools()[0].open, self.in_flight()), (1, [1]))
            second.reset()
            await eventually(lambda: self.pools()[0].open == 0)

    async def reused(self) -> tuple[Peer, Backend, Peer]:
        """Get a connection to the backend that has served a request."""
        backend = await self.backend()
        await self.gateway(backend.url, logged=True)
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        peer.send(OK)
        await client.response()
        return client, backend, peer

    async def test_a_get_is_sent_again_when_a_kept_connection_closes(self) -> None:
        """The backend closed it as we sent, and never saw the request: nobody notices."""
        for ending in ("close", "reset"):
            client, backend, peer = await self.reused()
            client.send(GET)
            await peer.head()
            getattr(peer, ending)()
            again = await backend.accept()
            await again.head()
            again.send(OK)
            self.assertEqual((await client.response()).body, b"ok")
            self.assertEqual(self.in_flight(), [0])

    async def test_a_get_is_sent_again_only_once(self) -> None:
        """A backend that closes the fresh connection as well is broken."""
        client, backend, peer = await self.reused()
        client.send(GET)
        await peer.head()
        peer.close()
        (await backend.accept()).close()
        answer = await client.response()
        self.assertEqual((answer.status, answer.error["code"]), (502, "UPSTREAM_RESET"))
        self.assertEqual(len(backend.peers), 2)

    async def test_a_post_is_not_sent_again(self) -> None:
        """Doing it twice could be worse than not at all."""
        client, backend, peer = await self.reused()
        client.send(POST, b"Content-Length: 0\r\n\r\n")
        await peer.head()
        peer.close()
        self.assertEqual((await client.response()).status, 502)
        self.assertEqual(len(backend.peers), 1)

    async def test_a_put_with_a_body_is_not_sent_again(self) -> None:
        """It could be repeated by its method, but its body is gone."""
        client, backend, peer = await self.reused()
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        await peer.head()
        peer.close()
        self.assertEqual((await client.response()).status, 502)
        self.assertEqual(len(backend.peers), 1)

    async def test_nothing_is_sent_again_once_a_byte_came_back(self) -> None:
        """The backend has begun to answer, so it has seen the request."""
        client, backend, peer = await self.reused()
        client.send(GET)
        await peer.head()
        peer.send(b"HTTP/1.1 2")
        peer.close()
        answer = await client.response()
        self.assertEqual((answer.status, answer.error["code"]), (502, "UPSTREAM_RESET"))
        self.assertEqual(len(backend.peers), 1)

    async def refused(self, *pieces: bytes, heard: bytes = b"") -> tuple[Peer, Backend]:
        """Have one of two servers hang up on a request; returns the client, and the other one."""
        first, second = await self.backend(), await self.backend(OK)
        await self.gateway(first.url, second.url)
        client = await self.client()
        client.send(*pieces)
        peer = await first.accept()
        await peer.head()
        if heard:
            peer.send(heard)
        peer.reset() if not heard else peer.close()
        return client, second

    async def test_another_server_is_asked_when_one_hangs_up_without_a_word(self) -> None:
        """Asking twice does no harm, so the client does not notice."""
        for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
            client, other = await self.refused(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await client.response(method=method.decode())
            self.assertEqual((answer.status, len(other.requests)), (200, 1))
            self.assertEqual(self.in_flight(), [0, 0])

    async def test_another_server_is_asked_for_a_put_without_a_body(self) -> None:
        """What counts is that nothing of the request is gone."""
        client, _ = await self.refused(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((await client.response()).status, 200)

    async def test_no_other_server_is_asked_where_that_could_do_harm(self) -> None:
        """A POST may have been acted on; a body is gone; a server has begun to answer."""
        put = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
        for pieces, heard in (
            ((POST, b"Content-Length: 0\r\n\r\n"), b""),
            ((put, b"hi"), b""),
            ((GET,), b"HTTP/1.1 2"),
        ):
            client, other = await self.refused(*pieces, heard=heard)
            answer = await client.response()
            self.assertEqual((answer.status, answer.error["code"]), (502, "UPSTREAM_RESET"))
            self.assertEqual((other.requests, self.in_flight()), ([], [0, 0]))

    async def test_every_server_is_asked_once(self) -> None:
        """After the last one the client hears what became of it."""
        servers = [await self.backend() for _ in range(3)]
        await self.gateway(*[server.url for server in servers], logged=True)
        client = await self.client()
        client.send(GET)
        for server in servers:
            peer = await server.accept()
            await peer.head()
            peer.reset()
        self.assertEqual((await client.response()).error["code"], "UPSTREAM_RESET")
        self.assertEqual([len(server.peers) for server in servers], [1, 1, 1])
        self.assertEqual([line["attempts"] for line in await self.logged()], [3])

    async def test_a_server_is_not_asked_twice_on_a_fresh_connection(self) -> None:
        """A backend that closes a connection on its first request is broken."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(GET)
        (await backend.accept()).close()
        self.assertEqual((await client.response()).status, 502)
        self.assertEqual(len(backend.peers), 1)

    async def test_a_connection_with_surplus_bytes_is_not_used_again(self) -> None:
        """What follows a complete answer would be taken for the next one."""
        surplus = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
        for answer in (
            OK,
            b"HTTP/1.1 204 No Content\r\n\r\n",
            CHUNKED_OK + b"0\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        ):
            backend = await self.backend(answer + surplus)
            await self.gateway(backend.url)
            client = await self.client()
            client.send(GET)
            await client.response()
            await backend.peers[0].ended()
            client.send(GET)
            self.assertNotEqual((await client.response()).body, b"forged")
            self.assertEqual(len(backend.peers), 2)

    async def test_a_backend_that_says_close_is_not_used_again(self) -> None:
        """`Connection: close` of the backend ends that connection, not the client's."""
        backend = await self.backend(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await self.gateway(backend.url)
        client = await self.client()
        for _ in range(2):
            client.send(GET)
            answer = await client.response()
            self.assertEqual((answer.status, answer.head.find("connection")), (200, None))
        self.assertEqual(len(backend.peers), 2)

    async def test_an_idle_backend_connection_that_speaks_is_closed(self) -> None:
        """Nobody asked, so nobody may get that answer."""
        client, backend, peer = await self.reused()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        await peer.ended()
        client.send(GET)
        (await backend.accept()).send(OK)
        self.assertEqual((await client.response()).body, b"ok")

    async def test_pipelined_requests_are_answered_in_order(self) -> None:
        """Many at once, each with its own answer, whether it needs a backend or not."""
        count = 500
        await self.gateway(more="")
        client = await self.client()
        client.send(b"".join(get(f"/{n}") for n in range(count)))
        for n in range(count):
            self.assertIn(f"GET /{n} HTTP/1.1".encode(), (await client.response()).body)
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(b"".join(get(f"/{n}") for n in range(count)))
        for _ in range(count):
            self.assertEqual((await client.response()).body, b"ok")
        paths = [request.first.split(" ")[1] for request in backend.requests]
        self.assertEqual(paths, [f"/{n}" for n in range(count)])
        self.assertEqual(len(backend.peers), 1)

    async def test_pipelined_requests_with_bodies(self) -> None:
        """Where a body ends the next request begins, whatever framed it."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(
            POST, b"Content-Length: 3\r\n\r\none",
            POST, b"Transfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n",
            GET,
        )  # fmt: skip
        peer = await backend.accept()
        await peer.head()
        self.assertEqual(await peer.bytes(3), b"one")
        peer.send(OK)
        await peer.head()
        self.assertEqual((await peer.chunked())[0], b"two")
        peer.send(OK)
        await peer.head()
        peer.send(OK)
        for _ in range(3):
            self.assertEqual((await client.response()).body, b"ok")

    async def test_connection_close_of_the_client_is_honoured(self) -> None:
        """What it sends after that is not looked at."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(get("/", "Connection: close"), get("/smuggled"))
        answer = await client.response()
        self.assertEqual(
            (answer.head.find("connection"), await client.ended()), ("close", "closed")
        )
        self.assertEqual((len(backend.requests), client.received), (1, b""))


class MessageTests(GatewayTestCase):
    """Heads, bodies and trailers in all their forms."""

    async def through(
        self, request: bytes, answer: bytes, *, closes: bool = False, **options: Any
    ) -> tuple[Peer, Peer]:
        """Send a request, let the backend answer; the client's and the backend's ends."""
        backend = await self.backend()
        await self.gateway(backend.url, **options)
        client = await self.client()
        client.send(request)
        peer = await backend.accept()
        await peer.until(lambda: b"\r\n\r\n" in peer.received, "a head")
        peer.send(answer)
        if closes:
            peer.close()
        return client, peer

    async def test_continue_is_forwarded(self) -> None:
        """The client is asked for its body when the backend asks."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(POST, b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        peer = await backend.accept()
        self.assertEqual((await peer.head()).find("expect"), "100-continue")
        self.assertEqual(client.received, b"")
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual((await client.head()).status, 100)
        client.send(b"hello")
        self.assertEqual(await peer.bytes(5), b"hello")
        peer.send(OK)
        self.assertEqual((await client.response()).body, b"ok")
        client.send(GET)
        await peer.head()
        peer.send(OK)
        self.assertEqual((await client.response()).body, b"ok")

    async def test_continue_is_refused_by_a_final_answer(self) -> None:
        """The client need not send, and the connection is closed, for it might all the same."""
        backend = await self.backend(
            b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno"
        )
        await self.gateway(backend.url)
        client = await self.client()
        client.send(POST, b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        answer = await client.response()
        self.assertEqual((answer.status, answer.head.find("connection")), (417, "close"))
        self.assertEqual(await client.ended(), "closed")
        await backend.peers[0].ended()

    async def test_a_client_that_does_not_wait_for_continue(self) -> None:
        """It sends its body at once; nothing waits for anything."""
        client, peer = await self.through(
            POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        )
        await peer.head()
        self.assertEqual(await peer.bytes(5), b"hello")
        self.assertEqual((await client.response()).body, b"ok")

    async def test_interim_answers_pass(self) -> None:
        """103 with its links, and others, in order, before the final one."""
        client, _ = await self.through(
            GET,
            b"HTTP/1.1 102 Processing\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: </b.js>; rel=preload\r\n\r\n" + OK,
        )
        heads = [await client.head() for _ in range(3)]
        self.assertEqual([head.status for head in heads], [102, 103, 103])
        links = [head.find("link") for head in heads]
        self.assertEqual(links, [None, "</a.css>; rel=preload", "</b.js>; rel=preload"])
        self.assertEqual((await client.response()).body, b"ok")

    async def test_interim_answers_do_not_reach_http_1_0(self) -> None:
        """A client of HTTP/1.0 would take the first head for the answer."""
        client, _ = await self.through(
            get("/", version="1.0"), b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK
        )
        self.assertEqual((await client.head()).status, 200)

    async def test_a_switch_of_protocols_that_nobody_asked_for(self) -> None:
        """A backend cannot make a tunnel of a request."""
        client, peer = await self.through(
            get("/", "Upgrade: h2c", "Connection: upgrade"),
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        )
        answer = await client.response()
        self.assertEqual((answer.status, answer.error["code"]), (502, "UPSTREAM_PROTOCOL"))
        await peer.ended()

    async def test_interim_answers_without_end(self) -> None:
        """They are not an answer, and no reason to wait for ever."""
        client, _ = await self.through(GET, b"HTTP/1.1 102 Processing\r\n\r\n" * 100)
        self.assertEqual((await client.response()).status, 502)

    async def test_head_has_a_length_and_no_body(self) -> None:
        """The length is that of the body which GET would have; then the next answer comes."""
        backend = await self.backend(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await self.gateway(backend.url)
        client = await self.client()
        for _ in range(2):
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await client.response(method="HEAD")
            self.assertEqual((answer.status, answer.head.find("content-length")), (200, "5"))
        self.assertEqual((len(backend.peers), client.received), (1, b""))

    async def test_head_of_a_chunked_resource(self) -> None:
        """No length is known, and no chunk follows."""
        backend = await self.backend(CHUNKED_OK)
        await self.gateway(backend.url)
        client = await self.client()
        for _ in range(2):
            client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await client.response(method="HEAD")
            self.assertEqual((answer.status, answer.head.find("content-length")), (200, None))
        self.assertEqual((len(backend.peers), client.received), (1, b""))

    async def test_get_after_head_of_the_same(self) -> None:
        """The same bytes mean another thing after another method."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        peer: Peer | None = None
        for method, body in ((b"GET", b"hello"), (b"HEAD", b""), (b"GET", b"hello")):
            client.send(method, b" / HTTP/1.1\r\nHost: a\r\n\r\n")
            peer = peer or await backend.accept()
            await peer.head()
            peer.send(head, body)
            self.assertEqual((await client.response(method=method.decode())).body, body)
        self.assertEqual(len(backend.peers), 1)

    async def test_answers_without_a_body(self) -> None:
        """204 has no length; 304 may say one, and both are over with their heads."""
        for answer, length in (
            (b"HTTP/1.1 204 No Content\r\n\r\n", None),
            (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "5"),
            (b"HTTP/1.1 304 Not Modified\r\n\r\n", None),
        ):
            backend = await self.backend(answer)
            await self.gateway(backend.url)
            client = await self.client()
            for _ in range(2):
                client.send(GET)
                got = await client.response()
                self.assertEqual(got.head.find("content-length"), length)
                self.assertIsNone(got.head.find("transfer-encoding"))
            self.assertEqual((len(backend.peers), client.received), (1, b""))

    async def test_an_empty_answer(self) -> None:
        """`Content-Length: 0` is said, so that the client need not wait."""
        client, _ = await self.through(GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((await client.response()).head.find("content-length"), "0")

    async def test_a_chunked_answer_that_is_there_at_once(self) -> None:
        """It stays chunked, and the connection is kept."""
        backend = await self.backend(CHUNKED_OK + b"2\r\nok\r\n0\r\n\r\n")
        await self.gateway(backend.url)
        client = await self.client()
        for _ in range(2):
            client.send(GET)
            self.assertEqual((await client.response()).body, b"ok")
        self.assertEqual(len(backend.peers), 1)

    async def test_trailers_of_the_answer(self) -> None:
        """They arrive behind the last chunk, with the field that announces them."""
        client, _ = await self.through(
            get("/", "TE: trailers", "Connection: TE"),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 7\r\n\r\n",
        )
        answer = await client.response()
        self.assertEqual((answer.body, answer.trailers), (b"ok", [("X-Sum", "1")]))
        self.assertEqual(answer.head.find("trailer"), "X-Sum")

    async def test_trailers_of_the_request(self) -> None:
        """They arrive at the backend, whether they came with the head or later."""
        body = b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
        for pieces in ((body,), (body[:9], body[9:])):
            backend = await self.backend()
            await self.gateway(backend.url)
            client = await self.client()
            client.send(POST, b"Transfer-Encoding: chunked\r\n\r\n", pieces[0])
            peer = await backend.accept()
            await peer.head()
            for piece in pieces[1:]:
                client.send(piece)
            self.assertEqual(await peer.chunked(), (b"ok", [("X-Sum", "1")]))

    async def test_a_request_of_a_known_length_stays_one(self) -> None:
        """Its framing is not changed on the way; an empty POST says so."""
        backend = await self.backend()
        await self.gateway(backend.url)
        for framing, expected in (
            (b"Content-Length: 2\r\n\r\nhi", ("2", None)),
            (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", (None, "chunked")),
            (b"\r\n", ("0", None)),
            (b"Content-Length: 0\r\n\r\n", ("0", None)),
        ):
            client = await self.client()
            client.send(POST, framing)
            peer = await backend.accept()
            head = await peer.head()
            self.assertEqual(
                (head.find("content-length"), head.find("transfer-encoding")), expected
            )

    async def test_an_answer_that_lasts_until_close(self) -> None:
        """HTTP/1.1 clients get chunks and keep their connection."""
        client, _ = await self.through(GET, b"HTTP/1.1 200 OK\r\n\r\nuntil the end", closes=True)
        answer = await client.response()
        self.assertEqual((answer.body, client.end), (b"until the end", ""))

    async def test_an_answer_of_http_1_0_that_lasts_until_close(self) -> None:
        """A backend of HTTP/1.0 says nothing and closes."""
        client, _ = await self.through(GET, b"HTTP/1.0 200 OK\r\n\r\nuntil the end", closes=True)
        self.assertEqual((await client.response()).body, b"until the end")

    async def test_http_1_0_clients_get_no_chunks(self) -> None:
        """The body as it is, and its end by closing."""
        for answer, closes in (
            (CHUNKED_OK + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", False),
            (b"HTTP/1.1 200 OK\r\n\r\nok", True),
        ):
            client, _ = await self.through(
                get("/", "Connection: keep-alive", version="1.0"), answer, closes=closes
            )
            got = await client.response()
            self.assertEqual((got.body, got.head.find("transfer-encoding")), (b"ok", None))
            self.assertEqual((got.head.find("connection"), client.end), ("close", "closed"))

    async def test_http_1_0_clients_may_keep_their_connection(self) -> None:
        """If they ask, and the length is known; else the connection is closed."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        client = await self.client()
        for _ in range(2):
            client.send(get("/", "Connection: Keep-Alive", version="1.0"))
            answer = await client.response()
            self.assertEqual(answer.head.find("connection"), "keep-alive")
        client.send(get("/", version="1.0"))
        answer = await client.response()
        self.assertEqual(
            (answer.head.find("connection"), await client.ended()), ("close", "closed")
        )

    async def test_http_1_0_without_host(self) -> None:
        """The backend gets a Host all the same: HTTP/1.1 requires one."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        answer = await self.exchange(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(answer.status, 200)
        self.assertEqual(backend.requests[0].all("host"), [backend.url.removeprefix("http://")])

    async def test_an_absolute_target_goes_before_host(self) -> None:
        """The backend is asked in origin form, with the host of the target."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, rule="Host(`target.example`)")
        answer = await self.exchange(
            b"GET http://target.example:81/a/../b?c HTTP/1.1\r\nHost: other.example\r\n\r\n"
        )
        self.assertEqual(answer.status, 200)
        request = backend.requests[0]
        self.assertEqual(request.first, "GET /b?c HTTP/1.1")
        self.assertEqual(request.all("host"), ["target.example:81"])
        self.assertEqual(request.find("x-forwarded-host"), "target.example:81")

    async def test_options_of_the_server_itself(self) -> None:
        """`OPTIONS *` stays that, in its absolute form as well."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, rule="Host(`a`)")
        for target in (b"*", b"http://a"):
            await self.exchange(b"OPTIONS ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual({request.first for request in backend.requests}, {"OPTIONS * HTTP/1.1"})

    async def test_the_path_arrives_in_its_canonical_form(self) -> None:
        """Routes and the backend see the same path."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, rule="PathPrefix(`/admin`)")
        paths = (
            "/public/../admin",
            "/public/%2e%2e/admin",
            "/%61dmin/a%2fb//c?%61=%2f",
            "/./admin/.",
        )
        for path in paths:
            self.assertEqual((await self.exchange(get(path))).status, 200, path)
        asked = [request.first.split(" ")[1] for request in backend.requests]
        self.assertEqual(asked, ["/admin", "/admin", "/admin/a%2Fb//c?%61=%2f", "/admin/"])
        self.assertEqual((await self.exchange(get("/admin/../public"))).status, 404)

    async def test_the_path_of_a_server_goes_before_every_path(self) -> None:
        """`url = "http://host/base"` is where this backend's paths begin."""
        backend = await self.backend(OK)
        await self.gateway(f"{backend.url}/base")
        await self.exchange(get("/a?b"))
        self.assertEqual(backend.requests[0].first, "GET /base/a?b HTTP/1.1")

    async def test_other_methods_pass(self) -> None:
        """Methods are the backend's business, in the case they came in."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        for method in (b"PROPFIND", b"get", b"M-SEARCH"):
            await self.exchange(method, b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        methods = [request.first.split(" ")[0] for request in backend.requests]
        self.assertEqual(methods, ["PROPFIND", "get", "M-SEARCH"])

    async def test_redirects_are_the_clients_to_follow(self) -> None:
        """A redirect passes as it is, wherever it points."""
        backend = await self.backend(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 0\r\n\r\n"
        )
        await self.gateway(backend.url)
        answer = await self.exchange(GET)
        self.assertEqual(answer.status, 302)
        self.assertEqual(answer.head.find("location"), "http://127.0.0.1:1/x")

    async def test_proxies_of_the_environment_are_not_used(self) -> None:
        """`HTTP_PROXY` is for programs that browse, not for a gateway."""
        names = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
        for name in names:
            self.addCleanup(os.environ.pop, name, None)
            os.environ[name] = "http://127.0.0.1:1"
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        self.assertEqual((await self.exchange(GET)).status, 200)

    async def test_a_reason_phrase_passes(self) -> None:
        """What the backend calls its status, the client reads."""
        client, _ = await self.through(
            GET, b"HTTP/1.1 299 Fine, mostly\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertEqual((await client.head()).first, "HTTP/1.1 299 Fine, mostly")


class FieldTests(GatewayTestCase):
    """What is added to a head, and what is taken out of it."""

    async def seen(self, *lines: str, **options: Any) -> Any:
        backend = await self.backend(OK)
        await self.gateway(backend.url, **options)
        await self.exchange(get("/", *lines))
        return backend.requests[0]

    async def test_fields_of_the_hop_stop_here(self) -> None:
        """In requests: Connection and what it nominates, and the other fields of one hop."""
        request = await self.seen(
            "Connection: keep-alive, X-Hop, TE", "X-Hop: 1", "X-Hop: 2", "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic x", "TE: gzip",
            "Upgrade: h2c", "X-End: 1",
        )  # fmt: skip
        gone = {
            "connection", "x-hop", "keep-alive", "proxy-connection", "proxy-authorization", "te",
            "upgrade", "transfer-encoding",
        }  # fmt: skip
        self.assertEqual(gone & set(request.names), set())
        self.assertEqual(request.find("x-end"), "1")

    async def test_fields_of_the_hop_stop_here_on_the_way_back(self) -> None:
        """In answers just as well."""
        backend = await self.backend(
            b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: x\r\n"
            b"Proxy-Authenticate: Basic\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nTE: x\r\n"
            b"X-End: 1\r\nContent-Length: 2\r\n\r\nok"
        )
        await self.gateway(backend.url)
        answer = await self.exchange(GET)
        self.assertEqual(sorted(answer.head.names), ["content-length", "x-end", "x-request-id"])

    async def test_nothing_is_added_that_nobody_sent(self) -> None:
        """No Accept, no User-Agent, no Accept-Encoding; and fields keep their order and case."""
        request = await self.seen("X-b: 1", "x-A: 2", "X-b: 3")
        self.assertEqual(
            [field for field in request.fields if field[0].lower() in ("x-a", "x-b")],
            [("X-b", "1"), ("x-A", "2"), ("X-b", "3")],
        )
        self.assertEqual(
            set(request.names),
            {
                "host", "x-b", "x-a", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
                "x-forwarded-port", "x-real-ip", "forwarded", "x-request-id",
            },
        )  # fmt: skip

    CLAIMS = (
        "X-Forwarded-For: 203.0.113.9, 198.51.100.7", "X-Forwarded-Proto: https",
        "X-Forwarded-Host: claimed.example", "X-Forwarded-Port: 444", "X-Real-IP: 203.0.113.1",
        "Forwarded: for=203.0.113.9", "X_Forwarded_For: 203.0.113.8", "x_real_ip: 203.0.113.8",
    )  # fmt: skip

    async def test_claims_of_strangers_are_dropped(self) -> None:
        """Who is not trusted says nothing about who it comes for."""
        request = await self.seen(*self.CLAIMS)
        said = {name: request.all(name) for name in request.names if "forwarded" in name}
        self.assertEqual(
            said,
            {
                "x-forwarded-for": ["127.0.0.1"],
                "x-forwarded-proto": ["http"],
                "x-forwarded-host": ["a"],
                "x-forwarded-port": ["80"],
                "forwarded": ["for=127.0.0.1;host=a;proto=http"],
            },
        )
        self.assertEqual(request.all("x-real-ip"), ["127.0.0.1"])
        self.assertEqual([name for name in request.names if "_" in name], [])

    async def test_claims_of_trusted_proxies_are_kept(self) -> None:
        """What they say is appended to; the client is the last address that is not trusted."""
        request = await self.seen(
            *self.CLAIMS, entrypoint='trusted_proxies = ["127.0.0.0/8", "198.51.100.0/24"]'
        )
        said = {name: request.all(name) for name in request.names if "forwarded" in name}
        self.assertEqual(
            said,
            {
                "x-forwarded-for": ["203.0.113.9, 198.51.100.7, 127.0.0.1"],
                "x-forwarded-proto": ["https"],
                "x-forwarded-host": ["claimed.example"],
                "x-forwarded-port": ["444"],
                "forwarded": ["for=203.0.113.9, for=127.0.0.1;host=claimed.example;proto=https"],
            },
        )
        self.assertEqual(request.all("x-real-ip"), ["203.0.113.9"])
        self.assertEqual([name for name in request.names if "_" in name], [])

    async def test_a_connections_second_request_is_not_taken_for_its_first(self) -> None:
        """What is remembered of a head never stands in for another one."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, entrypoint='trusted_proxies = ["127.0.0.1/32"]')
        client = await self.client()
        for who in ("203.0.113.1", "203.0.113.2", "", "203.0.113.1"):
            lines = [f"X-Forwarded-For: {who}"] if who else []
            client.send(get("/", *lines))
            await client.response()
        said = [request.find("x-real-ip") for request in backend.requests]
        self.assertEqual(said, ["203.0.113.1", "203.0.113.2", "127.0.0.1", "203.0.113.1"])
        client.send(b"GET / HTTP/1.1\r\nHost: b:81\r\n\r\n")
        await client.response()
        last = backend.requests[-1]
        self.assertEqual((last.find("x-forwarded-host"), last.find("host")), ("b:81", "b:81"))

    async def test_a_sane_request_id_is_kept(self) -> None:
        """It travels to the backend and back, and stands in the log."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, logged=True)
        answer = await self.exchange(get("/", "X-Request-Id: from-the-client"))
        self.assertEqual(answer.head.all("x-request-id"), ["from-the-client"])
        self.assertEqual(backend.requests[0].all("x-request-id"), ["from-the-client"])
        self.assertEqual([line["request_id"] for line in await self.logged()], ["from-the-client"])

    async def test_other_request_ids_are_replaced(self) -> None:
        """Too long, not visible, or two of them: another is made, and differs each time."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        made = set()
        for lines in (
            [], [], ["X-Request-Id: " + "a" * 129], ["X-Request-Id: a b"], ["X-Request-Id:"],
            ["X-Request-Id: a", "X-Request-Id: b"], ["X-Request-Id: a", "x-request-id: a"],
        ):  # fmt: skip
            answer = await self.exchange(get("/", *lines))
            ids = answer.head.all("x-request-id")
            self.assertEqual(backend.requests[-1].all("x-request-id"), ids)
            self.assertRegex(ids[0], r"\A[0-9a-f]{32}\Z")
            made.update(ids)
        self.assertEqual(len(made), 7)

    async def test_a_backends_request_id_is_not_repeated(self) -> None:
        """The client gets one, the one that stands in the log."""
        backend = await self.backend(
            b"HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\nContent-Length: 2\r\n\r\nok"
        )
        await self.gateway(backend.url)
        answer = await self.exchange(get("/", "X-Request-Id: mine"))
        self.assertEqual(answer.head.all("x-request-id"), ["mine"])


def nobody() -> str:
    """Return the URL of a port where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


class FaultTests(GatewayTestCase):
    """When a backend fails: what the client gets, and what stands in the log."""

    async def fault(self, answer: bytes | None, *, ends: str = "", balancing: str = "") -> Any:
        """Let a backend fail in some way; returns the answer, or how the connection ended."""
        backend = await self.backend()
        await self.gateway(backend.url, balancing=balancing, logged=True)
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        if answer is not None:
            peer.send(answer)
        if ends:
            getattr(peer, ends)()
        return client

    async def expect_error(self, client: Peer, status: int, code: str) -> None:
        """Check an answer of the gateway itself, and that it is the only thing said and logged."""
        answer = await client.response()
        self.assertEqual((answer.status, answer.head.find("x-gateway-error")), (status, code))
        self.assertEqual(answer.head.find("content-type"), "application/json")
        error = answer.error
        self.assertEqual(set(error), {"error", "code", "request_id"})
        self.assertEqual(
            (error["code"], error["request_id"]), (code, answer.head.find("x-request-id"))
        )
        self.assertNotIn("127.0.0.1", json.dumps(error))
        self.assertEqual(self.in_flight(), [0] * len(self.in_flight()))
        lines = [(line["status"], line["code"]) for line in await self.logged()]
        self.assertEqual(lines, [(status, code)])

    async def expect_abort(self, client: Peer, status: int, code: str) -> None:
        """Check that an answer that began was cut off so that nobody takes it for whole."""
        self.assertEqual(await client.ended(), "reset")
        self.assertFalse(bytes(client.received).endswith(b"0\r\n\r\n"))
        await eventually(lambda: self.in_flight() == [0])
        lines = [(line["status"], line["code"]) for line in await self.logged()]
        self.assertEqual(lines, [(status, code)])

    async def test_nobody_listens(self) -> None:
        """Every server was tried: 502."""
        await self.gateway(nobody(), nobody(), logged=True)
        client = await self.client()
        client.send(GET)
        await self.expect_error(client, 502, "UPSTREAM_CONNECT")

    async def test_a_server_that_cannot_be_connected_to_is_passed_over(self) -> None:
        """The next one gets the request, a POST as well, and the client notices nothing."""
        backend = await self.backend(OK)
        await self.gateway(nobody(), backend.url, logged=True)
        for _ in range(4):
            client = await self.client()
            client.send(POST, b"Content-Length: 0\r\n\r\n")
            self.assertEqual((await client.response()).status, 200)
        self.assertEqual((len(backend.requests), self.in_flight()), (4, [0, 0]))
        lines = await self.logged()
        self.assertEqual({line["backend"] for line in lines}, {backend.url})
        self.assertEqual(max(line["attempts"] for line in lines), 2)

    async def test_an_upload_is_kept_for_the_next_server(self) -> None:
        """Nothing of a body is lost when its first server cannot be connected to."""
        backend = await self.backend()
        await self.gateway(nobody(), nobody(), backend.url)
        client = await self.client()
        client.send(POST, b"Content-Length: 10\r\n\r\nfirst")
        peer = await backend.accept()
        await peer.head()
        client.send(b"again")
        self.assertEqual(await peer.bytes(10), b"firstagain")

    async def test_no_route(self) -> None:
        """404 in the same shape."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, rule="Path(`/other`)", logged=True)
        client = await self.client()
        client.send(GET)
        await self.expect_error(client, 404, "NO_ROUTE")

    async def test_no_connection_in_time(self) -> None:
        """504 after `connect_timeout`."""
        with Blackhole() as url:
            await self.gateway(url, balancing='connect_timeout = "100ms"', logged=True)
            client = await self.client()
            client.send(GET)
            await self.expect_error(client, 504, "UPSTREAM_TIMEOUT")

    async def test_no_answer_in_time(self) -> None:
        """504 after `request_timeout`, and the backend's connection is dropped."""
        client = await self.fault(None, balancing='request_timeout = "100ms"')
        await self.expect_error(client, 504, "UPSTREAM_TIMEOUT")
        await self.backends[0].peers[0].ended()

    async def test_half_an_answers_head_in_time(self) -> None:
        """A head that began is not a head."""
        client = await self.fault(b"HTTP/1.1 200", balancing='request_timeout = "100ms"')
        await self.expect_error(client, 504, "UPSTREAM_TIMEOUT")

    async def test_the_request_timeout_begins_with_the_end_of_the_request(self) -> None:
        """A client may take its time for the upload."""
        backend = await self.backend()
        await self.gateway(backend.url, balancing='request_timeout = "100ms"')
        client = await self.client()
        client.send(POST, b"Content-Length: 6\r\n\r\n")
        peer = await backend.accept()
        for _ in range(3):
            await passed(0.09)
            client.send(b"ab")
        await peer.until(lambda: peer.received.endswith(b"ababab"), "the upload")
        peer.send(OK)
        self.assertEqual((await client.response()).status, 200)

    async def test_a_body_that_stands_still(self) -> None:
        """After `stream_idle_timeout` the answer is cut off."""
        client = await self.fault(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
            balancing='stream_idle_timeout = "100ms"',
        )
        await self.expect_abort(client, 200, "UPSTREAM_TIMEOUT")

    async def test_an_answer_that_takes_too_long_in_all(self) -> None:
        """After `stream_total_timeout` it is cut off, however busy it is."""
        client = await self.fault(CHUNKED_OK, balancing='stream_total_timeout = "200ms"')
        peer = self.backends[0].peers[0]
        while not peer.end:
            peer.send(b"1\r\n-\r\n")
            await passed(0.01)
        await self.expect_abort(client, 200, "UPSTREAM_TIMEOUT")

    async def test_a_client_that_accepts_nothing(self) -> None:
        """After `write_idle` it is given up, and the backend is free again."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint='timeouts { write_idle = "100ms" }', logged=True)
        client = await self.client()
        client.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.stop_reading()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
        Flood(peer)
        await peer.ended()
        await eventually(lambda: self.in_flight() == [0])
        self.assertEqual([line["code"] for line in await self.logged()], ["CLIENT_GONE"])

    async def test_a_client_that_asks_on_and_accepts_nothing(self) -> None:
        """After `write_idle` it is given up, although each answer was complete."""
        backend = await self.backend(
            b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)
        )
        await self.gateway(backend.url, entrypoint='timeouts { write_idle = "100ms" }')
        client = await self.client()
        client.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.stop_reading()
        client.send(GET * 500)
        await eventually(lambda: backend.requests)
        await eventually(lambda: not self.connections(), "the connection to be given up")
        self.assertLess(len(backend.requests), 500)

    async def test_a_backend_that_hangs_up(self) -> None:
        """502, whichever way it did."""
        for ends in ("close", "reset"):
            client = await self.fault(None, ends=ends)
            await self.expect_error(client, 502, "UPSTREAM_RESET")
            self.log.unlink()

    async def test_answers_that_are_not_http(self) -> None:
        """502 for whatever breaks a rule; nothing of it reaches the client."""
        for answer in (
            b"SSH-2.0-OpenSSH\r\n",
            b"\x00\x01\x02\x03\x04\x05\x06\x07",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
            b"HTTP/1.1 200 O\x00K\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok",
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 66_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
            CHUNKED_OK + b"zz\r\n",
        ):
            client = await self.fault(answer)
            await self.expect_error(client, 502, "UPSTREAM_PROTOCOL")
            self.log.unlink()

    async def test_a_body_cut_short(self) -> None:
        """The client's connection is reset: it never sees a clean end."""
        for answer, ends in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "close"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", "reset"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "close"),
            (CHUNKED_OK + b"2\r\nhe\r\n", "close"),
            (CHUNKED_OK + b"2\r\nhe\r\n0\r\n", "close"),
            (CHUNKED_OK, "close"),
            (b"HTTP/1.1 200 OK\r\n\r\nhe", "reset"),
        ):
            client = await self.fault(answer)
            await client.head()
            getattr(self.backends[-1].peers[0], ends)()
            await self.expect_abort(client, 200, "UPSTREAM_RESET")
            self.log.unlink()

    async def test_a_chunk_that_breaks_off(self) -> None:
        """Chunks that are malformed cut the answer off as well."""
        client = await self.fault(CHUNKED_OK + b"2\r\nok\r\n")
        await client.head()
        await client.chunk()
        self.backends[0].peers[0].send(b"oh no\r\n")
        await self.expect_abort(client, 200, "UPSTREAM_PROTOCOL")

    async def test_a_body_cut_short_for_http_1_0(self) -> None:
        """Only a reset tells a client of HTTP/1.0 that something is missing."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(get("/", version="1.0"))
        peer = await backend.accept()
        peer.send(CHUNKED_OK, b"2\r\nhe\r\n")
        await client.head()
        await client.bytes(2)
        peer.close()
        self.assertEqual(await client.ended(), "reset")

    async def test_grpc_clients_read_a_status_of_their_own(self) -> None:
        """They do not look at bodies."""
        await self.gateway(nobody())
        answer = await self.exchange(get("/", "Content-Type: application/grpc"))
        self.assertEqual((answer.status, answer.head.find("grpc-status")), (200, "14"))
        self.assertEqual(answer.head.find("x-gateway-error"), "UPSTREAM_CONNECT")

    async def test_every_exchange_is_logged_once(self) -> None:
        """Answered, pipelined, refused, not routed, gone: one line each, with its outcome."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, rule="!Path(`/none`)", logged=True)
        client = await self.client()
        client.send(get("/1"), get("/none"), get("/2"), b"G@T / HTTP/1.1\r\n\r\n")
        for status in (200, 404, 200, 400):
            self.assertEqual((await client.response()).status, status)
        backend.answer = b""
        gone = await self.client()
        gone.send(get("/gone"))
        await eventually(lambda: len(backend.requests) == 3)
        gone.reset()
        await eventually(lambda: self.in_flight() == [0])
        lines = [(line["path"], line["status"], line["code"]) for line in await self.logged()]
        self.assertEqual(
            lines,
            [
                ("/1", 200, None), ("/none", 404, "NO_ROUTE"), ("/2", 200, None),
                (None, 400, "BAD_REQUEST"), ("/gone", 499, "CLIENT_GONE"),
            ],
        )  # fmt: skip


class AddressTests(GatewayTestCase):
    """Other kinds of sockets than IPv4's."""

    async def test_a_backend_on_a_unix_socket(self) -> None:
        """`unix:` servers are spoken to like any other."""
        path = f"/tmp/gateway-test-{os.getpid()}-{id(self)}"
        backend = await self.backend(OK, path=path)
        await self.gateway(f"unix:{path}")
        client = await self.client()
        for _ in range(2):
            client.send(GET)
            self.assertEqual((await client.response()).body, b"ok")
        self.assertEqual((len(backend.peers), backend.requests[0].find("host")), (1, "a"))

    async def test_an_entrypoint_on_a_unix_socket(self) -> None:
        """A client there has no address."""
        path = f"/tmp/gateway-test-{os.getpid()}-{id(self)}-in"
        backend = await self.backend(OK)
        await self.gateway(backend.url, address=f"unix:{path}")
        self.assertEqual((await self.exchange(GET)).body, b"ok")
        self.assertEqual(backend.requests[0].find("x-forwarded-for"), "unknown")

    async def test_an_entrypoint_on_ipv6(self) -> None:
        """Its clients' addresses are quoted where they must be."""
        if not has_ipv6():
            self.skipTest("no IPv6 on the loopback interface")
        backend = await self.backend(OK)
        await self.gateway(backend.url, address="[::1]:0")
        self.assertEqual((await self.exchange(GET)).body, b"ok")
        request = backend.requests[0]
        self.assertEqual(request.find("x-forwarded-for"), "::1")
        self.assertEqual(request.find("forwarded"), 'for="[::1]";host=a;proto=http')

    async def test_a_backend_on_ipv6(self) -> None:
        """Its address stands in brackets, as in any URL."""
        if not has_ipv6():
            self.skipTest("no IPv6 on the loopback interface")
        backend = await self.backend(OK, host="::1")
        await self.gateway(backend.url)
        self.assertEqual((await self.exchange(GET)).body, b"ok")
        await self.exchange(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(backend.requests[1].find("host"), backend.url.removeprefix("http://"))


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class StreamingOnTwistedsTransportsTests(StreamingTests):
    """The same on Twisted's own transports."""

    stock = True


class ConnectionsOnTwistedsTransportsTests(ConnectionTests):
    """The same on Twisted's own transports."""

    stock = True


class MessagesOnTwistedsTransportsTests(MessageTests):
    """The same on Twisted's own transports."""

    stock = True


class FieldsOnTwistedsTransportsTests(FieldTests):
    """The same on Twisted's own transports."""

    stock = True


class FaultsOnTwistedsTransportsTests(FaultTests):
    """The same on Twisted's own transports."""

    stock = True


class AddressesOnTwistedsTransportsTests(AddressTests):
    """The same on Twisted's own transports."""

    stock = True

"""Server-sent events and other answers that last, on real sockets."""

from __future__ import annotations

from time import monotonic

from tests.support import Backend, GatewayTestCase, Peer, eventually, passed

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class StreamTests(GatewayTestCase):
    """What is promised in docs/streaming.md."""

    async def streaming(self, backend: Backend, head: bytes = EVENTS) -> tuple[Peer, Peer]:
        """Begin a stream; returns the client's and the backend's end."""
        client = await self.client()
        client.send(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
        peer = await backend.accept()
        await peer.head()
        peer.send(head)
        return client, peer

    async def test_every_chunk_arrives_at_once(self) -> None:
        """No event waits for the next, or for a buffer; the head does not wait for the first."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client, peer = await self.streaming(backend)
        head = await client.head()
        self.assertEqual(head.find("x-accel-buffering"), "no")
        for number in range(50):
            began = monotonic()
            event = b"data: %d\n\n" % number
            peer.send(chunk(event))
            self.assertEqual(await client.chunk(), event)
            self.assertLess(monotonic() - began, 0.5)

    async def test_what_a_backend_says_of_buffering_stays(self) -> None:
        """And nothing is added to what is no stream of events."""
        backend = await self.backend()
        await self.gateway(backend.url)
        said = EVENTS.replace(b"\r\n\r\n", b"\r\nX-Accel-Buffering: yes\r\n\r\n")
        for answer, values in (
            (said, ["yes"]),
            (EVENTS.replace(b"text/event-stream", b"Text/Event-Stream; charset=utf-8"), ["no"]),
            (EVENTS.replace(b"text/event-stream", b"application/x-ndjson"), []),
        ):
            client, _ = await self.streaming(backend, answer)
            self.assertEqual((await client.head()).all("x-accel-buffering"), values)

    async def test_only_silence_ends_a_stream(self) -> None:
        """It may last longer than every time limit, as long as something comes."""
        backend = await self.backend()
        limits = 'request_timeout = "300ms"\n stream_idle_timeout = "300ms"'
        await self.gateway(backend.url, balancing=limits, logged=True)
        client, peer = await self.streaming(backend)
        await client.head()
        for _ in range(6):
            await passed(0.15)
            peer.send(chunk(b": ping\n\n"))
            self.assertEqual(await client.chunk(), b": ping\n\n")
        self.assertEqual(await client.ended(), "reset")
        (line,) = await self.logged()
        self.assertEqual((line["code"], line["response_bytes"]), ("UPSTREAM_TIMEOUT", 48))
        self.assertLess(line["first_byte_ms"], line["duration_ms"] / 2)

    async def test_a_total_limit_is_kept_where_it_is_asked_for(self) -> None:
        """`stream_total_timeout` ends what would go on."""
        backend = await self.backend()
        await self.gateway(backend.url, balancing='stream_total_timeout = "300ms"')
        client, peer = await self.streaming(backend)
        await client.head()
        began = monotonic()
        while not client.end:
            peer.send(chunk(b": ping\n\n"))
            await passed(0.03)
        self.assertGreater(monotonic() - began, 0.2)

    async def test_a_client_that_goes_cancels_at_once(self) -> None:
        """The backend's connection is closed, though nothing is being sent."""
        for leave in (Peer.reset, Peer.close):
            backend = await self.backend()
            await self.gateway(backend.url)
            client, peer = await self.streaming(backend)
            await client.head()
            leave(client)
            await eventually(lambda peer=peer: peer.end, "the backend to hear of it")  # type: ignore[misc]
            self.assertEqual(self.in_flight(), [0])

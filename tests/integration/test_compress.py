"""Compressed answers over real sockets."""

from __future__ import annotations

import os
import zlib
from typing import Any

import brotli

from tests.support import GatewayTestCase, Peer, eventually, unsent

ACCEPT_BR = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\r\n"
ACCEPT_GZIP = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"


def with_length(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class CompressTests(GatewayTestCase):
    """From a backend that compresses nothing to a client that decodes."""

    async def asked(self, middleware: str) -> tuple[Peer, Peer]:
        """Have a client ask, who takes gzip; returns it and the backend's end, which has heard."""
        backend = await self.backend()
        await self.through(backend.url, middleware)
        client = await self.client()
        client.send(ACCEPT_GZIP)
        there = await backend.accept()
        await there.head()
        return client, there

    async def test_a_small_answer_has_a_length(self) -> None:
        """It is compressed whole; brotli is preferred."""
        text = b"hello " * 1000
        backend = await self.backend(with_length(text))
        await self.through(backend.url, "compress:")
        answer = await self.exchange(ACCEPT_BR)
        assert answer.head.find("content-encoding") == "br"
        assert answer.head.find("content-length") == str(len(answer.body))
        assert brotli.decompress(answer.body) == text

    async def test_a_large_answer_is_a_stream(self) -> None:
        """It is compressed as it comes."""
        text = b"".join(b"%d bottles of beer\n" % count for count in range(200_000))
        backend = await self.backend(with_length(text))
        await self.through(backend.url, "compress:")
        answer = await self.exchange(ACCEPT_BR)
        assert answer.head.find("transfer-encoding") == "chunked"
        assert brotli.decompress(answer.body) == text
        await eventually(lambda: self.in_flight() == [0])

    async def test_an_event_is_not_kept(self) -> None:
        """Each can be read before the next is there, where streams of events are compressed."""
        client, there = await self.asked("compress: sse = true")
        there.send(CHUNKED % b"text/event-stream")
        assert (await client.head()).find("content-encoding") == "gzip"
        decoder = zlib.decompressobj(31)
        for number in range(3):
            event = b"data: %d\n\n" % number
            there.send(chunk(event))
            read = b""
            while len(read) < len(event):
                read += decoder.decompress(await client.chunk())
            assert read == event

    async def test_a_stream_of_events_is_left_alone(self) -> None:
        """Unless it is asked for."""
        backend = await self.backend(CHUNKED % b"text/event-stream" + chunk(b"data: 1\n\n"))
        await self.through(backend.url, "compress:")
        client = await self.client()
        client.send(ACCEPT_GZIP)
        assert (await client.head()).find("content-encoding") is None
        assert await client.chunk() == b"data: 1\n\n"

    async def test_a_cut_answer_never_looks_complete(self) -> None:
        """The client's is cut as well."""
        client, there = await self.asked("compress:")
        there.send(CHUNKED % b"text/plain", chunk(b"x" * 5000))
        await client.head()
        there.reset()
        assert await client.ended() == "reset"
        await eventually(lambda: self.in_flight() == [0])

    async def test_a_client_that_goes_ends_the_work(self) -> None:
        """The backend is cut off, and nothing is counted as under way."""
        client, there = await self.asked("compress:")
        there.send(CHUNKED % b"text/plain", chunk(b"x" * 100_000))
        await client.head()
        client.reset()
        await there.ended()
        assert self.in_flight() == [0]

    async def test_a_client_that_reads_nothing_holds_the_backend_back(self) -> None:
        """What waits inside is bounded, however much there is to send."""
        backend = await self.backend()
        await self.through(backend.url, 'compress: encodings = ["deflate"]')
        client = await self.client()
        client.stop_reading()
        client.send(ACCEPT_GZIP.replace(b"gzip", b"deflate"))
        there = await backend.accept()
        await there.head()
        there.send(CHUNKED % b"text/plain")
        for _ in range(2000):
            there.send(chunk(os.urandom(16 * 1024)))
        before = [0]

        def stands_still() -> bool:
            now: Any = unsent(there.transport)
            still = now > 1_000_000 and now == before[0]
            before[0] = now
            return still

        await eventually(stands_still, "the backend is held back")

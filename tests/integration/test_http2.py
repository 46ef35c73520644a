# ruff: noqa: SLF001 - looks at what is held back
"""HTTP/2 from clients: raw frames over real sockets, HTTP/1.1 to the backends."""

from __future__ import annotations

import base64
import gc
from collections import Counter
from typing import Any

from a3s_gateway import GatewayConfig
from a3s_gateway.protocol.http2 import frames
from a3s_gateway.protocol.http2.hpack import Decoder, Encoder
from a3s_gateway.protocol.websocket import accept_of
from tests.support import OK, GatewayTestCase, Peer, eventually

HEAD = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"a")]
POST = [(b":method", b"POST"), *HEAD[1:]]


def settings(*values: tuple[int, int]) -> bytes:
    return frames.PREFACE + frames.settings(values)


class Client:
    """Speaks HTTP/2 frame by frame."""

    def __init__(self, peer: Peer, *values: tuple[int, int]) -> None:
        self.peer = peer
        self.encoder = Encoder()
        self.decoder = Decoder(1 << 20)
        peer.send(settings(*values))

    def ask(self, stream: int, fields: Any = HEAD, *, ends: bool = True) -> None:
        """Send a head."""
        block = self.encoder.encode(fields)
        self.peer.send(frames.headers(stream, block, 16384, is_last=ends))

    def data(self, stream: int, data: bytes, *, ends: bool = False) -> None:
        self.peer.send(frames.frame(frames.DATA, frames.END_STREAM if ends else 0, stream, data))

    async def frame(self) -> tuple[int, int, int, bytes]:
        """Take the next frame: type, flags, stream, payload."""
        head = await self.peer.bytes(9)
        high, low, kind, flags, stream = frames.HEADER.unpack(head)
        return kind, flags, stream, await self.peer.bytes(high << 8 | low)

    async def until(self, *kinds: int) -> tuple[int, int, int, bytes]:
        """Take frames up to one of these types."""
        while True:
            frame = await self.frame()
            if frame[0] in kinds:
                return frame

    async def head(self) -> tuple[int, dict[bytes, bytes]]:
        """Take the next head: its stream and its fields."""
        _, _, stream, block = await self.until(frames.HEADERS)
        return stream, dict(self.decoder.decode(block))

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Take an answer whose frames come together."""
        _, flags, stream, block = await self.until(frames.HEADERS)
        fields = dict(self.decoder.decode(block))
        body = b""
        while not flags & frames.END_STREAM:
            _, flags, _, data = await self.until(frames.DATA)
            body += data
        return stream, fields, body

    async def error(self) -> tuple[int, str]:
        """Take the GOAWAY that ends the connection, and its reason."""
        *_, payload = await self.until(frames.GOAWAY)
        await self.peer.ended()
        return frames.NUMBER.unpack_from(payload, 4)[0], payload[8:].decode()


class Http2TestCase(GatewayTestCase):
    async def http2(self, *values: tuple[int, int]) -> Client:
        return Client(await self.client(), *values)


class Http2Tests(Http2TestCase):
    async def test_many_requests_on_one_connection(self) -> None:
        """Answers come as the backends give them, each on its stream."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, logged=True)
        client = await self.http2()
        for stream in (1, 3, 5):
            client.ask(stream)
        answers = [await client.answer() for _ in range(3)]
        assert sorted(stream for stream, *_ in answers) == [1, 3, 5]
        assert {(fields[b":status"], body) for _, fields, body in answers} == {(b"200", b"ok")}
        request = backend.requests[0]
        assert request.first == "GET /a HTTP/1.1"
        assert request.find("host") == "a"
        assert request.find("x-forwarded-for") == "127.0.0.1"
        lines = await self.logged()
        assert [line["protocol"] for line in lines] == ["HTTP/2.0"] * 3
        assert [line["response_bytes"] for line in lines] == [2] * 3

    async def test_upgrade_from_http_1(self) -> None:
        """`Upgrade: h2c` is answered with 101, and the request itself on stream 1."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        peer = await self.client()
        values = base64.urlsafe_b64encode(frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 1))
        peer.send(
            b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: " + values.rstrip(b"=") + b"\r\n\r\n"
        )
        assert (await peer.head()).status == 101
        client = Client(peer)
        stream, fields = await client.head()
        assert (stream, fields[b":status"]) == (1, b"200")
        assert (await client.until(frames.DATA))[3] == b"o"  # its window is of one byte
        assert backend.requests[0].first == "GET /up HTTP/1.1"
        assert backend.requests[0].find("http2-settings") is None

    async def test_cookie_crumbs_are_joined(self) -> None:
        """A backend that speaks HTTP/1.1 gets one Cookie field."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        client = await self.http2()
        client.ask(1, [*HEAD, (b"cookie", b"a=b"), (b"cookie", b"c=d")])
        await client.answer()
        assert backend.requests[0].all("cookie") == ["a=b; c=d"]

    async def test_an_upload_with_trailers(self) -> None:
        """A body of unknown length goes on chunked, and its trailers with it."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.http2()
        client.ask(1, POST, ends=False)
        client.data(1, b"hello")
        peer = await backend.accept()
        assert (await peer.head()).find("transfer-encoding") == "chunked"
        client.ask(1, [(b"x-checksum", b"5")])
        body, trailers = await peer.chunked()
        assert (body, trailers) == (b"hello", [("x-checksum", "5")])
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n")
        peer.send(b"2\r\nok\r\n0\r\nX-T: 1\r\n\r\n")
        assert (await client.head())[1][b":status"] == b"200"
        assert (await client.until(frames.DATA))[3] == b"ok"
        assert (await client.head())[1] == {b"x-t": b"1"}

    async def test_a_backend_is_held_back_by_a_closed_window(self) -> None:
        """What the client has no window for stays with the backend, but for a bounded rest."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.http2((frames.INITIAL_WINDOW_SIZE, 10))
        client.ask(1)
        peer = await backend.accept()
        await peer.head()
        size = 8 * 1024 * 1024
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)
        assert (await client.until(frames.DATA))[3] == b"x" * 10
        upstream = self.upstream_connections()[0]
        await eventually(lambda: upstream._is_paused, "the backend is paused")
        connection = self.connections()[0]
        assert connection.codec.pending_on(1) < 512 * 1024
        client.ask(3)  # other streams go on
        other = await backend.accept()
        await other.head()
        other.send(OK)
        assert (await client.head())[0] == 3
        client.peer.send(frames.window_update(1, size), frames.window_update(0, size))
        received = 10
        while received < size:
            _, _, stream, data = await client.until(frames.DATA)
            received += len(data) if stream == 1 else 0
        assert received == size

    async def test_an_upload_is_held_back_by_its_backend(self) -> None:
        """Windows open only as the backend reads."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint='http2 { stream_window = "64KiB" }')
        client = await self.http2()
        client.ask(1, POST, ends=False)
        peer = await backend.accept()
        peer.stop_reading()
        stream = self.connections()[0]._streams[1]
        room, sent = 64 * 1024, 0
        while not stream._is_reading_paused:
            for _ in range(room // 16384):
                client.data(1, b"y" * 16384)
            sent, room = sent + room // 16384 * 16384, room % 16384
            await eventually(lambda: stream._is_reading_paused or client.peer.received)
            while client.peer.received:
                kind, _, number, payload = await client.frame()
                if kind == frames.WINDOW_UPDATE and number == 1:
                    room += frames.NUMBER.unpack(payload)[0]
        assert sent < 32 * 1024 * 1024  # the kernel's buffers take some
        peer.read_on()
        await eventually(lambda: not stream._is_reading_paused, "it goes on")

    async def test_a_reset_cancels_the_request(self) -> None:
        """The backend's connection is closed at once, and every counter returns."""
        backend = await self.backend()
        await self.gateway(backend.url, logged=True)
        client = await self.http2()
        client.ask(1)
        peer = await backend.accept()
        await peer.head()
        client.peer.send(frames.rst_stream(1, frames.CANCEL))
        await peer.ended()
        assert self.in_flight() == [0]
        client.ask(3)
        other = await backend.accept()
        await other.head()
        other.send(OK)
        assert (await client.answer())[2] == b"ok"
        assert [line["code"] for line in await self.logged()] == ["CLIENT_GONE", None]

    async def test_a_broken_answer_is_reset(self) -> None:
        """An answer that its backend cuts off never looks complete."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.http2()
        client.ask(1)
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort")
        await client.until(frames.DATA)
        peer.close()
        assert (await client.until(frames.RST_STREAM))[3] == frames.NUMBER.pack(2)

    async def test_a_refused_request_is_answered(self) -> None:
        """What HTTP forbids is said on the stream; the others go on."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, logged=True)
        client = await self.http2()
        client.ask(1, [*HEAD, (b"x", b"y" * 40_000)])
        client.ask(3, [HEAD[0], HEAD[1], (b":path", b"/%00"), HEAD[3]])
        client.ask(5)
        statuses = {}
        for _ in range(3):
            stream, fields, _ = await client.answer()
            statuses[stream] = fields[b":status"]
        assert statuses == {1: b"431", 3: b"400", 5: b"200"}
        codes = sorted(str(line["code"]) for line in await self.logged())
        assert codes == ["BAD_REQUEST", "HEADERS_TOO_LARGE", "None"]

    async def test_a_drain_lets_streams_finish(self) -> None:
        """GOAWAY comes first, then what is under way, then the end."""
        backend = await self.backend()
        gateway = await self.gateway(backend.url, shutdown_timeout="5s")
        client = await self.http2()
        client.ask(1)
        peer = await backend.accept()
        await peer.head()
        ending = gateway.shutdown()
        payload = (await client.until(frames.GOAWAY))[3]
        assert payload[:4] == frames.NUMBER.pack(frames.LAST_STREAM)
        peer.send(OK)
        assert (await client.answer())[2] == b"ok"
        assert (await client.until(frames.GOAWAY))[3][:4] == frames.NUMBER.pack(1)
        assert await client.peer.ended() == "closed"
        await ending

    async def test_a_tunnel_by_extended_connect(self) -> None:
        """RFC 8441: the backend sees an HTTP/1.1 upgrade, the client a stream of bytes."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.http2()
        fields = [(b":method", b"CONNECT"), (b":protocol", b"raw"), *HEAD[1:]]
        client.ask(1, fields, ends=False)
        peer = await backend.accept()
        assert (await peer.head()).find("upgrade") == "raw"
        peer.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nhi")
        assert (await client.head())[1][b":status"] == b"200"
        assert (await client.until(frames.DATA))[3] == b"hi"
        client.data(1, b"ping")
        assert await peer.bytes(4) == b"ping"
        client.data(1, b"", ends=True)
        peer.close()
        kind, flags, *_ = await client.until(frames.DATA, frames.RST_STREAM)
        assert (kind, flags) == (frames.DATA, frames.END_STREAM)

    async def test_a_websocket(self) -> None:
        """The backend gets the key that HTTP/2 has no use for; the client need not prove it."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.http2()
        fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *HEAD[1:]]
        client.ask(1, [*fields, (b"sec-websocket-version", b"13")], ends=False)
        peer = await backend.accept()
        key = (await peer.head()).find("sec-websocket-key")
        assert key is not None
        accept = accept_of(key).encode()
        peer.send(
            b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n\x81\x02hi"
        )
        _, answer = await client.head()
        assert answer[b":status"] == b"200"
        assert b"sec-websocket-accept" not in answer
        assert (await client.until(frames.DATA))[3] == b"\x81\x02hi"
        client.peer.send(frames.rst_stream(1, frames.CANCEL))
        await peer.ended()
        assert self.in_flight() == [0]

    async def test_the_next_stream_is_of_the_new_generation(self) -> None:
        """A reload does not end connections; what is under way ends as it began."""
        old, new = await self.backend(), await self.backend(OK)
        gateway = await self.gateway(old.url)
        client = await self.http2()
        client.ask(1)
        peer = await old.accept()
        await peer.head()
        text = f"""
            entrypoints "web" {{ address = "127.0.0.1:0" }}
            routers "all" {{ rule = "PathPrefix(`/`)"
              service = "backend" }}
            services "backend" {{ load_balancer {{ servers {{ url = "{new.url}" }} }} }}
            access_log {{ enabled = false }}
            admin {{ enabled = false }}
        """
        await gateway.reload(GatewayConfig.from_text(text))
        client.ask(3)
        assert (await client.answer())[0] == 3
        peer.send(OK)
        assert (await client.answer())[0] == 1

    async def test_open_connections_take_over_new_limits(self) -> None:
        """They are told at once; a listener that speaks it no more lets them go."""
        backend = await self.backend(OK)
        gateway = await self.gateway(backend.url)
        client = await self.http2()
        client.ask(1)
        await client.answer()
        text = f"""
            entrypoints "web" {{ address = "127.0.0.1:0"
              http2 {{ %s }} }}
            routers "all" {{ rule = "PathPrefix(`/`)"
              service = "backend" }}
            services "backend" {{ load_balancer {{ servers {{ url = "{backend.url}" }} }} }}
            access_log {{ enabled = false }}
            admin {{ enabled = false }}
        """
        changed = text % "max_concurrent_streams = 7\n stream_window = 70000"
        await gateway.reload(GatewayConfig.from_text(changed))
        flags = frames.ACK
        while flags & frames.ACK:
            _, flags, _, payload = await client.until(frames.SETTINGS)
        values = dict(frames.SETTING.iter_unpack(payload))
        assert values[frames.MAX_CONCURRENT_STREAMS] == 7
        assert values[frames.INITIAL_WINDOW_SIZE] == 70_000
        client.ask(3)
        assert (await client.answer())[2] == b"ok"
        await gateway.reload(GatewayConfig.from_text(text % "enabled = false"))
        assert await client.error() == (frames.NO_ERROR, "")

    async def test_nothing_is_left_for_the_garbage_collector(self) -> None:
        """Neither by streams that end nor by those that are reset, nor by their connection."""
        backend = await self.backend(OK)
        silent = await self.backend()
        gateway = await self.gateway(backend.url, silent.url)
        for round_ in range(2):
            if round_:
                gc.collect()
                gc.set_debug(gc.DEBUG_SAVEALL)
            for _ in range(5):
                client = await self.http2()
                for stream in (1, 3, 5, 7):
                    client.ask(stream)
                for _ in range(2):
                    await client.answer()
                client.peer.send(frames.rst_stream(1, 8), frames.rst_stream(3, 8))
                client.peer.reset()
                await client.peer.ended()
        await eventually(lambda: not gateway.health().active_connections)
        try:
            gc.collect()
            kinds = Counter(type(each).__module__ for each in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert [kind for kind in kinds if kind.startswith("a3s_gateway.")] == []
        assert self.in_flight() == [0, 0]


class FloodTests(Http2TestCase):
    """Every flood ends in GOAWAY(ENHANCE_YOUR_CALM)."""

    async def flooded(self, *pieces: bytes, ask: bool = False, **options: Any) -> str:
        """Send all of it; returns the reason."""
        backend = await self.backend()
        await self.gateway(backend.url, logged=True, **options)
        client = await self.http2()
        if ask:
            client.ask(1, POST, ends=False)
        client.peer.send(*pieces)
        code, reason = await client.error()
        assert code == frames.ENHANCE_YOUR_CALM, (code, reason)
        await eventually(lambda: not self.connections(), "it is gone")
        assert self.in_flight() == [0]
        codes = {line["code"] for line in await self.logged()}
        assert "ENHANCE_YOUR_CALM" in codes or "CLIENT_GONE" in codes
        return reason

    async def test_pings(self) -> None:
        """Each wants an answer."""
        await self.flooded(frames.frame(frames.PING, 0, 0, b"12345678") * 10_000)

    async def test_settings(self) -> None:
        """Each wants an acknowledgement."""
        await self.flooded(frames.settings([]) * 10_000)

    async def test_priorities(self) -> None:
        """They are ignored, but not for free."""
        await self.flooded(frames.frame(frames.PRIORITY, 0, 3, bytes(4) + b"\x10") * 10_000)

    async def test_windows(self) -> None:
        """Nothing waits for so many."""
        await self.flooded(frames.window_update(0, 1) * 10_000)

    async def test_empty_data(self) -> None:
        """It carries nothing and ends nothing."""
        await self.flooded(frames.frame(frames.DATA, 0, 1) * 10_000, ask=True)

    async def test_unknown_frames(self) -> None:
        """They are ignored, but not for free."""
        await self.flooded(frames.frame(0x42, 0, 0) * 10_000)

    async def test_continuations(self) -> None:
        """A head has an end."""
        begin = frames.frame(frames.HEADERS, frames.END_STREAM, 1)
        await self.flooded(begin, frames.frame(frames.CONTINUATION, 0, 1, b"") * 10_000)

    async def test_a_large_head_in_continuations(self) -> None:
        """Nothing is kept of a head beyond the limit."""
        begin = frames.frame(frames.HEADERS, frames.END_STREAM, 1)
        await self.flooded(begin, frames.frame(frames.CONTINUATION, 0, 1, bytes(16000)) * 10)

    async def test_rapid_resets(self) -> None:
        """CVE-2023-44487: requests that are broken off as soon as they are made."""
        block = Encoder().encode(HEAD)
        pairs = [
            frames.headers(stream, block, 16384, is_last=True) + frames.rst_stream(stream, 8)
            for stream in range(1, 4001, 2)
        ]
        await self.flooded(*pairs, entrypoint="http2 { max_resets_per_second = 5 }")

    async def test_resets_that_we_are_made_to_send(self) -> None:
        """CVE-2025-8671: the same, by faults that have us break them off."""
        block = Encoder().encode(HEAD)
        pairs = [
            frames.headers(stream, block, 16384, is_last=True) + frames.window_update(stream, 0)
            for stream in range(1, 4001, 2)
        ]
        await self.flooded(*pairs, entrypoint="http2 { max_resets_per_second = 5 }")

    async def test_too_many_streams(self) -> None:
        """Those beyond the limit are refused, and not without end."""
        block = Encoder().encode(HEAD)
        heads = [frames.headers(s, block, 16384, is_last=True) for s in range(1, 8001, 2)]
        await self.flooded(
            *heads, entrypoint="http2 {\n max_concurrent_streams = 4\n max_resets_per_second = 5\n}"
        )

    async def test_a_window_that_never_opens(self) -> None:
        """A client that takes nothing of an answer does not keep it, nor its backend."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint='timeouts { write_idle = "50ms" }')
        client = await self.http2((frames.INITIAL_WINDOW_SIZE, 0))
        client.ask(1)
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000)
        assert (await client.until(frames.RST_STREAM))[3] == frames.NUMBER.pack(frames.CANCEL)
        await peer.ended()
        assert self.in_flight() == [0]

    async def test_a_body_that_does_not_come(self) -> None:
        """It is waited for as long as one in HTTP/1.1."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint='timeouts { request_body_idle = "50ms" }')
        client = await self.http2()
        client.ask(1, POST, ends=False)
        assert (await client.head())[1][b":status"] == b"408"

    async def test_a_head_that_does_not_end(self) -> None:
        """The connection is closed when its time is over."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint='timeouts { request_head = "50ms" }')
        client = await self.http2()
        client.peer.send(frames.frame(frames.HEADERS, frames.END_STREAM, 1, b""))
        assert (await client.error())[0] == frames.NO_ERROR

    async def test_silence(self) -> None:
        """A connection without a request is closed in good order."""
        await self.gateway(entrypoint='timeouts { keep_alive_idle = "50ms" }')
        client = await self.http2()
        assert (await client.error())[0] == frames.NO_ERROR


class Http2OnTwistedsTransportsTests(Http2Tests):
    stock = True

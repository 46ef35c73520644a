"""HTTP/2 towards backends, over real sockets."""

from __future__ import annotations

from a3s_gateway.protocol.http2 import frames
from a3s_gateway.transport.endpoints import server_endpoint
from a3s_gateway.transport.tls_server import ServerPolicy, server_tls
from tests.http2 import Codes, Http2Backend, Http2TestCase
from tests.integration.test_tls import TlsTestCase
from tests.support import GET, OK, Backend, eventually, gather, passed, reactor, unsent

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class ExchangeTests(Http2TestCase):
    """One exchange after the other, by prior knowledge."""

    async def test_a_request_and_its_answer(self) -> None:
        """Head and body travel both ways, and the connection is used again."""
        backend = await self.h2_backend()
        await self.gateway(backend.url + "/base", logged=True)
        client = await self.client()
        for _ in range(3):
            client.send(
                b"POST /a?b HTTP/1.1\r\nHost: example.com\r\nX-End: 1\r\nContent-Length: 4\r\n\r\n"
                b"body"
            )
            answer = await client.response()
            assert (answer.status, answer.body) == (200, b"ok")
        assert len(backend.peers) == 1
        request = backend.requests_seen[-1]
        assert request.fields[:4] == [
            (":method", "POST"), (":scheme", "http"), (":authority", "example.com"),
            (":path", "/base/a?b"),
        ]  # fmt: skip
        assert (request.find("x-end"), request.find("content-length")) == ("1", "4")
        assert request.body == b"body"
        await self.all_quiet()
        lines = await self.logged()
        assert [line["status"] for line in lines] == [200] * 3

    async def test_requests_share_a_connection(self) -> None:
        """Many at a time, answered in whatever order."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        clients = [await self.client() for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(GET.replace(b"/ ", b"/%d " % number))
        peer = await backend.accept()
        await peer.request(4)
        for request in reversed(peer.requests):
            peer.answer(request, str(request.find(":path")).encode())
        answers = await gather(*(client.response() for client in clients))
        assert [answer.body for answer in answers] == [b"/%d" % number for number in range(5)]
        assert len(backend.peers) == 1
        await self.all_quiet()

    async def test_answers_without_a_body(self) -> None:
        """HEAD, 204 and 304 end with their heads."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        cases = (("HEAD", 200, "7"), ("GET", 204, None), ("GET", 304, "9"))
        for number, (method, status, length) in enumerate(cases):
            client.send(GET.replace(b"GET", method.encode()))
            peer = backend.peers[0] if backend.peers else await backend.accept()
            request = await peer.request(number)
            fields = [("content-length", length)] if length else []
            peer.head(request, *fields, status=status, end=True)
            answer = await client.response(method=method)
            assert (answer.status, answer.head.find("content-length")) == (status, length)
        await self.all_quiet()

    async def test_a_stream_with_trailers_both_ways(self) -> None:
        """Pieces go on as they come, trailers follow them."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(CHUNKED, b"3\r\none\r\n")
        peer = await backend.accept()
        request = await peer.request()
        await peer.until(lambda: request.body == b"one", "the first piece")
        client.send(b"3\r\ntwo\r\n0\r\nX-Sum: 6\r\n\r\n")
        await peer.until(lambda: request.is_ended, "the end")
        assert (request.body, request.trailers) == (b"onetwo", [("x-sum", "6")])
        peer.head(request, ("x-a", "b"))
        assert (await client.head()).find("x-a") == "b"
        peer.data(request, b"first")
        assert await client.chunk() == b"first"
        peer.trailers(request, ("grpc-status", "0"))
        body, trailers = await client.chunked()
        assert (body, trailers) == (b"", [("grpc-status", "0")])
        await self.all_quiet()

    async def test_interim_answers_are_passed_on(self) -> None:
        """103 and, for a client that waits for it, 100."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(POST[:-4].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        peer = await backend.accept()
        request = await peer.request()
        assert request.find("expect") == "100-continue"
        peer.head(request, ("link", "</a>"), status=103)
        peer.head(request, status=100)
        assert [(await client.head()).status for _ in range(2)] == [103, 100]
        client.send(b"body")
        await peer.until(lambda: request.is_ended, "the body")
        peer.answer(request, b"ok")
        assert (await client.response()).body == b"ok"

    async def test_big_bodies_both_ways(self) -> None:
        """More than all windows, in full."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        data = bytes(range(256)) * 4096
        client.send(POST[:-4].replace(b": 4", b": %d" % len(data)), data)
        peer = await backend.accept()
        request = await peer.request()
        await peer.until(lambda: request.is_ended, "the upload")
        assert request.body == data
        peer.head(request, ("content-length", str(len(data))))
        rest = data

        def send_more() -> bool:
            nonlocal rest
            while room := min(peer.h2.local_flow_control_window(request.stream), 16384, len(rest)):
                peer.h2.send_data(request.stream, rest[:room], end_stream=room == len(rest))
                rest = rest[room:]
            peer.flush()
            return not rest

        await eventually(send_more, "all of the answer is sent")
        assert (await client.response()).body == data
        await self.all_quiet()


class BackPressureTests(Http2TestCase):
    """Whoever is slow holds the other side back."""

    async def test_a_slow_client_holds_the_backend_back(self) -> None:
        """The backend may send no more than its window, whatever others do on the connection."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        slow, quick = await self.client(), await self.client()
        slow.stop_reading()
        slow.send(GET)
        peer = await backend.accept()
        request = await peer.request()
        peer.head(request)
        sent = 0

        def send_more() -> bool:
            nonlocal sent
            room = min(peer.h2.local_flow_control_window(request.stream), 16384)
            if room:
                peer.data(request, bytes(room))
                sent += room
            return not room

        for _ in range(3):
            await eventually(send_more, "no window")
            await passed(0.05)
        assert sent < 8 * 1024 * 1024
        quick.send(GET)
        peer.answer(await peer.request(1), b"ok")
        assert (await quick.response()).body == b"ok"
        slow.read_on()
        await eventually(lambda: not send_more(), "the window opens")
        slow.reset()
        await peer.until(lambda: request.reset is not None, "the stream is reset")
        await self.all_quiet()

    async def test_a_slow_backend_holds_the_client_back(self) -> None:
        """The gateway reads no more of an upload than it can pass on."""
        backend = await self.h2_backend(answers=False)
        backend.takes_bodies = False
        await self.gateway(backend.url)
        client = await self.client()
        client.send(CHUNKED)
        peer = await backend.accept()
        request = await peer.request()
        piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        count = 0

        def is_held_back() -> bool:
            nonlocal count
            if not unsent(client.transport):
                client.send(piece)
                count += 1
            return unsent(client.transport) > 0

        for _ in range(3):
            await eventually(is_held_back, "nothing more is read")
            await passed(0.05)
        assert len(request.body) == 65535
        backend.takes_bodies = True
        peer.take(request, 65535)
        peer.flush()
        client.send(b"0\r\n\r\n")
        await peer.until(lambda: request.is_ended, "the rest")
        assert len(request.body) == count * 0x10000


class FailureTests(Http2TestCase):
    """What goes wrong, and what is repeated."""

    async def test_a_refused_stream_is_sent_again(self) -> None:
        """Even one with a body: the backend has not looked at it."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url, logged=True)
        client = await self.client()
        client.send(POST)
        peer = await backend.accept()
        peer.refuse(await peer.request(), 7)
        again = await peer.request(1)
        await peer.until(lambda: again.is_ended, "the body")
        assert again.body == b"body"
        peer.answer(again, b"ok")
        assert (await client.response()).body == b"ok"
        await self.all_quiet()

    async def test_a_stream_that_is_always_refused_goes_to_the_next_backend(self) -> None:
        """After that the client is told."""
        backends = [await self.h2_backend(answers=False) for _ in range(2)]
        await self.gateway(*(each.url for each in backends))
        client = await self.client()
        client.send(POST)
        for backend in backends:
            peer = await backend.accept()
            for number in range(2):
                peer.refuse(await peer.request(number), 7)
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (502, "UPSTREAM_RESET")
        await self.all_quiet()

    async def test_requests_above_the_last_stream_are_sent_again(self) -> None:
        """GOAWAY: what the backend has seen is finished, the rest goes to a new connection."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        clients = [await self.client() for _ in range(2)]
        for number, client in enumerate(clients):
            client.send(POST)
            peer = backend.peers[0] if backend.peers else await backend.accept()
            await peer.request(number)
        peer.go_away(1)
        second = await backend.accept()
        request = await second.request()
        await second.until(lambda: request.is_ended, "the body")
        second.answer(request, b"new")
        assert (await clients[1].response()).body == b"new"
        peer.answer(peer.requests[0], b"old")
        assert (await clients[0].response()).body == b"old"
        assert await peer.ended() == "closed"
        await self.all_quiet()
        assert self.pools()[0].open == 1

    async def test_requests_without_a_body_that_are_refused(self) -> None:
        """They are sent again, to the next backend in the end, whatever their method."""
        for wire in (GET, POST.replace(b": 4", b": 0")[:-4]):
            backends = [await self.h2_backend(answers=False) for _ in range(2)]
            await self.gateway(*(each.url for each in backends))
            client = await self.client()
            client.send(wire)
            first = await backends[0].accept()
            for number in range(2):
                first.refuse(await first.request(number), 7)
            second = await backends[1].accept()
            second.refuse(await second.request(), 7)
            second.answer(await second.request(1), b"ok")
            assert (await client.response()).body == b"ok"
            await self.all_quiet()

    async def test_requests_without_a_body_above_the_last_stream(self) -> None:
        """GOAWAY: they go to a new connection."""
        for wire in (GET, POST.replace(b": 4", b": 0")[:-4]):
            backend = await self.h2_backend(answers=False)
            await self.gateway(backend.url)
            client = await self.client()
            client.send(wire)
            peer = await backend.accept()
            await peer.request()
            peer.go_away(0)
            second = await backend.accept()
            second.answer(await second.request(), b"ok")
            assert (await client.response()).body == b"ok"
            await self.all_quiet()

    async def test_a_reset_before_the_answer(self) -> None:
        """Who may have acted on the request is not asked again."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        peer.refuse(await peer.request(), 2)
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (502, "UPSTREAM_RESET")
        await self.all_quiet()

    async def test_a_reset_in_the_middle_of_an_answer(self) -> None:
        """The client cannot take it for complete."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        request = await peer.request()
        peer.head(request)
        await client.head()
        peer.data(request, b"some")
        assert await client.chunk() == b"some"
        peer.refuse(request, 2)
        assert await client.ended() == "reset"
        await self.all_quiet()

    async def test_a_client_that_goes_away(self) -> None:
        """The stream is reset (CANCEL), in whatever phase; the connection goes on."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        peer = None
        for number, with_head in enumerate((False, True)):
            client = await self.client()
            client.send(GET)
            peer = peer or await backend.accept()
            request = await peer.request(number)
            if with_head:
                peer.head(request)
                await client.head()
            client.reset()
            await peer.until(lambda request=request: request.reset == 8, "CANCEL")
        await self.all_quiet()
        assert not peer.end

    async def test_no_head_in_time(self) -> None:
        """504, and the stream is reset; the connection goes on."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url, balancing='request_timeout = "100ms"')
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        request = await peer.request()
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (504, "UPSTREAM_TIMEOUT")
        await peer.until(lambda: request.reset == 8, "CANCEL")
        client.send(GET)
        peer.answer(await peer.request(1), b"ok")
        assert (await client.response()).body == b"ok"

    async def test_an_answer_that_stands_still_or_takes_too_long(self) -> None:
        """Both limits cut it off."""
        for limit in ("stream_idle_timeout", "stream_total_timeout"):
            backend = await self.h2_backend(answers=False)
            await self.gateway(backend.url, balancing=f'{limit} = "100ms"')
            client = await self.client()
            client.send(GET)
            peer = await backend.accept()
            request = await peer.request()
            peer.head(request)
            await client.head()
            assert await client.ended() == "reset"
            await peer.until(lambda request=request: request.reset == 8, "CANCEL")

    async def test_a_connection_that_breaks(self) -> None:
        """A GET is sent again on another one, a POST is not."""
        backend = await self.h2_backend()
        await self.gateway(backend.url)
        assert (await self.exchange(GET)).status == 200
        backend.answers = False
        clients = [await self.client() for _ in range(2)]
        peer = backend.peers[0]
        for number, wire in enumerate((GET, POST)):
            clients[number].send(wire)
            await peer.request(1 + number)
        backend.answers = True
        peer.reset()
        answers = await gather(*(client.response() for client in clients))
        assert [answer.status for answer in answers] == [200, 502]
        await self.all_quiet()

    async def test_a_backend_that_breaks_the_rules(self) -> None:
        """It is told so, and everything on the connection fails."""
        for wire in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\x00\x00\x04\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02",  # PUSH_PROMISE
            b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\xff",  # a block that is cut short
        ):
            backend = await self.h2_backend(answers=False)
            await self.gateway(backend.url)
            client = await self.client()
            client.send(GET)
            peer = await backend.accept()
            await peer.request()
            peer.transport.write(wire)
            answer = await client.response()
            assert (answer.status, answer.error["code"]) == (502, "UPSTREAM_PROTOCOL")
            await peer.ended()
            await self.all_quiet()

    async def test_answers_that_break_the_rules(self) -> None:
        """They cost their stream only."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        peer = None
        blocks = (
            b"",  # no status
            b"\x88\x88",  # two of them
            b"\x88\x00\x01A\x01b",  # a name in upper case
            b"\x88\x00\x0aconnection\x05close",
            b"\x88\x0f\x0d\x011",  # Content-Length: 1, and no body
            b"\x08\x03101",
        )
        for number, block in enumerate(blocks):
            client.send(GET)
            peer = peer or await backend.accept()
            request = await peer.request(number)
            stream = request.stream.to_bytes(4)
            peer.transport.write(len(block).to_bytes(3) + b"\x01\x05" + stream + block)
            answer = await client.response()
            assert (answer.status, answer.error["code"]) == (502, "UPSTREAM_PROTOCOL"), block
        assert not peer.end
        await self.all_quiet()


class FloodTests(Http2TestCase):
    """A backend that makes work and brings nothing: its connection ends, its clients are told."""

    async def flooded(
        self, *pieces: bytes, head: bool = False, code: str = "UPSTREAM_PROTOCOL"
    ) -> None:
        """Send all of it while an exchange is under way."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        request = await peer.request()
        if head:
            peer.head(request)
            assert (await client.head()).status == 200
        peer.transport.write(b"".join(pieces))
        if head:
            assert await client.ended() == "reset"
        else:
            answer = await client.response()
            assert (answer.status, answer.error["code"]) == (502, code)
        await peer.ended()
        # What it was sent is no multiple of what it sent: answers stop with the allowance.
        assert peer.total < 64 * 1024
        assert self.pools()[0].open == 0
        await self.all_quiet()

    async def test_pings(self) -> None:
        """Each wants an answer."""
        await self.flooded(frames.frame(frames.PING, 0, 0, b"12345678") * 10_000)

    async def test_settings(self) -> None:
        """Each wants an acknowledgement."""
        await self.flooded(frames.settings([]) * 10_000)

    async def test_windows(self) -> None:
        """Nothing waits for so many, neither on the connection nor on a stream."""
        for stream in (0, 1):
            await self.flooded(frames.window_update(stream, 1) * 10_000)

    async def test_empty_data(self) -> None:
        """It carries nothing and ends nothing."""
        await self.flooded(frames.frame(frames.DATA, 0, 1) * 10_000, head=True)

    async def test_unknown_frames(self) -> None:
        """They are ignored, but not for free."""
        await self.flooded(frames.frame(0x42, 0, 0) * 10_000)

    async def test_continuations(self) -> None:
        """A head has an end, and nothing is kept of it beyond the limit."""
        begin = frames.frame(frames.HEADERS, 0, 1, b"\x88")
        for size, count in ((0, 10_000), (16_000, 40)):
            more = frames.frame(frames.CONTINUATION, 0, 1, bytes(size))
            await self.flooded(begin, more * count)

    async def test_interim_heads(self) -> None:
        """They do not put the answer off for ever, though they cost their stream only."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        request = await peer.request()
        for _ in range(100):
            peer.transport.write(
                frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x08\x03103")
            )
        await peer.until(lambda: request.reset is not None, "the reset")
        await self.all_quiet()
        assert not peer.end

    async def test_resets(self) -> None:
        """Of streams that are over: they cost what control frames do."""
        await self.flooded(frames.rst_stream(1, 2) * 10_000, code="UPSTREAM_RESET")


class PoolTests(Http2TestCase):
    """How many connections there are, and how long."""

    async def test_a_full_connection_is_joined_by_another(self) -> None:
        """The backend says how many requests it takes on one."""
        backend = await self.h2_backend(answers=False, settings={Codes.MAX_CONCURRENT_STREAMS: 2})
        await self.gateway(backend.url)
        clients = [await self.client() for _ in range(5)]
        clients[0].send(GET)
        first = await backend.accept()
        await first.until(lambda: first.is_greeted and first.requests, "the first request")
        for client in clients[1:]:
            client.send(GET)
        await eventually(lambda: len(backend.requests_seen) == 5)
        assert sorted(len(peer.requests) for peer in backend.peers) == [1, 2, 2]
        for peer in backend.peers:
            for request in peer.requests:
                peer.answer(request, b"ok")
        answers = await gather(*(client.response() for client in clients))
        assert [answer.status for answer in answers] == [200] * 5
        await self.all_quiet()

    async def test_the_number_of_connections_is_limited(self) -> None:
        """Whoever finds no room waits for it, but not for ever."""
        backend = await self.h2_backend(answers=False, settings={Codes.MAX_CONCURRENT_STREAMS: 1})
        await self.gateway(
            backend.url, balancing='pool { max_connections = 1 }\n connect_timeout = "200ms"'
        )
        clients = [await self.client() for _ in range(3)]
        clients[0].send(GET)
        peer = await backend.accept()
        await peer.until(lambda: peer.is_greeted and peer.requests, "the first request")
        for client in clients[1:]:
            client.send(GET)
        await eventually(lambda: self.waiting() == 2)
        peer.answer(peer.requests[0], b"ok")
        assert (await clients[0].response()).body == b"ok"
        await peer.request(1)
        answer = await clients[2].response()
        assert (answer.status, answer.error["code"]) == (503, "UPSTREAM_BUSY")
        peer.answer(peer.requests[1], b"ok")
        assert (await clients[1].response()).body == b"ok"
        assert len(backend.peers) == 1
        await self.all_quiet()

    async def test_requests_wait_for_the_connection_that_is_being_opened(self) -> None:
        """Twenty at once need one connection, not twenty."""
        backend = await self.h2_backend()
        await self.gateway(backend.url)
        answers = await gather(*(self.exchange(GET) for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert len(backend.peers) == 1

    async def test_nobody_listens(self) -> None:
        """All who wait are told, with the reason of the attempt."""
        backend = await self.h2_backend()
        await self.gateway(backend.url)
        await backend.port.stopListening()
        self.ports.remove(backend.port)
        answers = await gather(*(self.exchange(GET) for _ in range(5)))
        assert {answer.error["code"] for answer in answers} == {"UPSTREAM_CONNECT"}
        await self.all_quiet()
        assert self.pools()[0].open == 0

    async def test_an_idle_connection_is_closed(self) -> None:
        """With GOAWAY, after `idle_timeout`."""
        backend = await self.h2_backend()
        await self.gateway(backend.url, balancing='pool { idle_timeout = "50ms" }')
        assert (await self.exchange(GET)).status == 200
        assert (self.pools()[0].open, self.pools()[0].idle) == (1, 1)
        peer = backend.peers[0]
        await peer.ended()
        assert peer.goaway == 0
        assert self.pools()[0].open == 0

    async def test_a_reload_takes_the_servers_away(self) -> None:
        """Its idle connections go with the generation."""
        backend = await self.h2_backend()
        await self.gateway(backend.url)
        assert (await self.exchange(GET)).status == 200
        await self.gateways[-1].shutdown()
        await backend.peers[0].ended()


class NegotiationTests(TlsTestCase, Http2TestCase):
    """Which version is spoken to servers with TLS."""

    async def h2_backend_by_tls(self, *alpn: bytes) -> Http2Backend:
        tls = server_tls([(self.cert, self.key)], ServerPolicy(alpn=alpn))
        return await self.h2_backend(tls=tls)

    async def test_http_2_is_spoken_where_the_server_wants_it(self) -> None:
        """All requests share the connection on which it said so."""
        backend = await self.h2_backend_by_tls(b"h2", b"http/1.1")
        await self.gateway(
            self.url(backend), balancing=f'tls {{ ca_file = "{self.ca.cert_path}" }}'
        )
        answers = await gather(*(self.exchange(GET) for _ in range(5)))
        assert {answer.status for answer in answers} == {200}
        assert len(backend.peers) == 1
        assert backend.requests_seen[0].find(":scheme") == "https"
        assert (self.pools()[0].open, self.pools()[0].idle) == (1, 1)

    async def test_http_1_1_is_spoken_where_the_server_does_not_want_it(self) -> None:
        """The connection on which it said so is used, not thrown away."""
        backend = await self.tls_backend()
        await self.gateway(
            self.url(backend), balancing=f'tls {{ ca_file = "{self.ca.cert_path}" }}'
        )
        for _ in range(2):
            assert (await self.exchange(GET)).status == 200
        assert len(backend.peers) == 1
        answers = await gather(*(self.exchange(GET) for _ in range(5)))
        assert {answer.status for answer in answers} == {200}

    async def test_the_configuration_may_insist(self) -> None:
        """On HTTP/1.1 though HTTP/2 could be had, and the other way round."""
        both = Backend(OK)
        offer = server_tls([(self.cert, self.key)], ServerPolicy(alpn=(b"h2", b"http/1.1")))
        endpoint = server_endpoint(reactor, "127.0.0.1", 0, tls=offer, stock=True)
        both.port = await endpoint.listen(both)
        self.ports.append(both.port)
        self.backends.append(both)
        tls = f'tls {{ ca_file = "{self.ca.cert_path}" }}'
        await self.gateway(self.url(both), balancing=f'protocol = "http1"\n{tls}')
        assert (await self.exchange(GET)).body == b"ok"
        old = await self.tls_backend()
        await self.gateway(self.url(old), balancing=f'protocol = "http2"\n{tls}')
        answer = await self.exchange(GET)
        assert (answer.status, answer.error["code"]) == (502, "UPSTREAM_CONNECT")

    async def test_prior_knowledge_by_configuration(self) -> None:
        """`http2` with an `http` server, as `h2c` does."""
        backend = await self.h2_backend()
        await self.gateway(backend.url.replace("h2c", "http"), balancing='protocol = "http2"')
        assert (await self.exchange(GET)).status == 200
        assert backend.requests_seen

    async def test_a_server_that_changes_its_mind(self) -> None:
        """When no connection is left it is asked anew."""
        old = await self.tls_backend()
        port = old.port.getHost().port
        await self.gateway(self.url(old), balancing=f'tls {{ ca_file = "{self.ca.cert_path}" }}')
        assert (await self.exchange(GET)).status == 200
        await old.port.stopListening()
        self.ports.remove(old.port)
        old.peers[0].close()
        await eventually(lambda: self.pools()[0].open == 0)
        new = Http2Backend()
        tls = server_tls([(self.cert, self.key)], ServerPolicy(alpn=(b"h2",)))
        new.port = await server_endpoint(reactor, "127.0.0.1", port, tls=tls, stock=True).listen(
            new
        )
        self.ports.append(new.port)
        self.backends.append(new)
        assert (await self.exchange(GET)).status == 200
        assert new.requests_seen


class StockNegotiationTests(NegotiationTests):
    stock = True


class StockExchangeTests(ExchangeTests):
    stock = True


class StockBackPressureTests(BackPressureTests):
    stock = True


class StockFailureTests(FailureTests):
    stock = True

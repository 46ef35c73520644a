# ruff: noqa: SLF001 - looks at what the gateway keeps of a tunnel
"""Upgrades: a request that becomes a tunnel, on real sockets."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import directlyProvides

from a3s_gateway.protocol.websocket import GOING_AWAY, GOING_AWAY_MASKED, accept_of
from tests.support import (
    GET,
    KEY,
    OK,
    OPENING,
    SWITCHED,
    GatewayTestCase,
    Peer,
    eventually,
    gather,
    passed,
)

GUARD = """
from a3s_gateway.extension import *

class GuardConfig(PluginSettings):
    '''Guards.'''

class Guard:
    def __init__(self, config, effects):
        pass

    async def __call__(self, request, next):
        if request.headers.find("authorization") != "Bearer t":
            return Response(401, Headers.of(), Body.of(b""))
        headers = request.headers.plus(Header.of("X-Added", "1"))
        response = await next(evolve(request, path=f"/v2{request.path}", headers=headers))
        return evolve(response, headers=response.headers.plus(Header.of("X-Told", "2")))

PLUGIN = Plugin("middleware", "guard", GuardConfig, Guard)
"""


def half_closing(peer: Peer) -> Peer:
    """Let this end be told of the other's end, and go on."""
    directlyProvides(peer, IHalfCloseableProtocol)
    peer.readConnectionLost = lambda: peer.received.extend(b"<end>") or peer._look()  # type: ignore[attr-defined]
    peer.writeConnectionLost = lambda: None  # type: ignore[attr-defined]
    return peer


class TunnelTestCase(GatewayTestCase):
    """Opens tunnels through a gateway with one backend."""

    async def all_is_over(self) -> None:
        """Wait until nothing is left of any exchange."""
        gateway = self.gateways[-1]
        await eventually(lambda: self.in_flight() == [0], "the lease to be back")
        await eventually(lambda: not self.pools()[0].open, "the backend's connection to be gone")
        await eventually(lambda: not gateway.health().active_connections, "the client's to be gone")
        await eventually(lambda: gateway.snapshot().generation.holds == 0, "no exchange")


class OpeningTests(TunnelTestCase):
    """The way to a tunnel, and the ways that do not lead there."""

    async def test_both_heads_travel_end_to_end(self) -> None:
        """Cookies, credentials, subprotocols and extensions are the two sides' own affair."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(OPENING)
        peer = await backend.accept()
        head = await peer.head()
        self.assertEqual(head.first, "GET /chat?room=1 HTTP/1.1")
        self.assertEqual(
            (head.all("upgrade"), head.all("connection")), (["websocket"], ["Upgrade"])
        )
        for name, value in (
            ("host", "chat.test"),
            ("sec-websocket-key", KEY),
            ("sec-websocket-version", "13"),
            ("origin", "http://chat.test"),
            ("cookie", "a=1; b=2"),
            ("authorization", "Bearer t"),
            ("sec-websocket-protocol", "soap, wamp"),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
            ("x-forwarded-for", "127.0.0.1"),
        ):
            self.assertEqual(head.all(name), [value])
        self.assertNotIn("content-length", head.names)
        self.assertNotIn("transfer-encoding", head.names)
        self.assertEqual(client.total, 0)
        peer.send(SWITCHED)
        answer = await client.head()
        self.assertEqual(answer.first, "HTTP/1.1 101 Switching Protocols")
        self.assertEqual(
            (answer.all("upgrade"), answer.all("connection")), (["websocket"], ["Upgrade"])
        )
        self.assertEqual(answer.find("sec-websocket-accept"), accept_of(KEY))
        self.assertEqual(answer.find("sec-websocket-protocol"), "wamp")
        self.assertEqual(answer.find("sec-websocket-extensions"), "permessage-deflate")
        self.assertEqual(answer.find("set-cookie"), "c=3")
        self.assertEqual(answer.find("x-request-id"), head.find("x-request-id"))

    async def test_bytes_behind_either_head_are_not_lost(self) -> None:
        """They may come with the head, in one piece; none goes to the backend before its 101."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(OPENING, b"early")
        peer = await backend.accept()
        await peer.head()
        client.send(b" bird")
        await passed(0.02)
        self.assertEqual(bytes(peer.received), b"")
        peer.send(SWITCHED, b"welcome")
        self.assertEqual((await client.head()).status, 101)
        self.assertEqual(await client.bytes(7), b"welcome")
        self.assertEqual(await peer.bytes(10), b"early bird")
        client.send(b"ping")
        self.assertEqual(await peer.bytes(4), b"ping")
        peer.send(b"pong")
        self.assertEqual(await client.bytes(4), b"pong")

    async def test_a_client_that_does_not_wait_is_held_back(self) -> None:
        """What it sends before the answer is kept up to a bound; afterwards all of it arrives."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(OPENING, bytes(8_000_000))
        peer = await backend.accept()
        await peer.head()
        await passed(0.05)
        (connection,) = self.connections()
        self.assertLess(len(connection._codec._buffer), 256 * 1024)
        peer.send(SWITCHED)
        await peer.bytes(8_000_000)

    async def test_a_refusal_is_an_answer_like_any_other(self) -> None:
        """Its status, fields and body arrive, and both connections can be used again."""
        backend = await self.backend(
            b"HTTP/1.1 403 Forbidden\r\nX-Why: no\r\nContent-Length: 2\r\n\r\nno"
        )
        await self.gateway(backend.url)
        client = await self.client()
        for request in (OPENING, OPENING, GET):
            client.send(request)
            answer = await client.response()
            self.assertEqual((answer.status, answer.body), (403, b"no"))
            self.assertEqual(answer.head.find("x-why"), "no")
            self.assertNotIn("connection", answer.head.names)
        self.assertEqual(len(backend.peers), 1)
        self.assertEqual([r.find("upgrade") for r in backend.requests], ["websocket"] * 2 + [None])

    async def test_the_backend_is_dialled_before_the_101(self) -> None:
        """Nobody is told that a tunnel is there that is not."""
        gateway = await self.gateway("http://127.0.0.1:1")
        answer = await self.exchange(OPENING)
        self.assertEqual((answer.status, answer.error["code"]), (502, "UPSTREAM_CONNECT"))
        self.assertEqual(gateway.health().active_connections, 1)

    async def test_a_false_101_is_a_broken_answer(self) -> None:
        """A wrong Sec-WebSocket-Accept, another protocol, no Connection, or nobody had asked."""
        backend = await self.backend()
        await self.gateway(backend.url)
        wrong = (
            SWITCHED.replace(accept_of(KEY).encode(), b"xxxxxxxxxxxxxxxxxxxxxxxxxxx="),
            SWITCHED.replace(b"Upgrade: WebSocket", b"Upgrade: h2c"),
            SWITCHED.replace(b"Connection: Upgrade\r\n", b""),
            SWITCHED.replace(b"Upgrade: WebSocket\r\n", b""),
        )
        for number, answer in enumerate(wrong):
            client = await self.client()
            client.send(OPENING)
            peer = backend.peers[-1] if number == -1 else await backend.accept()
            await peer.head()
            peer.send(answer)
            self.assertEqual((await client.response()).error["code"], "UPSTREAM_PROTOCOL")
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        peer.send(SWITCHED)
        self.assertEqual((await client.response()).error["code"], "UPSTREAM_PROTOCOL")

    async def test_what_is_no_handshake_is_refused(self) -> None:
        """At the edge; the backend hears nothing of it."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        for old, new, status in (
            (b"GET", b"PUT", 400),
            (b"Connection: keep-alive, Upgrade", b"Connection: keep-alive", 400),
            (KEY.encode(), b"short==", 400),
            (b"Sec-WebSocket-Key", b"X-Key", 400),
            (b"Origin", b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\nOrigin", 400),
            (b"Version: 13", b"Version: 8", 426),
            (b"Sec-WebSocket-Version", b"X-Version", 426),
        ):
            answer = await self.exchange(OPENING.replace(old, new))
            self.assertEqual(answer.status, status, (old, new))
            if status == 426:
                self.assertEqual(answer.head.find("sec-websocket-version"), "13")
                self.assertEqual(answer.error["code"], "UPGRADE_REQUIRED")
        self.assertEqual(backend.requests, [])

    async def test_where_there_can_be_no_upgrade_the_request_is_a_plain_one(self) -> None:
        """HTTP/1.0, a body, and other versions of HTTP."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        for request in (
            OPENING.replace(b"HTTP/1.1", b"HTTP/1.0"),
            GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c, TLS/1.0\r\n\r\n"),
            GET.replace(b"\r\n\r\n", b"\r\nUpgrade: foo/1\r\n\r\n"),
        ):
            self.assertEqual((await self.exchange(request)).status, 200)
        posted = OPENING.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nhi")
        self.assertEqual((await self.exchange(posted)).status, 200)
        self.assertEqual([each.find("upgrade") for each in backend.requests], [None] * 4)

    async def test_other_protocols_are_tunnelled_too(self) -> None:
        """The client's first choice that is no version of HTTP, with any method."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(
            b"POST /attach HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, SPDY/3.1\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        peer = await backend.accept()
        head = await peer.head()
        self.assertEqual((head.first, head.find("upgrade")), ("POST /attach HTTP/1.1", "spdy/3.1"))
        peer.send(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
        self.assertEqual((await client.head()).find("upgrade"), "spdy/3.1")
        client.send(b"in")
        self.assertEqual(await peer.bytes(2), b"in")


class BytesTests(TunnelTestCase):
    """What passes once the tunnel is there."""

    async def test_frames_arrive_byte_for_byte(self) -> None:
        """Of every size and kind, well-formed or not, however they are cut."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client, peer = await self.websocket(backend)
        chance = Random(6455)
        for way in ((client, peer), (peer, client)):
            sent = b""
            for size in (0, 1, 125, 126, 4096, 65535, 65536, 300_000) * 3:
                head = chance.randbytes(chance.randrange(2, 15))
                frame = head + chance.randbytes(size)
                cut = chance.randrange(len(frame))
                way[0].send(frame[:cut])
                if chance.random() < 0.5:
                    await passed(0)
                way[0].send(frame[cut:])
                sent += frame
            self.assertEqual(await way[1].bytes(len(sent)), sent)

    async def test_middlewares_apply_to_the_opening(self) -> None:
        """Paths and fields are changed, whoever may not pass is refused."""
        backend = await self.backend()
        plugin = self.log.with_suffix(".py")
        plugin.write_text(GUARD)
        await self.gateway(
            backend.url,
            rule='PathPrefix(`/`)"\n middlewares = ["guard", "small"] # "',
            more=f'plugins = ["{plugin}"]\n middlewares "guard" {{ type = "guard" }}\n'
            'middlewares "small" {\n type = "compress"\n min_size = 1 }',
        )
        refused = await self.exchange(OPENING.replace(b"Bearer t", b"Bearer x"))
        self.assertEqual(refused.status, 401)
        client = await self.client()
        client.send(OPENING)
        peer = await backend.accept()
        head = await peer.head()
        self.assertEqual(head.first, "GET /v2/chat?room=1 HTTP/1.1")
        self.assertEqual(head.find("x-added"), "1")
        peer.send(SWITCHED)
        answer = await client.head()
        self.assertEqual((answer.status, answer.find("x-told")), (101, "2"))
        client.send(b"ping")
        self.assertEqual(await peer.bytes(4), b"ping")
        peer.send(b"pong")
        self.assertEqual(await client.bytes(4), b"pong")


class EndTests(TunnelTestCase):
    """How tunnels end: nothing is left, and one line tells of it."""

    async def test_each_side_may_end_while_the_other_goes_on(self) -> None:
        """The end of one direction is handed on as such; the last one closes both."""
        # Twisted's own endpoints hide that a protocol wants to hear of a half-close.
        for closes in ("client",) if self.stock else ("client", "backend"):
            backend = await self.backend()
            await self.gateway(backend.url, logged=True)
            client, peer = await self.websocket(backend)
            first, other = (client, peer) if closes == "client" else (peer, client)
            half_closing(first)
            half_closing(other)
            first.send(b"last")
            first.transport.loseWriteConnection()
            self.assertEqual(await other.bytes(9), b"last<end>")
            other.send(b"still here")
            other.transport.loseWriteConnection()
            self.assertEqual(await first.bytes(15), b"still here<end>")
            await self.all_is_over()
            (line,) = await self.logged()
            self.log.unlink()
            self.assertEqual((line["status"], line["code"]), (101, None))

    async def test_a_reset_of_either_side_resets_the_other(self) -> None:
        """And the line in the log says which it was."""
        for breaks, code in (("client", "CLIENT_GONE"), ("backend", "UPSTREAM_RESET")):
            backend = await self.backend()
            await self.gateway(backend.url, logged=True)
            client, peer = await self.websocket(backend)
            client.send(b"12345")
            await peer.bytes(5)
            peer.send(b"123")
            await client.bytes(3)
            first, other = (client, peer) if breaks == "client" else (peer, client)
            first.reset()
            self.assertEqual(await other.ended(), "reset")
            await self.all_is_over()
            (line,) = await self.logged()
            self.log.unlink()
            self.assertEqual((line["status"], line["code"]), (101, code))
            self.assertEqual((line["request_bytes"], line["response_bytes"]), (5, 3))

    async def test_a_tunnel_in_which_nothing_is_said_ends(self) -> None:
        """Either direction keeps it alive; when neither does, both are closed in good order."""
        backend = await self.backend()
        await self.gateway(backend.url, balancing='stream_idle_timeout = "300ms"', logged=True)
        client, peer = await self.websocket(backend)
        for _ in range(4):
            await passed(0.1)
            client.send(b"x")
            await passed(0.1)
            peer.send(b"y")
        self.assertEqual((client.end, peer.end), ("", ""))
        self.assertEqual(await client.ended(), "closed")
        await peer.until(lambda: peer.end, "the end")
        await self.all_is_over()
        (line,) = await self.logged()
        self.assertEqual((line["status"], line["code"]), (101, "TUNNEL_IDLE"))

    async def test_a_drain_closes_with_1001_after_the_grace(self) -> None:
        """Both sides read why, if no frame is cut in two; the client may answer."""
        for piece, goodbye in ((b"\x82\x01x", True), (b"\x82\x05x", False)):
            backend = await self.backend()
            gateway = await self.gateway(backend.url, shutdown_timeout="300ms", logged=True)
            client, peer = await self.websocket(backend)
            half_closing(client)
            half_closing(peer)
            client.send(b"\x82\x81\0\0\0\0x")
            await peer.bytes(7)
            peer.send(piece)
            await client.bytes(3)
            done = gateway.shutdown()
            await passed(0.1)
            client.send(b"\x82\x81\0\0\0\0y")
            self.assertEqual(await peer.bytes(7), b"\x82\x81\0\0\0\0y")
            self.assertEqual(await peer.bytes(13), GOING_AWAY_MASKED + b"<end>")
            self.assertEqual(
                await client.bytes(9 if goodbye else 5), (GOING_AWAY if goodbye else b"") + b"<end>"
            )
            client.send(GOING_AWAY_MASKED)
            client.close()
            peer.close()
            await done
            (line,) = await self.logged()
            self.log.unlink()
            self.assertEqual((line["status"], line["code"]), (101, "SHUTTING_DOWN"))

    async def test_a_slow_side_holds_the_other_back(self) -> None:
        """Memory stays bounded in both directions, and everything arrives."""
        backend = await self.backend()
        await self.gateway(backend.url)
        client, peer = await self.websocket(backend)
        much = bytes(8_000_000)
        client.stop_reading()
        peer.stop_reading()
        client.send(much)
        peer.send(much)
        await passed(0.2)
        (connection,) = self.connections()
        (upstream,) = self.upstream_connections()
        for transport in (connection.transport, upstream.transport):
            buffered: Any = getattr(transport, "bufferedBytes", 0)
            self.assertLess(buffered, 1_000_000)
        client.read_on()
        peer.read_on()
        await gather(client.bytes(8_000_000), peer.bytes(8_000_000))


class OnTwistedsTransportsTests(OpeningTests):
    """The same openings over Twisted's own transports."""

    stock = True


class EndOnTwistedsTransportsTests(EndTests):
    """The same ends over Twisted's own transports."""

    stock = True

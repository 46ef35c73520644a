"""Upgrades to backends that speak HTTP/2: extended CONNECT (RFC 8441), on real sockets."""

from __future__ import annotations

from typing import Any

from a3s_gateway.protocol.websocket import accept_of
from tests.http2 import Codes, Http2Backend, Http2Request, Http2TestCase
from tests.integration.test_http2 import Client as Http2Client
from tests.integration.test_tunnels import half_closing
from tests.support import GET, KEY, OPENING, Peer, eventually

ALLOWED = {Codes.ENABLE_CONNECT_PROTOCOL: 1}
CONNECT = [
    (b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"http"),
    (b":path", b"/chat?a"), (b":authority", b"chat.test"), (b"sec-websocket-version", b"13"),
]  # fmt: skip


class BackendTunnelTests(Http2TestCase):
    """One stream towards the backend, whatever the client speaks."""

    async def begun(self, **options: Any) -> tuple[Peer, Any, Http2Request, Http2Backend]:
        """Have a client of HTTP/1.1 ask for a WebSocket."""
        backend = await self.h2_backend(answers=False, settings=ALLOWED)
        await self.gateway(backend.url, logged=True, **options)
        client = await self.client()
        client.send(OPENING)
        peer = await backend.accept()
        return client, peer, await peer.request(), backend

    async def opened(self, **options: Any) -> tuple[Peer, Any, Http2Request]:
        """Have it opened."""
        client, peer, request, _ = await self.begun(**options)
        peer.head(request, ("sec-websocket-protocol", "chat"))
        head = await client.head()
        assert (head.status, head.find("upgrade")) == (101, "websocket")
        assert head.find("sec-websocket-accept") == accept_of(KEY)
        assert head.find("sec-websocket-protocol") == "chat"
        return client, peer, request

    async def test_a_websocket_of_http_1(self) -> None:
        """The upgrade becomes a CONNECT; bytes and both ends pass."""
        client, peer, request = await self.opened()
        pseudo = dict(request.fields)
        assert (pseudo[":method"], pseudo[":protocol"]) == ("CONNECT", "websocket")
        assert pseudo[":scheme"] == "http"
        assert request.find("sec-websocket-version") == "13"
        for name in ("sec-websocket-key", "upgrade", "connection", "content-length"):
            assert request.find(name) is None
        client.send(b"ping")
        await peer.until(lambda: request.body == b"ping", "the client's bytes")
        peer.data(request, b"pong")
        assert await client.bytes(4) == b"pong"
        half_closing(client)
        peer.data(request, b"last", end=True)
        assert await client.bytes(9) == b"last<end>"
        client.send(b"more")
        await peer.until(lambda: request.body == b"pingmore", "what comes after that end")
        client.close()
        await peer.until(lambda: request.is_ended or request.reset is not None, "the client's end")
        await self.all_quiet()

    async def test_a_websocket_of_http_2(self) -> None:
        """CONNECT stays CONNECT, and its answer a 200."""
        backend = await self.h2_backend(answers=False, settings=ALLOWED)
        await self.gateway(backend.url)
        client = Http2Client(await self.client())
        client.ask(1, CONNECT, ends=False)
        peer = await backend.accept()
        request = await peer.request()
        assert (request.find(":path"), request.find(":authority")) == ("/chat?a", "chat.test")
        peer.head(request)
        assert (await client.head())[1][b":status"] == b"200"
        client.data(1, b"ping")
        await peer.until(lambda: request.body == b"ping", "the client's bytes")
        peer.data(request, b"pong", end=True)
        assert (await client.until(0))[3] == b"pong"
        client.data(1, b"", ends=True)
        await peer.until(lambda: request.is_ended, "the client's end")
        await self.all_quiet()

    async def test_a_refusal_is_passed_on(self) -> None:
        """With its body; the connection serves the next one."""
        client, peer, request, _ = await self.begun()
        peer.head(request, ("content-length", "2"), status=403)
        peer.data(request, b"no", end=True)
        answer = await client.response()
        assert (answer.status, answer.body) == (403, b"no")
        await self.all_quiet()

    async def test_a_backend_that_takes_none(self) -> None:
        """Its settings say so, so it hears nothing, and the client why."""
        backend = await self.h2_backend()
        await self.gateway(backend.url)
        client = await self.client()
        client.send(OPENING)
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (502, "UPSTREAM_NO_UPGRADE")
        client = await self.client()
        client.send(GET)
        assert (await client.response()).status == 200
        assert [request.find(":method") for request in backend.requests_seen] == ["GET"]
        await self.all_quiet()

    async def test_a_refused_stream_is_asked_for_again(self) -> None:
        """Nothing of it was looked at."""
        client, peer, request, backend = await self.begun()
        peer.refuse(request, 7)
        await eventually(lambda: len(backend.requests_seen) == 2, "another CONNECT")
        peer = backend.peers[-1]
        peer.head(backend.requests_seen[-1])
        assert (await client.head()).status == 101

    async def test_a_vanished_client_resets_the_stream(self) -> None:
        """The connection to the backend goes on."""
        client, peer, request = await self.opened()
        client.reset()
        await peer.until(lambda: request.reset is not None, "a reset")
        await self.all_quiet()
        assert not peer.end

    async def test_a_reset_by_the_backend_ends_the_client(self) -> None:
        """It does not look like a proper end."""
        client, peer, request = await self.opened()
        peer.refuse(request, 2)
        assert await client.ended() == "reset"
        await self.all_quiet()

    async def test_silence_ends_it(self) -> None:
        """The idle time-out is that of every tunnel."""
        client, peer, request = await self.opened(balancing='stream_idle_timeout = "100ms"')
        await client.ended()
        await peer.until(lambda: request.reset is not None, "a reset")
        (line,) = await self.logged()
        assert line["status"] == 101
        await self.all_quiet()

    async def test_a_backend_that_never_greets(self) -> None:
        """Its settings are awaited no longer than an answer."""
        backend = await self.backend()
        await self.gateway(
            backend.url.replace("http:", "h2c:"), balancing='request_timeout = "100ms"'
        )
        client = await self.client()
        client.send(OPENING)
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (504, "UPSTREAM_TIMEOUT")

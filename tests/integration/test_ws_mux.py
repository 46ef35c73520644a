"""`mux@internal` with real sockets and wsproto's client."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

from h2.events import RemoteSettingsChanged, ResponseReceived, StreamEnded
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import FrameProtocol

from a3s_gateway import Gateway, GatewayConfig
from a3s_gateway.admin.shown import channels
from a3s_gateway.protocol.ws_messages import framed
from tests.integration.test_http2_tunnels import FIELDS, Client
from tests.redis_server import RedisServer
from tests.support import GatewayTestCase, Peer, eventually, gather

ROUTER = """
routers "mux" {
  rule = "PathPrefix(`/`)"
  service = "mux@internal"
}
"""


class WebSocket:
    """A client that is a WebSocket's; what comes is read by whoever asks for it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.connection = WSConnection(ConnectionType.CLIENT)
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.peer.send(self.connection.send(event))

    def say(self, *texts: str) -> None:
        for text in texts:
            self.send(TextMessage(text))

    async def event(self) -> Event:
        """Take the next event."""
        while not self.events:
            await self.peer.until(lambda: self.peer.received or self.peer.end, "an event")
            if not self.peer.received:
                raise AssertionError(f"the connection has ended: {self.peer.end}")
            self.connection.receive_data(bytes(self.peer.received))
            self.peer.received.clear()
            self.events += self.connection.events()
        return self.events.pop(0)

    async def heard(self) -> str:
        """Take the next text message whole."""
        text = ""
        while True:
            event = await self.event()
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                return text

    async def ask(self, text: str) -> str:
        self.say(text)
        return await self.heard()

    async def closed(self) -> CloseConnection:
        """Take everything up to the close, and answer it."""
        while not isinstance(event := await self.event(), CloseConnection):
            pass
        if self.connection.state.name == "REMOTE_CLOSING":
            self.send(event.response())
        return event


class MuxTestCase(GatewayTestCase):
    """Routes everything to the multiplexer."""

    async def mux(self, block: str = "", **options: Any) -> Gateway:
        more = f"{ROUTER} ws_mux {{\n{block}\n}}"
        return await self.gateway(rule="Path(`/unused`)", more=more, **options)

    async def websocket(self, gateway: Gateway | None = None, **fields: str) -> WebSocket:
        """Connect and open a WebSocket."""
        client = await self.client(gateway)
        websocket = WebSocket(client)
        extra = [(name.encode(), value.encode()) for name, value in fields.items()]
        websocket.send(Request(host="a", target="/ws", extra_headers=extra))
        event = await websocket.event()
        assert isinstance(event, AcceptConnection), event
        return websocket

    def hub(self, gateway: Gateway | None = None) -> Any:
        mux = (gateway or self.gateways[-1]).snapshot().mux
        assert mux is not None
        return mux.hub

    def counted(self, entry: str = "*", gateway: Gateway | None = None) -> Any:
        return self.hub(gateway).counters_of(entry)


class WsMuxTests(MuxTestCase):
    """Publish and subscribe."""

    async def test_what_is_published_reaches_other_connections_and_comes_back(self) -> None:
        """In the dialect in which each of them subscribed."""
        await self.mux()
        one, other, third = [await self.websocket() for _ in range(3)]
        assert await one.ask("_sub:news") == "_ok:subscribed to news"
        subscribed = json.loads(await other.ask('{"op": "subscribe", "channel": "news"}'))
        assert subscribed == {"op": "subscribed", "channel": "news"}
        one.say("news:hello")
        assert await one.heard() == "news:hello"
        told = {"op": "message", "channel": "news", "payload": "hello"}
        assert json.loads(await other.heard()) == told
        other.say('{"op": "publish", "channel": "news", "payload": {"a": 1}}')
        assert await one.heard() == 'news:{"a":1}'
        assert await third.ask("_ping") == "_pong"  # and it has heard nothing before that
        assert await third.ask("_list") == "_channels:[]"

    async def test_it_is_counted_and_logged_once(self) -> None:
        """A connection is one exchange of status 101; nothing stays when it has ended."""
        await self.mux('channels = ["news"]', logged=True)
        client = await self.websocket()
        await client.ask("_sub:news")
        assert await client.ask("news:hi") == "news:hi"
        assert self.counted("news").subscriptions == 1
        client.send(CloseConnection(code=1000, reason="bye"))
        event = await client.closed()
        assert event.code == 1000
        assert await client.peer.ended() == "closed"
        await eventually(lambda: not self.hub().members, "it is forgotten")
        counters = self.counted("news")
        assert (counters.subscriptions, counters.published, counters.delivered) == (0, 1, 1)
        (line,) = await self.logged()
        assert (line["status"], line["service"]) == (101, "mux@internal")

    async def test_a_client_that_vanishes_is_forgotten(self) -> None:
        """Its subscriptions go with it."""
        await self.mux()
        client = await self.websocket()
        await client.ask("_sub:news")
        client.peer.reset()
        await eventually(lambda: not self.hub().members, "it is forgotten")
        assert self.hub().subscribers() == {}

    async def test_pings_of_the_client(self) -> None:
        """They are answered with what they carry."""
        await self.mux()
        client = await self.websocket()
        client.send(Ping(payload=b"there?"))
        event = await client.event()
        assert isinstance(event, Pong)
        assert event.payload == b"there?"

    async def test_closing_codes(self) -> None:
        """Each says what was wrong."""
        await self.mux('max_message_bytes = "1KB"')

        async def code(act: Callable[[WebSocket], None]) -> int:
            client = await self.websocket()
            act(client)
            event = await client.closed()
            client.peer.close()
            assert await client.peer.ended() == "closed"
            return event.code

        def say(message: Message) -> Callable[[WebSocket], None]:
            return lambda client: client.send(message)

        assert await code(say(BytesMessage(b"\0"))) == 1003
        assert await code(say(TextMessage("x" * 1001))) == 1009
        assert await code(lambda c: c.peer.send(b"\x81\x81\0\0\0\0\xff")) == 1007
        assert await code(lambda c: c.peer.send(b"\x81\x01x")) == 1002
        assert await code(lambda c: c.send(CloseConnection(code=4321))) == 4321
        await eventually(lambda: not self.hub().members, "all are forgotten")

    async def test_a_client_that_is_silent_is_asked_and_then_gone(self) -> None:
        """One that answers may stay; one that does not is cut off, and the log says so."""
        await self.mux('ping_interval = "100ms"\n idle_timeout = "250ms"', logged=True)
        silent = await self.websocket()
        assert isinstance(await silent.event(), Ping)
        assert await silent.peer.ended()
        lively = await self.websocket()
        for _ in range(4):
            event = await lively.event()
            assert isinstance(event, Ping)
            lively.send(event.response())
        assert await lively.ask("_ping") == "_pong"
        lively.peer.reset()
        lines = await self.logged()
        assert lines[0]["code"] == "TUNNEL_IDLE"

    async def test_operators_see_the_channels(self) -> None:
        """In the metrics by what the configuration names, and one by one in the admin API."""
        gateway = await self.mux('channels = ["news", "room-*"]')
        client = await self.websocket()
        await client.ask("_sub:room-7")
        assert await client.ask("room-7:hi") == "room-7:hi"
        text = b"".join(gateway.metrics().text()).decode()
        assert "gateway_mux_connections 1\n" in text
        assert 'gateway_mux_subscriptions{channel="room-*"} 1\n' in text
        assert 'gateway_mux_published_messages_total{channel="room-*"} 1\n' in text
        assert 'gateway_mux_delivered_messages_total{channel="news"} 0\n' in text
        assert "room-7" not in text
        shown = channels(self.hub(), gateway.snapshot().mux.channels)  # type: ignore[union-attr]
        assert shown["channels"] == [{"name": "room-7", "subscribers": 1}]

    async def test_who_asks_for_no_websocket(self) -> None:
        """It is told what would be."""
        await self.mux()
        answer = await self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (answer.status, answer.error["code"]) == (426, "UPGRADE_REQUIRED")
        assert answer.head.find("upgrade") == "websocket"

    async def test_pages_of_other_origins(self) -> None:
        """They are refused; who sends no Origin is no browser."""
        await self.mux('allowed_origins = ["https://app.example"]')
        await self.websocket()
        await self.websocket(Origin="https://app.example")
        client = WebSocket(await self.client())
        origin = [(b"Origin", b"https://evil.example")]
        client.send(Request(host="a", target="/", extra_headers=origin))
        event = await client.event()
        assert isinstance(event, RejectConnection)
        assert event.status_code == 403


class StockWsMuxTests(WsMuxTests):
    """The same on Twisted's own transports."""

    stock = True


class SlowConsumerTests(MuxTestCase):
    """A client that does not read."""

    async def overwhelm(self, policy: str) -> tuple[WebSocket, WebSocket]:
        """Publish until something had to go."""
        await self.mux(f'queue = 4\n slow_consumer = "{policy}"')
        slow, lively = await self.websocket(), await self.websocket()
        await slow.ask("_sub:news")
        await lively.ask("_sub:news")
        slow.peer.stop_reading()
        text = "x" * 60_000
        for number in range(1000):
            lively.say(f"news:{number} {text}")
            assert (await lively.heard()).startswith(f"news:{number} ")
            if self.counted().dropped > 3:
                return slow, lively
        raise AssertionError("nothing was dropped")

    async def test_the_oldest_messages_are_dropped(self) -> None:
        """It misses some, and hears the newest; the others hear all."""
        slow, lively = await self.overwhelm("drop-oldest")
        slow.peer.read_on()
        numbers = []
        lively.say("news:last")
        while (text := await slow.heard()) != "news:last":
            numbers.append(int(text.split(":")[1].split(" ")[0]))
        assert numbers == sorted(numbers)
        published = self.counted().published - 1
        assert published - len(numbers) == self.counted().dropped
        assert await slow.ask("_ping") == "_pong"

    async def test_it_is_closed_where_that_is_the_policy(self) -> None:
        """With 1013: it may try again later."""
        slow, _ = await self.overwhelm("close")
        assert len(self.hub().members) == 1 or self.hub().subscribers() == {"news": 1}
        slow.peer.read_on()
        assert (await slow.closed()).code == 1013


class LifeTests(MuxTestCase):
    """Reloads, and the end."""

    async def test_a_reload_keeps_connections_and_subscriptions(self) -> None:
        """Who came before it and who came after hear each other."""
        gateway = await self.mux("max_channels = 1")
        before = await self.websocket()
        await before.ask("_sub:news")
        text = f"""
            entrypoints "web" {{ address = "{gateway.config().entrypoints["web"].address}" }}
            routers "other" {{ rule = "PathPrefix(`/`)"
              service = "mux@internal" }}
            ws_mux {{ max_channels = 2 }}
            access_log {{ enabled = false }}
            admin {{ enabled = false }}
            shutdown_timeout_secs = "0s"
        """
        await gateway.reload(GatewayConfig.from_text(text))
        after = await self.websocket()
        await after.ask("_sub:news")
        assert await after.ask("_sub:sport") == "_ok:subscribed to sport"
        assert await before.ask("_sub:sport") == "_error:max channels (1) reached"
        after.say("news:new")
        assert [await before.heard(), await after.heard()] == ["news:new"] * 2
        before.say("news:old")
        assert [await before.heard(), await after.heard()] == ["news:old"] * 2
        assert len(self.hub().members) == 2

    async def test_a_gateway_that_stops_closes_with_1001(self) -> None:
        """At once, so that clients can go elsewhere; it waits for them to close."""
        gateway = await self.mux(shutdown_timeout="10s", logged=True)
        clients = [await self.websocket() for _ in range(3)]
        stopping = gateway.shutdown()
        codes = [(await client.closed()).code for client in clients]
        assert codes == [1001] * 3
        assert [await client.peer.ended() for client in clients] == ["closed"] * 3
        await stopping
        assert [line["code"] for line in await self.logged()] == [None] * 3

    async def test_what_has_ended_leaves_no_cycles(self) -> None:
        """A reload freezes them, and what is frozen is not collected."""
        await self.mux()
        for round_ in range(2):
            if round_:
                gc.collect()
                gc.set_debug(gc.DEBUG_SAVEALL)
            for how in ("close", "reset", "nonsense"):
                peer = await self.use(how)
                await peer.ended()
            await eventually(lambda: not self.gateways[0].health().active_connections)
        try:
            gc.collect()
            kinds = {type(each).__qualname__ for each in gc.garbage}
            modules = {type(each).__module__.partition(".")[0] for each in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert "a3s_gateway" not in modules, kinds

    async def use(self, how: str) -> Peer:
        """Open, subscribe, hear, and end in one of several ways."""
        client = await self.websocket()
        await client.ask("_sub:a")
        assert await client.ask("a:x") == "a:x"
        if how == "close":
            client.send(CloseConnection(code=1000))
            await client.closed()
        elif how == "nonsense":
            client.peer.send(b"\xff\xff")
            await client.closed()
            client.peer.close()
        else:
            client.peer.reset()
        return client.peer


class Http2Tests(MuxTestCase):
    """Over HTTP/2 (RFC 8441)."""

    async def test_clients_of_either_version_hear_each_other(self) -> None:
        """One WebSocket is a connection, the other a stream."""
        await self.mux()
        one = await self.websocket()
        await one.ask("_sub:news")
        client = Client(await self.client())
        await client.until(RemoteSettingsChanged)
        client.wire.send_headers(1, FIELDS)
        client.flush()
        answer = await client.until(ResponseReceived)
        assert isinstance(answer, ResponseReceived)
        assert dict(answer.headers or [])[":status"] == "200"
        frames = FrameProtocol(client=True, extensions=[])
        for text in ("_sub:news", "news:hello"):
            client.send(bytes(frames.send_data(text)))
        expected = framed("_ok:subscribed to news") + framed("news:hello")
        assert await client.bytes(len(expected)) == expected
        assert await one.heard() == "news:hello"
        client.send(bytes(frames.close(1000)))
        assert await client.bytes(4) == b"\x88\x02\x03\xe8"
        client.send(b"", end=True)
        await client.until(StreamEnded)
        await eventually(lambda: len(self.hub().members) == 1, "it is forgotten")


class FanoutTests(MuxTestCase):
    """Several gateways, one Redis."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisServer()
        self.addCleanup(self.redis.close)

    async def pair(self) -> tuple[Gateway, Gateway]:
        block = f'channels = ["news", "room-*"]\n redis_url = "{self.redis.url}"'
        one, other = [await self.mux(block) for _ in range(2)]
        for gateway in (one, other):
            await self.connected(gateway)
        return one, other

    async def connected(self, gateway: Gateway) -> None:
        fanout: Any = gateway.snapshot().mux.publish.__self__  # type: ignore[union-attr]
        await eventually(lambda: fanout.is_connected, "Redis is there")

    async def test_what_is_published_here_is_heard_there_once(self) -> None:
        """And here once, too: it does not come back as an echo."""
        one, other = await self.pair()
        here, there = await self.websocket(one), await self.websocket(other)
        await here.ask("_sub:room-1")
        await there.ask("_sub:room-1")
        here.say("room-1:a")
        there.say('{"op": "publish", "channel": "room-1", "payload": {"b": [1, "é"]}}')
        assert await here.heard() == "room-1:a"
        assert sorted([await there.heard(), await there.heard()]) == [
            "room-1:a", 'room-1:{"b":[1,"é"]}',
        ]  # fmt: skip
        assert await here.heard() == 'room-1:{"b":[1,"é"]}'
        here.say("room-1:last")
        assert await here.heard() == "room-1:last"
        assert await there.heard() == "room-1:last"
        assert self.counted("room-*", one).received == 1
        assert self.counted("room-*", other).received == 2

    async def test_other_programs_may_publish(self) -> None:
        """What is not fit to be heard is left out."""
        one, _ = await self.pair()
        client = await self.websocket(one)
        await client.ask("_sub:news")
        for body in ("no JSON", "[]", '{"from": "x"}', "[" * 100_000, '{"payload": "hello"}'):
            await self.redis.command("PUBLISH", "a3s:mux:news", body)
        await self.redis.command("PUBLISH", "a3s:mux:sport", '{"payload": "x"}')
        assert await client.heard() == "news:hello"
        assert self.counted("news", one).received == 1

    async def test_redis_restarts(self) -> None:
        """Meanwhile this gateway's own clients hear each other; then all do again."""
        one, other = await self.pair()
        here, there = await self.websocket(one), await self.websocket(other)
        await gather(here.ask("_sub:news"), there.ask("_sub:news"))
        self.redis.stop()
        here.say("news:alone")
        assert await here.heard() == "news:alone"
        await eventually(lambda: self.hub(one).lost == 1, "it is counted as lost")
        self.redis.start()
        for gateway in (one, other):
            await self.connected(gateway)
        here.say("news:together")
        assert await there.heard() == "news:together"

    async def test_the_password_is_nowhere(self) -> None:
        """Neither in the configuration that operators see, nor in what is logged of a failure."""
        one, _ = await self.pair()
        assert RedisServer.PASSWORD not in repr(one.config().ws_mux)
        assert RedisServer.PASSWORD not in repr(one.snapshot().mux)

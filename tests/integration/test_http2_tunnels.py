"""WebSocket over HTTP/2 (RFC 8441), by another's HTTP/2, on real sockets."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes

from a3s_gateway.protocol.websocket import GOING_AWAY, GOING_AWAY_MASKED, accept_of
from tests.support import GatewayTestCase, Head, Peer, eventually, passed

FIELDS = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat?room=1"),
    (":authority", "chat.test"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "wamp"),
    ("cookie", "a=1"),
]


class Client:
    """One stream of an HTTP/2 connection, read step by step."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.wire = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.seen: list[Event] = []
        self.data = b""
        self.wire.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.peer.send(self.wire.data_to_send())

    async def until(self, kind: type[Event]) -> Event:
        """Wait for an event of this kind."""
        while True:
            for event in self.seen:
                if isinstance(event, kind):
                    self.seen.remove(event)
                    return event
            await self.read()

    async def bytes(self, count: int) -> bytes:
        while len(self.data) < count:
            await self.read()
        data, self.data = self.data[:count], self.data[count:]
        return data

    async def read(self) -> None:
        await self.peer.until(lambda: self.peer.received or self.peer.end, "frames")
        received = bytes(self.peer.received)
        self.peer.received.clear()
        for event in self.wire.receive_data(received):
            self.seen.append(event)
            if isinstance(event, DataReceived) and event.data is not None:
                self.data += event.data
                self.wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()

    def send(self, data: bytes, *, end: bool = False) -> None:
        self.wire.send_data(1, data, end_stream=end)
        self.flush()


class Http2TunnelTests(GatewayTestCase):
    """The same tunnel as over HTTP/1.1; the backend cannot tell."""

    async def asked(self, **options: str) -> tuple[Client, Peer, Head]:
        """Ask for a WebSocket; returns the client, the backend's end, and what that has got."""
        backend = await self.backend()
        await self.gateway(backend.url, logged=True, **options)  # type: ignore[arg-type]
        client = Client(await self.client())
        settings = await client.until(RemoteSettingsChanged)
        assert isinstance(settings, RemoteSettingsChanged)
        changed = settings.changed_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self.assertEqual(changed.new_value, 1)
        client.wire.send_headers(1, FIELDS)
        client.flush()
        peer = await backend.accept()
        return client, peer, await peer.head()

    async def opened(self, **options: str) -> tuple[Client, Peer]:
        """Open it."""
        client, peer, head = await self.asked(**options)
        key = head.find("sec-websocket-key")
        assert key is not None
        peer.send(
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: wamp\r\nSec-WebSocket-Accept: %b\r\n\r\n"
            % accept_of(key).encode()
        )
        answer = await client.until(ResponseReceived)
        assert isinstance(answer, ResponseReceived)
        assert answer.headers is not None
        fields = dict(answer.headers)
        self.assertEqual((fields[":status"], fields["sec-websocket-protocol"]), ("200", "wamp"))
        self.assertNotIn("sec-websocket-accept", fields)
        return client, peer

    async def test_the_opening_is_translated(self) -> None:
        """The backend gets a GET with a key of ours; its fields travel both ways."""
        client, peer, head = await self.asked()
        self.assertEqual(head.first, "GET /chat?room=1 HTTP/1.1")
        for name, value in (
            ("host", "chat.test"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "wamp"),
            ("cookie", "a=1"),
        ):
            self.assertEqual(head.all(name), [value])
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        answer = await client.until(ResponseReceived)
        assert isinstance(answer, ResponseReceived)
        assert answer.headers is not None
        self.assertEqual(dict(answer.headers)[":status"], "403")
        self.assertEqual(await client.bytes(2), b"no")

    async def test_bytes_pass_both_ways_and_both_ends_are_handed_on(self) -> None:
        """More than a window of them, then END_STREAM and a FIN."""
        client, peer = await self.opened()
        client.send(b"ping")
        self.assertEqual(await peer.bytes(4), b"ping")
        peer.send(b"pong" * 50_000)
        self.assertEqual(await client.bytes(200_000), b"pong" * 50_000)
        client.send(b"last", end=True)
        self.assertEqual(await peer.bytes(4), b"last")
        await peer.ended()
        await client.until(StreamEnded)
        await eventually(lambda: self.in_flight() == [0], "the lease to be back")
        (line,) = await self.logged()
        self.assertEqual((line["code"], line["request_bytes"]), (None, 8))
        self.assertEqual(line["response_bytes"], 200_000)

    async def test_a_reset_of_the_stream_reaches_the_backend(self) -> None:
        """The connection, and what else is on it, goes on."""
        client, peer = await self.opened()
        client.wire.reset_stream(1)
        client.flush()
        self.assertEqual(await peer.ended(), "reset")
        await eventually(lambda: self.in_flight() == [0], "the lease to be back")
        self.assertEqual(client.peer.end, "")

    async def test_a_loss_of_the_backend_resets_the_stream(self) -> None:
        """It does not look like a proper end."""
        client, peer = await self.opened()
        peer.reset()
        await client.until(StreamReset)
        await eventually(lambda: self.in_flight() == [0], "the lease to be back")

    async def test_a_drain_closes_with_1001_after_the_grace(self) -> None:
        """Both sides read why."""
        client, peer = await self.opened(shutdown_timeout="200ms")
        client.send(b"\x82\x81\0\0\0\0x")
        await peer.bytes(7)
        peer.send(b"\x82\x01y")
        await client.bytes(3)
        done = self.gateways[-1].shutdown()
        # Not by h2, which takes no data after a GOAWAY: DATA, END_STREAM, stream 1.
        last = b"\0\0\x04\0\1\0\0\0\1" + GOING_AWAY
        await client.peer.until(lambda: last in client.peer.received, "a Close frame")
        self.assertEqual(await peer.bytes(8), GOING_AWAY_MASKED)
        client.peer.close()
        await done
        (line,) = await self.logged()
        self.assertEqual(line["code"], "SHUTTING_DOWN")

    async def test_silence_of_the_client_alone_ends_nothing(self) -> None:
        """A tunnel is no request whose body is awaited."""
        client, peer = await self.opened(entrypoint='timeouts { request_body_idle = "100ms" }')
        client.send(b"x")
        await peer.bytes(1)
        await passed(0.4)
        peer.send(b"y")
        self.assertEqual(await client.bytes(1), b"y")

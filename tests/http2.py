"""A backend that speaks HTTP/2 by the `h2` library, driven by hand or answering by itself."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from twisted.internet.endpoints import TCP4ServerEndpoint

from a3s_gateway.transport.endpoints import server_endpoint
from tests.support import Backend, GatewayTestCase, Peer, eventually, reactor

Codes = h2.settings.SettingCodes


class Http2Request:
    """What has come of one request."""

    def __init__(self, stream: int, fields: list[tuple[str, str]]) -> None:
        self.stream = stream
        self.fields = fields
        self.body = b""
        self.trailers: list[tuple[str, str]] = []
        self.is_ended = False
        self.reset: int | None = None
        self.acknowledged = 0  # bytes of the body that the gateway was granted again

    def find(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key == name), None)


class Http2Peer(Peer):
    """The backend's end of one connection."""

    def __init__(self, backend: Http2Backend) -> None:
        super().__init__()
        self.backend = backend
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.requests: list[Http2Request] = []
        self.by_stream: dict[int, Http2Request] = {}
        self.pings = 0
        self.goaway: int | None = None
        self.is_deaf = False
        self.is_greeted = False  # the gateway has acknowledged the settings

    def connectionMade(self) -> None:
        if self.backend.settings:
            self.h2.local_settings = h2.settings.Settings(
                client=False, initial_values=self.backend.settings
            )
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def dataReceived(self, data: bytes) -> None:
        self.total += len(data)
        if self.is_deaf:
            return
        for event in self.h2.receive_data(data):
            self.handle(event)
        self.flush()
        self._look()

    def handle(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", None)
        request = self.by_stream.get(stream) if stream else None
        if isinstance(event, h2.events.RequestReceived):
            request = Http2Request(event.stream_id, list(event.headers))
            self.requests.append(request)
            self.backend.requests_seen.append(request)
            self.by_stream[event.stream_id] = request
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.is_greeted = True
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code
        elif request is not None:
            self.handle_of(request, event)

    def handle_of(self, request: Http2Request, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            request.body += event.data
            if self.backend.takes_bodies:
                self.take(request, event.flow_controlled_length)
        elif isinstance(event, h2.events.TrailersReceived):
            request.trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            request.is_ended = True
            if self.backend.resets:
                self.refuse(request, 2)
            elif self.backend.answers:
                self.answer(request, b"ok")
        elif isinstance(event, h2.events.StreamReset):
            request.reset = event.error_code

    def take(self, request: Http2Request, size: int) -> None:
        self.h2.acknowledge_received_data(size, request.stream)
        request.acknowledged += size

    # -- by hand

    async def request(self, number: int = 0) -> Http2Request:
        """Wait for a request, by its place."""
        await self.until(lambda: len(self.requests) > number or self.end, f"request {number}")
        return self.requests[number]

    def head(
        self, request: Http2Request, *fields: tuple[str, str], status: int = 200, end: bool = False
    ) -> None:
        self.h2.send_headers(request.stream, [(":status", str(status)), *fields], end_stream=end)
        self.flush()

    def data(self, request: Http2Request, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(request.stream, data, end_stream=end)
        self.flush()

    def trailers(self, request: Http2Request, *fields: tuple[str, str]) -> None:
        self.h2.send_headers(request.stream, fields, end_stream=True)
        self.flush()

    def answer(self, request: Http2Request, body: bytes, *fields: tuple[str, str]) -> None:
        length = ("content-length", str(len(body)))
        self.head(request, length, *fields, end=not body)
        if body:
            self.data(request, body, end=True)

    def refuse(self, request: Http2Request, code: int) -> None:
        self.h2.reset_stream(request.stream, code)
        self.flush()

    def go_away(self, last: int, code: int = 0) -> None:
        """Say so; the library would not go on after it."""
        self.transport.write(
            b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + last.to_bytes(4) + code.to_bytes(4)
        )


class Http2Backend(Backend):
    """Its connections are `Http2Peer`s."""

    peers: list[Any]

    def __init__(self, *, answers: bool = True, settings: dict[Any, int] | None = None) -> None:
        super().__init__()
        self.answers = answers
        self.takes_bodies = True
        self.resets = False
        self.settings = settings or {}
        self.requests_seen: list[Http2Request] = []

    def buildProtocol(self, addr: object) -> Http2Peer:
        peer = Http2Peer(self)
        self.peers.append(peer)
        return peer

    @property
    def url(self) -> str:
        return f"h2c://127.0.0.1:{self.port.getHost().port}"

    async def accept(self) -> Any:
        return await super().accept()


class Http2TestCase(GatewayTestCase):
    """Starts such backends."""

    async def h2_backend(
        self, *, answers: bool = True, settings: dict[Any, int] | None = None, tls: Any = None
    ) -> Http2Backend:
        """Listen as a backend."""
        backend = Http2Backend(answers=answers, settings=settings)
        if tls is None:
            endpoint: Any = TCP4ServerEndpoint(reactor, 0, 1024, "127.0.0.1")
        else:
            endpoint = server_endpoint(reactor, "127.0.0.1", 0, tls=tls, stock=True)
        backend.port = await endpoint.listen(backend)
        self.ports.append(backend.port)
        self.backends.append(backend)
        return backend

    async def all_quiet(self) -> None:
        """Wait until the service carries nothing."""
        await eventually(lambda: self.in_flight() == [0] * len(self.in_flight()), "leases back")
        for pool in self.pools():
            connections: Any = pool._open  # noqa: SLF001
            await eventually(
                lambda each=connections: not any(c.taken or c._streams for c in each),  # noqa: SLF001
                "streams back",
            )

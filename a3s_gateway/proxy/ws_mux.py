"""`mux@internal`: named channels over one WebSocket; the shell around `service/hub.py`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final

from attrs import frozen

from a3s_gateway.body import Body
from a3s_gateway.config.ws_mux import WsMuxConfig
from a3s_gateway.errors import GatewayError, RemoteProtocolError, refusal, to_response
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.http import Request, Response
from a3s_gateway.protocol.upgrade import WEBSOCKET
from a3s_gateway.protocol.websocket import accept_of
from a3s_gateway.protocol.ws_messages import (
    Binary,
    Close,
    CloseReason,
    Event,
    Ping,
    Reader,
    Text,
    closing,
    framed,
    ping,
    pong,
)
from a3s_gateway.protocol.ws_mux import Message
from a3s_gateway.service.hub import Channels, Hub, Member, Subscription
from a3s_gateway.service.outbox import Outbox
from a3s_gateway.transport.timers import Timers, timers_for

from .fanout import Fanout

FAREWELL: Final = 5.0  # seconds for the client to close, once it was asked to


@frozen(eq=False)
class Multiplexer:
    """
    Takes WebSockets in as members of a hub.

    Args:
        config: The block `ws_mux`.
        hub: Who hears what.
        channels: Those that there are.
        publish: Tells other gateways of a message.
        timers: For silence.

    """

    config: WsMuxConfig
    hub: Hub
    channels: Channels
    publish: Callable[[Message], None]
    timers: Timers

    async def handle(self, request: Request) -> Response:
        """Agree to speak WebSocket, and go on as a member of the hub."""
        if request.upgrade != WEBSOCKET:
            fault = RemoteProtocolError("", "UPGRADE_REQUIRED")
            return refusal(fault, request.exchange.request_id)
        if why_not := self._why_not(request):
            return to_response(GatewayError(why_not), request)
        body = Body()
        session = Session(self, request.body, body)
        body.now_from(session)
        request.body.pipe(session)
        key = request.headers.find("sec-websocket-key")  # there is none over HTTP/2 (RFC 8441)
        headers = Headers.of(("Sec-WebSocket-Accept", accept_of(key))) if key else EMPTY_HEADERS
        return Response(101, headers, body)

    def _why_not(self, request: Request) -> str:
        if self.hub.is_leaving:
            return "SHUTTING_DOWN"
        allowed, origin = self.config.allowed_origins, request.headers.find("origin")
        if not allowed or "*" in allowed or origin is None or origin in allowed:
            return ""
        return "ORIGIN_NOT_ALLOWED"


def multiplexer(
    reactor: Any, config: WsMuxConfig, lease: Callable[[Hashable, Callable[[], Any]], Any]
) -> Multiplexer:
    """
    Make what answers as `mux@internal`.

    The hub is leased, so that those who are connected hear those who come after a reload.
    """
    hub: Hub = lease(("mux",), lambda: Hub(partial(reactor.callLater, 0)))
    publish: Callable[[Message], None] = _nobody
    url = config.redis_url
    if url is not None:
        facts = url, config.redis_prefix, config.channels, config.max_message_bytes
        fanout: Fanout = lease(("fanout", *facts), lambda: Fanout(reactor, url, config, hub))
        publish = fanout.publish
    return Multiplexer(config, hub, Channels(config.channels), publish, timers_for(reactor))


def _nobody(_message: Message) -> None:
    """Tell no other gateway: there is none."""


class Session(Member):
    """
    One client: the sink of what the client sends, and the source of what it gets.

    While the client reads too slowly, nothing more is read from it, and what it should be told
    waits in an `Outbox`.
    """

    def __init__(self, mux: Multiplexer, incoming: Body, outgoing: Body) -> None:
        config = mux.config
        super().__init__(mux.hub, mux.channels, config.max_channels, mux.publish)
        self._incoming: Body | None = incoming
        self._outgoing: Body | None = outgoing
        self._closes_slow_ones = config.slow_consumer == "close"
        self._ping_interval = config.ping_interval
        self._patience = config.idle_timeout - config.ping_interval
        self._reader = Reader(config.max_message_bytes)
        self._outbox = Outbox(config.queue, config.queue_bytes)
        self._is_paused = False
        self._is_closing = False
        self._was_pinged = False
        mux.hub.join(self)
        self._timer = mux.timers.timer(self._silent)
        self._timer.set(self._ping_interval)

    # -- Sink of what the client sends

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        if not self._is_closing:
            self._was_pinged = False
            self._timer.set(self._ping_interval)
        for event in self._reader.receive_data(data):
            self._act_on(event)

    def finish(self, trailers: Headers) -> None:  # noqa: ARG002 - a tunnel has none
        """End: the client has closed its side."""
        self._end()

    def fail(self, error: Exception) -> None:  # noqa: ARG002 - whoever failed has told the log
        """End: the client is gone."""
        self._end()

    # -- Source of what it gets

    def pause(self) -> None:
        """Have what comes wait, and read nothing more."""
        self._is_paused = True
        if self._incoming is not None:
            self._incoming.pause()

    def resume(self) -> None:
        """Send what has waited, then go on."""
        self._is_paused = False
        while not self._is_paused and (data := self._outbox.take()):
            self._feed(data)
        if not self._is_paused and self._incoming is not None:
            self._incoming.resume()

    def cancel(self) -> None:
        """End: nobody takes it any more."""
        self._outgoing = None
        self._end()

    # -- Member

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """Send a message now, or as soon as the client reads on."""
        counters = subscription.counters
        if self._is_closing:
            counters.dropped += 1
            return
        frame = message.frame(subscription.dialect, framed)
        if not self._is_paused:
            counters.delivered += 1
            self._feed(frame)
        elif self._closes_slow_ones and not self._outbox.has_room_for(frame):
            counters.dropped += 1
            self._close(CloseReason.TRY_AGAIN_LATER, "too slow")
        else:
            self._outbox.add_message(frame, counters)

    def go_away(self) -> None:
        """Close: the gateway stops."""
        self._close(CloseReason.GOING_AWAY, "the gateway stops")

    # -- what the client says

    def _act_on(self, event: Event) -> None:
        if self._is_closing:
            if type(event) is Close and self._outgoing is not None:
                self._outgoing.end()  # it has answered
            return
        match event:
            case Text(text):
                answer = self.say(text)
                if answer is not None:
                    self._answer(framed(answer))
            case Ping(payload):
                self._answer(pong(payload))
            case Binary():
                self._close(CloseReason.UNSUPPORTED_DATA, "text messages only")
            case Close(code):
                self._close(code)
                if self._outgoing is not None:
                    self._outgoing.end()

    def _answer(self, frame: bytes) -> None:
        if self._is_closing:
            return  # it was too slow for a message of its own
        if self._is_paused:
            self._outbox.add_answer(frame)
        else:
            self._feed(frame)

    def _feed(self, data: bytes) -> None:
        if self._outgoing is not None:
            self._outgoing.feed(data)

    # -- silence, and the end

    def _silent(self) -> None:
        if self._is_closing or self._was_pinged:
            self._cut_off()
            return
        self._was_pinged = True
        self._timer.set(self._patience)
        self._answer(ping())

    def _close(self, code: int | None, reason: str = "") -> None:
        """Say goodbye, and wait for a moment until the client has closed, too."""
        if self._is_closing:
            return
        self._is_closing = True
        self.leave()
        self._outbox.clear()
        self._feed(closing(code, reason))
        self._timer.set(FAREWELL)
        if self._is_paused and self._incoming is not None:
            self._incoming.resume()  # for its answer

    def _cut_off(self) -> None:
        outgoing, self._outgoing = self._outgoing, None
        code = "CLIENT_GONE" if self._is_closing else "TUNNEL_IDLE"
        self._end()
        if outgoing is not None:
            outgoing.fail(GatewayError(code, "the client is silent"))

    def _end(self) -> None:
        self._is_closing = True
        self._timer.end()
        self.leave()
        self._outbox.clear()
        incoming, self._incoming = self._incoming, None
        outgoing, self._outgoing = self._outgoing, None
        if outgoing is not None:
            outgoing.end()
        if incoming is not None:
            incoming.close()

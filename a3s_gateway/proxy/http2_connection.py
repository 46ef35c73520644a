"""One HTTP/2 connection to a backend: many exchanges at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from typing import Protocol as Interface

from twisted.internet.protocol import Protocol

from a3s_gateway.errors import UnansweredError, UpstreamError
from a3s_gateway.protocol.codec import (
    Closed,
    Data,
    End,
    GoingAway,
    Http2Event,
    Informational,
    Reset,
    ResponseHead,
    WindowOpened,
)
from a3s_gateway.protocol.http2.client import Http2Client
from a3s_gateway.protocol.http2.codes import name_of

from .connection import StaleConnectionError
from .http2_stream import UpstreamStream

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from a3s_gateway.transport.timers import Timers

PING_AFTER: Final = 15.0  # seconds of silence, with answers outstanding, until we ask
PING_TIMEOUT: Final = 10.0  # seconds of silence after that: nobody is there


class Home(Interface):
    """Whose connection it is."""

    idle_timeout: float

    @property
    def usual_streams(self) -> int:
        """How many requests the backend takes on a connection, as far as is known."""

    def has_room(self, connection: Http2Connection) -> None:
        """Hear that it can take another request."""

    def is_idle(self, connection: Http2Connection) -> None:
        """Hear that its last exchange is over."""

    def forget(self, connection: Http2Connection) -> None:
        """Count it no longer; harmless when repeated."""


class Http2Connection(Protocol):
    """
    Carries exchanges, each an `UpstreamStream`, until the backend or nobody wants it any more.

    It is the producer that the transport pauses when the backend takes requests too slowly.
    Its timer closes it when it is idle, and finds out whether anybody is there when it is not.

    Attributes:
        taken: Streams that are under way, or about to begin.
        is_listed: For its home: whether it is among those that have room.

    """

    transport: Any

    def __init__(self, home: Home, timers: Timers, scheme: str) -> None:
        self._home = home
        self.timers = timers
        self.codec = Http2Client(scheme, home.usual_streams)
        self.taken = 0
        self.is_listed = False
        self._streams: dict[int, UpstreamStream] = {}
        self._waiting: list[UpstreamStream] = []  # for the backend's settings
        self._timer = timers.timer(self._expired)
        self._has_served = False
        self._has_heard = False
        self._is_asking = False
        self._is_receiving = False
        self._is_closing = False

    @property
    def has_room(self) -> bool:
        """Whether another request may be sent."""
        codec = self.codec
        return self.taken < codec.max_streams and not codec.is_going_away and not self._is_closing

    def connectionMade(self) -> None:
        """Greet; nobody waits for the backend's greeting."""
        self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's interface
        self._timer.set(self._home.idle_timeout)
        self.flush()

    # -- for its streams

    def began(self, number: int, stream: UpstreamStream) -> None:
        """Hear events for a stream from now on."""
        if not self._streams:
            self._has_heard = self._is_asking = False
            self._timer.set(PING_AFTER)
        self._streams[number] = stream

    def when_greeted(self, stream: UpstreamStream) -> None:
        """Have a stream ask to switch when it is known what the backend takes."""
        if self.codec.is_greeted:
            stream.ask_to_switch()
        else:
            self._waiting.append(stream)

    def ended(self, number: int) -> None:
        """Hear nothing for it any more, and have room for another."""
        self._streams.pop(number, None)
        self.taken -= 1
        self._has_served = True
        if self._is_closing:
            return
        if self.codec.is_going_away:
            if not self._streams:
                self.close()
            return
        if not self._streams:
            self._timer.set(self._home.idle_timeout)
            self._home.is_idle(self)
        if self.has_room:
            self._home.has_room(self)

    def flush(self) -> None:
        """Write what the codec has made; in the midst of reading, that is done at the end."""
        if not self._is_receiving and not self._is_closing:
            data = self.codec.take_output()
            if data:
                self.transport.write(data)

    def close(self) -> None:
        """Close; nothing is under way."""
        if not self._is_closing:
            self.codec.send_goaway(0)
            self._is_receiving = False
            self.flush()
            self._retire()

    # -- IPushProducer, for the transport

    def pauseProducing(self) -> None:
        """Let requests' bodies wait: the backend takes less than comes."""
        self.codec.is_held = True

    def resumeProducing(self) -> None:
        """Let them go on."""
        self.codec.is_held = False
        self._send_waiting()

    def stopProducing(self) -> None:
        """Hear from the transport that the connection is gone; `connectionLost` says why."""

    def _send_waiting(self) -> None:
        codec = self.codec
        while codec.can_send and not self._is_closing:
            self._take(codec.send_waiting())
            self.flush()

    # -- from the wire

    def dataReceived(self, data: bytes) -> None:
        """Take the next bytes of whatever streams."""
        if self._is_closing:
            return
        self._has_heard = True
        self._is_receiving = True
        try:
            self._take(self.codec.receive_data(data, self.timers.seconds()))
        finally:
            self._is_receiving = False
            if not self._is_closing:
                self.flush()
                if self.codec.can_send:
                    self._send_waiting()

    def _take(self, events: list[Http2Event]) -> None:
        """Hand events on; heads last, so that an answer that is all there goes out as one."""
        streams = self._streams
        answered: list[UpstreamStream] = []
        for event in events:
            if isinstance(event, GoingAway):
                self._go_away(event)
            elif isinstance(event, Closed):
                self._lose(UpstreamError("UPSTREAM_PROTOCOL", event.reason))
            else:
                stream = streams.get(event.stream)
                if stream is not None:
                    if type(event) is Data:
                        stream.feed(event.data, event.is_last)
                    elif type(event) is ResponseHead:
                        stream.begin(event)
                        answered.append(stream)
                    else:
                        _tell(stream, event)
        for stream in answered:
            stream.answer()
        if self._waiting and self.codec.is_greeted and not self._is_closing:
            self._let_switch()
        if not self.is_listed and self.has_room:
            self._home.has_room(self)  # its settings allow more than before

    def _let_switch(self) -> None:
        waiting, self._waiting = self._waiting, []
        for stream in waiting:
            stream.ask_to_switch()

    def _go_away(self, event: GoingAway) -> None:
        """Finish what the backend still answers; the rest it has not looked at."""
        detail = f"the backend closes its connection ({name_of(event.code)})"
        for number, stream in tuple(self._streams.items()):
            if number > event.last_stream:
                stream.refuse(detail)
        if not self._streams:
            self.close()

    def _expired(self) -> None:
        if not self._streams:
            self.close()
        elif self._has_heard:
            self._has_heard = self._is_asking = False
            self._timer.set(PING_AFTER)
        elif self._is_asking:
            self._lose(UpstreamError("UPSTREAM_TIMEOUT", "the connection is dead"))
        else:
            self._is_asking = True
            self._timer.set(PING_TIMEOUT)
            self.codec.send_ping()
            self.flush()

    def _lose(self, error: UpstreamError) -> None:
        """End the connection and everything on it."""
        self._is_receiving = False
        self.flush()
        self._retire()
        self._fail_all(error, error)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell everybody who waits."""
        self._retire()
        detail = reason.getErrorMessage()
        stale = StaleConnectionError if self._has_served else UnansweredError
        self._fail_all(stale("UPSTREAM_RESET", detail), UpstreamError("UPSTREAM_RESET", detail))

    def _fail_all(self, unanswered: UpstreamError, broken: UpstreamError) -> None:
        streams, self._streams = self._streams, {}
        waiting, self._waiting = self._waiting, []
        for stream in (*streams.values(), *waiting):
            error = broken if stream.is_answered else unanswered
            stream.fail(type(error)(error.fault.code, error.detail))

    def _retire(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._timer.end()
            self._home.forget(self)
            self.transport.unregisterProducer()
            self.transport.loseConnection()


def _tell(stream: UpstreamStream, event: Http2Event) -> None:
    if isinstance(event, End):
        stream.end(event.trailers)
    elif isinstance(event, Reset):
        stream.reset(event)
    elif isinstance(event, WindowOpened):
        stream.opened()
    elif isinstance(event, Informational):
        stream.inform(event)

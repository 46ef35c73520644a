"""One HTTP/2 connection from a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from a3s_gateway.protocol.codec import (
    Closed,
    Data,
    End,
    Head,
    Http2Event,
    Refused,
    Reset,
    WindowOpened,
)
from a3s_gateway.protocol.http2 import frames
from a3s_gateway.protocol.http2.server import Http2Server
from a3s_gateway.protocol.http2.settings import DEFAULT_SETTINGS

from .client_connection import LINGER, ClientConnection, Phase
from .http2_stream import Http2Stream
from .introduction import Introduction

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from .http_service import HttpFactory

LAST_CALL: Final = 1.0  # seconds between the first GOAWAY and the one that names a stream


class Http2Connection(ClientConnection):
    """
    Parses requests, and has each answered in a stream of its own.

    It is the producer that the transport pauses when the client reads too slowly; then no
    stream sends, and each holds its backend back.

    Args:
        factory: That of the connection.
        first: What has been received of HTTP/2 already.
        upgraded: The request that asked for HTTP/2 in HTTP/1.1, and its HTTP2-Settings.

    Attributes:
        codec: Where its streams write; they call `flush` when they have.
        introduction: Of its client.
        is_draining: No further requests are welcome.

    """

    def __init__(
        self,
        factory: HttpFactory,
        first: bytes = b"",
        upgraded: tuple[Head, bytes] | None = None,
    ) -> None:
        super().__init__(factory)
        self.codec = Http2Server(factory.http2 or DEFAULT_SETTINGS, factory.limits)
        self.introduction = Introduction()
        self._first = first
        self._upgraded = upgraded
        self._streams: dict[int, Http2Stream] = {}
        self._is_batching = False
        self._last_call = factory.timers.timer(self._refuse_streams)

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._peer

    # -- the connection's life

    def connectionMade(self) -> None:
        """Say what we allow, and take what has come along with the change of protocols."""
        super().connectionMade()
        first, self._first = self._first, b""
        upgraded, self._upgraded = self._upgraded, None
        if upgraded is not None:
            head, settings = upgraded
            started = Http2Stream(self, 1)
            self._streams[1] = started
            started.begin(self.codec.upgrade(head, settings))
            self.flush()
            started.start()
        else:
            self.flush()
        if first:
            self.dataReceived(first)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take back everything that was begun for this client."""
        self._timer.end()
        self._last_call.end()
        self._phase = Phase.CLOSING
        self.factory.connections.discard(self)
        self._abandon_all("CLIENT_GONE", 499)
        self.factory.has_closed()

    def drain(self) -> None:
        """Take no more requests, once those that are on their way have come (RFC 9113 §6.8)."""
        if self._phase is Phase.CLOSING:
            return
        if not self._streams:
            self._say_goodbye()
            return
        self.codec.announce_end()
        self.flush()
        self._last_call.set(LAST_CALL)

    def _refuse_streams(self) -> None:
        self.codec.refuse_streams()
        self.flush()

    def _say_goodbye(self) -> None:
        self._last_call.cancel()
        self._refuse_streams()
        self._close()

    def abort(self) -> None:
        """End it in whatever state it is; requests without an answer get one that says why."""
        for stream in tuple(self._streams.values()):
            stream.give_up()
        self._refuse_streams()
        self._end("SHUTTING_DOWN", 503)

    def forget(self) -> None:
        """Judge the next request afresh: whom the factory trusts has changed, or its limits."""
        factory = self.factory
        self.introduction.forget()
        self.codec.retune(factory.limits, factory.http2 or self.codec.local)
        if factory.http2 is None:
            self.drain()
        elif self._phase is not Phase.CLOSING:
            self.flush()

    def _end(self, code: str, status: int) -> None:
        """Close after our last words."""
        self._phase = Phase.CLOSING
        self._abandon_all(code, status)
        self._linger()
        self._timer.set(LINGER)

    def _expired(self) -> None:
        phase = self._phase
        if phase is Phase.IDLE and not self._streams:
            self._say_goodbye()
        elif phase is Phase.HEAD:
            self._refuse_streams()
            self._end("REQUEST_TIMEOUT", 408)
        elif phase is Phase.WRITING or phase is Phase.CLOSING:
            self.transport.abortConnection()

    # -- from the wire

    def dataReceived(self, data: bytes) -> None:
        """Take the next bytes of requests."""
        if self._discarded >= 0:
            self._discard(data)
            return
        events = self.codec.receive_data(data, self.factory.timers.seconds())
        self._is_batching = True
        try:
            self._act(events)
        finally:
            self._is_batching = False
        self.flush()
        if self._phase is not Phase.WRITING and self._phase is not Phase.CLOSING:
            self._wait()

    def _act(self, events: list[Http2Event]) -> None:
        streams = self._streams
        started: list[Http2Stream] = []
        for event in events:
            kind = type(event)
            if kind is Head:
                stream = Http2Stream(self, event.stream)  # type: ignore[union-attr]
                streams[event.stream] = stream  # type: ignore[union-attr]
                stream.begin(event)  # type: ignore[arg-type]
                started.append(stream)
            elif isinstance(event, Closed):
                self._over(event)
                return
            else:
                self._act_on_stream(event)
        if started and self._phase is Phase.IDLE:
            self._phase = Phase.HANDLING
        # Only now: what came of their bodies goes along with their heads.
        for stream in started:
            stream.start()

    def _act_on_stream(self, event: Http2Event) -> None:
        if isinstance(event, Refused):
            refused = Http2Stream(self, event.stream)
            self._streams[event.stream] = refused
            refused.refuse(event.error)
            return
        if not isinstance(event, Data | End | Reset | WindowOpened):
            return  # a client that is going away ends by itself
        stream = self._streams.get(event.stream)
        if stream is None:
            return
        if isinstance(event, Data):
            stream.feed(event)
        elif isinstance(event, End):
            stream.end(event.trailers)
        elif isinstance(event, WindowOpened):
            stream.window_opened()
        else:
            stream.abandon("CLIENT_GONE", 499)

    def _over(self, fault: Closed) -> None:
        """End because of what the client did; what it had asked for is lost."""
        self._phase = Phase.CLOSING
        code = "BAD_REQUEST" if fault.code != frames.ENHANCE_YOUR_CALM else "ENHANCE_YOUR_CALM"
        if not self._streams:
            stream = Http2Stream(self, 0)
            stream.note_fault(code)
        self.flush(even_in_batch=True)
        self._end(code, 400)

    def _wait(self) -> None:
        """Set the deadline for what may come next."""
        if self.codec.is_in_head:
            if self._phase is not Phase.HEAD:
                self._phase = Phase.HEAD
                self._timer.set(self.factory.timeouts.request_head)
        elif self._streams:
            self._phase = Phase.HANDLING
        elif self.codec.is_greeted and self._phase is not Phase.IDLE:
            self._phase = Phase.IDLE
            self._timer.set(self.factory.timeouts.keep_alive_idle)
            self.introduction.shrink()

    # -- for its streams

    def flush(self, *, even_in_batch: bool = False) -> None:
        """Write what the codec has to be written, unless more of it is about to come."""
        if not self._is_batching or even_in_batch:
            out = self.codec.take_output()
            if out:
                self.transport.write(out)

    def has_ended(self, stream: Http2Stream) -> None:
        """Hear that a stream is over."""
        self._streams.pop(stream.number, None)
        if self._streams or self._phase is Phase.CLOSING:
            return
        if self.factory.is_draining or self.codec.is_going_away:
            self.flush(even_in_batch=True)
            self._say_goodbye()
        elif not self._is_batching and self._phase is Phase.HANDLING:
            self._wait()

    def _abandon_all(self, code: str, status: int) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.abandon(code, status)

    # -- IPushProducer, for the transport

    def pauseProducing(self) -> None:
        """Let no stream send: the client reads more slowly than the answers come."""
        self.codec.is_held = True
        if self._phase is not Phase.CLOSING:
            self._phase = Phase.WRITING
            self._timer.set(self.factory.timeouts.write_idle)

    def resumeProducing(self) -> None:
        """Let the streams go on, each in turn, until the transport has enough again."""
        codec = self.codec
        codec.is_held = False
        if self._phase is Phase.WRITING:
            self._phase = Phase.HANDLING
        while codec.can_send:
            events = codec.send_waiting()
            self.flush()
            self._act(events)
        if self._phase is Phase.HANDLING:
            self._wait()

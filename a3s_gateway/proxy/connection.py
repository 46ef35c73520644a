"""One HTTP/1.1 connection to a backend."""

from __future__ import annotations

from os import urandom
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from zope.interface import directlyProvides

from a3s_gateway.body import Body
from a3s_gateway.errors import RemoteProtocolError, UnansweredError, UpstreamError
from a3s_gateway.headers import EMPTY_HEADERS, Header, Headers
from a3s_gateway.http import Request, Response
from a3s_gateway.protocol.codec import ClientEvent, Data, End, Informational, ResponseHead
from a3s_gateway.protocol.http1.client import Http1Client
from a3s_gateway.protocol.upgrade import WEBSOCKET
from a3s_gateway.protocol.websocket import key_of
from a3s_gateway.task import Waiter
from a3s_gateway.transport.switching import close_sending

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from a3s_gateway.transport.timers import Timers


class Home(Interface):
    """Where a connection goes when it is idle, and who hears when it is gone."""

    idle_timeout: float

    def give_back(self, connection: UpstreamConnection) -> None:
        """Take it back, ready for another request."""

    def forget(self, connection: UpstreamConnection) -> None:
        """Count it no longer; harmless when repeated."""


class StaleConnectionError(UnansweredError):
    """A kept connection closed as we sent: the backend may not have seen the request."""


class UpstreamConnection(Protocol):
    """
    Sends one request at a time and resolves to its response; the body follows as it comes.

    It is the source of the response's body, the sink of the request's, and the producer
    that the transport pauses when the backend takes the request too slowly.
    """

    transport: Any

    def __init__(self, home: Home, timers: Timers) -> None:
        self._home = home
        self._codec = Http1Client()
        self._timer = timers.timer(self._expired)
        self._request: Request | None = None
        self._waiter: Waiter[Response] | None = None
        self._body: Body | None = None
        self._upload: Body | None = None
        self._is_paused = False
        self._heard = False
        self._is_tunnel = False
        self._request_timeout = 0.0
        self._idle_timeout = 0.0
        self.is_reused = False

    # -- one exchange

    def send(
        self,
        request: Request,
        target: str,
        authority: str,
        request_timeout: float,
        idle_timeout: float,
    ) -> Waiter[Response]:
        """
        Send a request; its response's head resolves what is returned.

        Args:
            request: Its body is piped here, unless it is all there already.
            target: As this backend is to see it.
            authority: For its Host field.
            request_timeout: Seconds from the end of the request to the response's head.
            idle_timeout: Seconds that either body may stand still.

        """
        codec, body = self._codec, request.body
        self._request = request
        self._request_timeout, self._idle_timeout = request_timeout, idle_timeout
        self._heard = False
        if request.upgrade:
            return self._ask_to_switch(request, target, authority)
        head = codec.send_head(
            request.method, target, authority, request.headers, body.length,
            request.exchange.request_id, body.ask is not None and not body.begun,
        )  # fmt: skip
        waiter = self._waiter = Waiter()
        if body.is_complete and body.trailers is EMPTY_HEADERS:
            if body.length != 0:
                head += codec.send_data(body.take()) + codec.send_end(EMPTY_HEADERS)
            self._timer.set(request_timeout)
            self.transport.write(head)
        else:
            self._upload = body
            self._timer.set(idle_timeout)
            self.transport.write(head + codec.send_data(body.take()))
            self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's interface
            body.pipe(self)
        return waiter

    def _ask_to_switch(self, request: Request, target: str, authority: str) -> Waiter[Response]:
        """Send a request whose body is what follows if the backend agrees."""
        waiter = self._waiter = Waiter()
        self._timer.set(self._request_timeout)
        headers = request.headers
        if request.upgrade == WEBSOCKET and "sec-websocket-key" not in headers:
            # RFC 8441 §5: the client's connection is HTTP/2, where there is none.
            headers = headers.plus(Header.of("Sec-WebSocket-Key", key_of(urandom(16))))
        self.transport.write(self._codec.send_upgrade(
            request.method, target, authority, headers, request.upgrade,
            request.exchange.request_id,
        ))  # fmt: skip
        return waiter

    def _switch(self) -> None:
        """Become a tunnel: each side may go on when the other has ended."""
        request = self._request
        assert request is not None
        self._is_tunnel = True
        directlyProvides(self, IHalfCloseableProtocol)
        self._upload = request.body
        self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's interface
        request.body.pipe(self)

    def close(self) -> None:
        """Close an idle connection."""
        self._retire(gently=True)

    def fail(self, error: Exception) -> None:
        """End the exchange with `error`, for whoever waits for its head or reads its body."""
        waiter, self._waiter = self._waiter, None
        body, self._body = self._body, None
        self._retire()
        if waiter is not None:
            waiter.reject(error)
        if body is not None:
            body.fail(error)

    def abort(self) -> None:
        """Drop the exchange and the connection with it; harmless when repeated."""
        self._waiter = None
        self._body = None
        self._retire()

    # -- Sink of the request's body

    def write(self, data: bytes) -> None:
        """Send the next bytes of the request's body."""
        self._timer.set(self._idle_timeout)
        self.transport.write(self._codec.send_data(data))

    def finish(self, trailers: Headers) -> None:
        """End the request."""
        self._end_upload()
        last = self._codec.send_end(trailers)
        if last:
            self.transport.write(last)
        if self._waiter is not None:
            self._timer.set(self._request_timeout)
        elif self._is_tunnel:
            if self._body is None:
                self._retire(gently=True)
            else:
                close_sending(self.transport)

    def _end_upload(self) -> None:
        if self._upload is not None:
            self._upload = None
            self.transport.unregisterProducer()

    # -- IPushProducer, for the transport

    def pauseProducing(self) -> None:
        """Hold the client back: the backend takes its body more slowly than it comes."""
        if self._upload is not None:
            self._upload.pause()

    def resumeProducing(self) -> None:
        """Let the client go on."""
        if self._upload is not None:
            self._timer.set(self._idle_timeout)
            self._upload.resume()

    def stopProducing(self) -> None:
        """Hear from the transport that the connection is gone; `connectionLost` says why."""

    # -- Source of the response's body

    def pause(self) -> None:
        """Stop reading: the client is slower. Its own deadline is the entrypoint's to keep."""
        self._is_paused = True
        self._timer.cancel()
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self._is_paused = False
        self._timer.set(self._idle_timeout)
        self.transport.resumeProducing()

    def cancel(self) -> None:
        """Drop the rest of the response."""
        self.abort()

    # -- from the wire

    def dataReceived(self, data: bytes) -> None:
        """Take the next bytes of a response."""
        if self._is_tunnel:
            if self._body is not None:
                self._timer.set(self._idle_timeout)
                self._body.feed(data)
            return
        try:
            events = self._codec.receive_data(data)
        except RemoteProtocolError as error:
            self.fail(UpstreamError("UPSTREAM_PROTOCOL", error.reason))
            return
        self._heard = True
        self._take(events)

    def _take(self, events: list[ClientEvent]) -> None:  # noqa: C901 - one loop, told in order
        head: ResponseHead | None = None
        waiter: Waiter[Response] | None = None
        body = self._body
        for event in events:
            kind = type(event)
            if kind is Data:
                if body is not None:
                    body.feed(event.data)  # type: ignore[union-attr]
                if event.is_last:  # type: ignore[union-attr]
                    self._complete(body, EMPTY_HEADERS)
            elif kind is ResponseHead:
                head = event  # type: ignore[assignment]
                assert head is not None
                # Taken now: once complete, this connection may serve another request at once.
                waiter, self._waiter = self._waiter, None
                body = self._body = Body(self, head.announced)
                if head.length == 0:
                    self._complete(body, EMPTY_HEADERS)
            elif kind is End:
                self._complete(body, event.trailers)  # type: ignore[union-attr]
            else:
                self._inform(event)  # type: ignore[arg-type]
        if self._body is not None and not self._is_paused:
            self._timer.set(self._idle_timeout)
        if waiter is not None:
            assert head is not None
            assert body is not None
            if head.status == 101:
                self._switch()
            waiter.resolve(Response(head.status, head.headers, body, head.reason))

    def _complete(self, body: Body | None, trailers: Headers) -> None:
        """Go home before the response's end is told: the client's next request may come."""
        self._body = None
        if self._is_paused:
            self._is_paused = False
            self.transport.resumeProducing()
        self._request = None
        if self._codec.is_reusable:
            self._timer.set(self._home.idle_timeout)
            self.is_reused = True
            self._home.give_back(self)
        else:
            self._retire()
        if body is not None:
            body.end(trailers)

    def _inform(self, event: Informational) -> None:
        request = self._request
        if request is not None and request.exchange.inform is not None:
            request.exchange.inform(event.status, event.reason, event.headers)

    def _expired(self) -> None:
        if self._waiter is None and self._body is None:
            self._retire(gently=True)  # idle for long enough
            return
        if self._is_tunnel:
            self.fail(UpstreamError("TUNNEL_IDLE", "nothing came from either side"))
            return
        waited_for = "head of the response" if self._waiter is not None else "body"
        self.fail(UpstreamError("UPSTREAM_TIMEOUT", f"no {waited_for} in time"))

    def readConnectionLost(self) -> None:
        """Hand the end of a tunnel's bytes on; the backend may still want the client's."""
        body, self._body = self._body, None
        if self._upload is None:
            self._retire(gently=True)
        if body is not None:
            body.end()

    def writeConnectionLost(self) -> None:
        """Hear that the end of the client's bytes has been sent."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell whoever waits: the end of a body that lasts until close, or a loss."""
        self._timer.end()
        self._home.forget(self)
        waiter = self._waiter
        if waiter is not None:
            detail = reason.getErrorMessage()
            if self._heard:
                self.fail(UpstreamError("UPSTREAM_RESET", detail))
            elif self.is_reused:
                self.fail(StaleConnectionError("UPSTREAM_RESET", detail))
            else:
                self.fail(UnansweredError("UPSTREAM_RESET", detail))
        elif self._body is not None:
            self._end_of_stream(reason)
        elif self._upload is not None:
            self._retire()

    def _end_of_stream(self, reason: Failure) -> None:
        try:
            events = self._codec.receive_eof() if _is_clean(reason) else []
        except RemoteProtocolError:
            events = []
        if events:
            self._take(events)
        else:
            self.fail(UpstreamError("UPSTREAM_RESET", reason.getErrorMessage()))

    def _retire(self, *, gently: bool = False) -> None:
        self._timer.cancel()
        self._home.forget(self)
        self._request = None
        upload, self._upload = self._upload, None
        if upload is not None:
            self.transport.unregisterProducer()
            upload.close()
        if gently:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()


def _is_clean(reason: Failure) -> bool:
    return reason.check(ConnectionDone) is not None

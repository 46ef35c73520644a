"""One HTTP/1.1 connection from a client."""

from __future__ import annotations

from email.utils import formatdate
from enum import Enum
from random import getrandbits
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from a3s_gateway.errors import GatewayError, RemoteProtocolError, refusal, to_response
from a3s_gateway.http import (
    EMPTY_HEADERS,
    Body,
    Exchange,
    Header,
    Headers,
    Request,
    Response,
)
from a3s_gateway.protocol.codec import CHUNKED, Data, Head, ServerEvent
from a3s_gateway.protocol.forwarded import UNKNOWN, forwarded, plain_address
from a3s_gateway.protocol.http1.server import Http1Server
from a3s_gateway.task import Task

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from .http_service import HttpFactory

LINGER: Final = 2.0  # seconds that a client gets to read our last words while it still sends
MAX_LINGER: Final = 1024 * 1024  # bytes of it that we read and drop meanwhile

_log = Logger()


class Phase(Enum):
    """What the connection's one timer is set for."""

    HEAD = "request head"
    IDLE = "next request"
    BODY = "request body"
    HANDLING = "answer"
    WRITING = "client to read"
    CLOSING = "client to close"


class HttpConnection(Protocol):
    """
    Parses requests, has each answered by the factory's resource, and writes the answers.

    It is the source of the request's body, the sink of the response's, and the producer
    that the transport pauses when the client reads too slowly.
    """

    transport: Any

    def __init__(self, factory: HttpFactory) -> None:
        self.factory: HttpFactory = factory
        self._codec = Http1Server(factory.limits)
        self._timer = factory.timers.timer(self._expired)
        self._phase = Phase.HEAD
        self._peer = UNKNOWN
        self._exchange: Exchange | None = None
        self._request: Request | None = None
        self._task: Task[Response] | None = None
        self._response_body: Body | None = None
        self._head_sent = False
        self._pumping = False
        self._cycle_is_over = False
        self._discarded = -1  # bytes read only to be dropped; -1 while they are not
        self._reading_paused = False
        # What a client repeats need not be worked out again.
        self._last_head: Head | None = None
        self._last_forwarded: tuple[Headers, str, str] = (EMPTY_HEADERS, "", "")
        self._last_authority: str | None = None
        self._own_forwarded: tuple[Headers, str, str] = (EMPTY_HEADERS, "", "")

    # -- the connection's life

    def connectionMade(self) -> None:
        """Give the client its time for a first request."""
        self.factory.connections.add(self)
        host = getattr(self.transport.getPeer(), "host", "")
        self._peer = plain_address(host) if host else UNKNOWN
        self._timer.set(self.factory.timeouts.request_head)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take back everything that was begun for this client."""
        self._timer.cancel()
        self.factory.connections.discard(self)
        self._abandon("CLIENT_GONE", 499)
        self.factory.has_closed()

    def drain(self) -> None:
        """Close when nothing is under way, at once or after the answer in progress."""
        if self._exchange is None and self._codec.is_idle and self._phase != Phase.CLOSING:
            self._close()

    def abort(self) -> None:
        """End it in whatever state it is."""
        self.transport.abortConnection()

    def _close(self) -> None:
        self._phase = Phase.CLOSING
        self._timer.set(self.factory.timeouts.write_idle)
        self.transport.loseConnection()

    def _linger(self) -> None:
        """
        Close, but let the client read our answer first, although it is still sending.

        RFC 9112 §9.6: closing with unread data resets the connection, and the answer is
        lost with it.
        """
        self._phase = Phase.CLOSING
        self._discarded = 0
        self._resume_reading()
        self._timer.set(LINGER)

    def _expired(self) -> None:
        phase = self._phase
        if (phase is Phase.HEAD and not self._codec.is_idle) or (
            phase is Phase.BODY and not self._head_sent
        ):
            self._refuse(RemoteProtocolError("", "REQUEST_TIMEOUT"))
        elif phase in (Phase.HEAD, Phase.IDLE):
            self._close()
        else:
            self.transport.abortConnection()

    # -- from the wire

    def dataReceived(self, data: bytes) -> None:
        """Take the next bytes of a request."""
        if self._discarded >= 0:
            self._discard(data)
            return
        codec = self._codec
        try:
            events = codec.receive_data(data)
        except RemoteProtocolError as error:
            self._refuse(error)
            return
        if events:
            self._pump(events)
        elif self._exchange is None:
            if self._phase is Phase.IDLE and not codec.is_idle:
                self._phase = Phase.HEAD
                self._timer.set(self.factory.timeouts.request_head)
        elif codec.is_full:
            self._reading_paused = True
            self.transport.pauseProducing()

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > MAX_LINGER:
            self.transport.abortConnection()

    def _pump(self, events: list[ServerEvent]) -> None:
        """Act on events; where an answer is complete at once, go on with what is pipelined."""
        self._pumping = True
        try:
            while events:
                self._take(events)
                events = []
                if self._cycle_is_over:
                    events = self._next_cycle()
        finally:
            self._pumping = False

    def _take(self, events: list[ServerEvent]) -> None:
        started: Request | None = None
        for event in events:
            kind = type(event)
            if kind is Head:
                started = self._begin(event)  # type: ignore[arg-type]
            elif self._request is not None:
                self._feed(self._request, event)
        if started is not None:
            self._task = task = Task(
                self.factory.resource.handle(started), self._answered, self._failed
            )
            task.start()

    def _begin(self, head: Head) -> Request:
        if head is self._last_head:
            headers, client, scheme = self._last_forwarded
        else:
            headers, client, scheme = self._forwarded(head)
            self._last_head = head
            self._last_forwarded = (headers, client, scheme)
        factory = self.factory
        exchange = Exchange(factory.name, self._peer, monotonic())
        exchange.client = client
        exchange.request_id = head.request_id or f"{getrandbits(128):032x}"
        length = head.length
        if length == 0:
            body = Body.of(b"")
            self._phase = Phase.HANDLING
        else:
            body = Body(self, None if length == CHUNKED else length)
            if head.expects_continue:
                exchange.inform = self._inform
                body.ask = self._ask
            self._phase = Phase.BODY
            self._timer.set(factory.timeouts.request_body_idle)
        exchange.inform = self._inform
        self._exchange = exchange
        self._head_sent = False
        self._request = request = Request(
            head.method, head.path, head.query, head.host, head.authority, head.version,
            scheme, headers, body, client, exchange,
        )  # fmt: skip
        return request

    def _forwarded(self, head: Head) -> tuple[Headers, str, str]:
        """Put what we know of the client in place of what it says."""
        factory = self.factory
        if not head.forwarded and head.authority == self._last_authority:
            fields, client, scheme = self._own_forwarded
        else:
            facts = forwarded(
                self._peer, factory.scheme, head.authority, head.forwarded, factory.is_trusted
            )
            fields, client, scheme = facts.headers, facts.client, facts.scheme
            if not head.forwarded:
                self._last_authority = head.authority
                self._own_forwarded = (fields, client, scheme)
        return head.headers.joined(fields), client, scheme

    def _feed(self, request: Request, event: ServerEvent) -> None:
        body = request.body
        if isinstance(event, Data):
            request.exchange.bytes_in += len(event.data)
            body.feed(event.data)
            if not event.is_last:
                if self._phase is Phase.BODY:
                    self._timer.set(self.factory.timeouts.request_body_idle)
                return
            trailers = EMPTY_HEADERS
        else:
            assert not isinstance(event, Head)
            trailers = event.trailers
        if self._phase is Phase.BODY:
            self._phase = Phase.HANDLING
            self._timer.cancel()
        body.end(trailers)

    # -- Source of the request's body

    def pause(self) -> None:
        """Stop reading: the backend is slower than the client."""
        self._reading_paused = True
        if self._phase is Phase.BODY:
            self._timer.cancel()
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._phase is Phase.BODY:
            self._timer.set(self.factory.timeouts.request_body_idle)
        self._resume_reading()

    def cancel(self) -> None:
        """Read the rest of the request only to drop it: nobody wants it."""
        self._discarded = max(self._discarded, 0)
        self._resume_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resumeProducing()

    # -- the answer

    def _inform(self, status: int, reason: str, headers: Headers) -> None:
        """Pass an interim response on (RFC 9110 §15.2)."""
        if self._exchange is not None and not self._head_sent:
            wire = self._codec.send_informational(status, reason, headers)
            if wire:
                self.transport.write(wire)

    def _ask(self) -> None:
        self._inform(100, "", EMPTY_HEADERS)

    def _answered(self, response: Response) -> None:
        exchange, codec = self._exchange, self._codec
        request = self._request
        if exchange is None or request is None:
            response.body.close()
            return
        if self.factory.is_draining or not codec.is_request_complete:
            codec.keep_alive = False
        headers = response.headers
        exchange.status = response.status
        if response.fault is not None:
            exchange.code = response.fault.code
            headers = headers.plus(Header.of("Date", formatdate(time(), usegmt=True)))
        body = response.body
        is_whole = body.is_complete
        head = codec.send_head(
            response.status, response.reason, headers, body.length, exchange.request_id
        )
        data = body.take()
        if request.method == "HEAD":
            data = b""
            body.close()
            is_whole = True
        exchange.first_byte_at = monotonic()
        exchange.bytes_out = len(data)
        self._head_sent = True
        if is_whole:
            if data:
                head += codec.send_data(data)
            self.transport.write(head + codec.send_end(body.trailers))
            self._finished()
            return
        self._response_body = body
        self.transport.write(head + codec.send_data(data) if data else head)
        self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's interface
        body.pipe(self)

    def _failed(self, error: BaseException) -> None:
        """Answer for a handler that raised: with its fault, or as for an error of ours."""
        request = self._request
        if request is None:
            return
        if isinstance(error, RemoteProtocolError):
            self._refuse(error)
            return
        if not isinstance(error, GatewayError):
            _log.failure(
                "handling {method} {path} failed", method=request.method, path=request.path
            )
            error = GatewayError("INTERNAL", repr(error))
        self._answered(to_response(error, request))

    # -- Sink of the response's body

    def write(self, data: bytes) -> None:
        """Send the next bytes of the answer."""
        exchange = self._exchange
        if exchange is not None:
            exchange.bytes_out += len(data)
            self.transport.write(self._codec.send_data(data))

    def finish(self, trailers: Headers) -> None:
        """End the answer."""
        last = self._codec.send_end(trailers)
        if last:
            self.transport.write(last)
        self.transport.unregisterProducer()
        self._finished()

    def fail(self, error: Exception) -> None:
        """Cut the answer off where the backend did, so that it never looks complete."""
        exchange = self._exchange
        if exchange is not None and isinstance(error, GatewayError):
            exchange.code = error.fault.code
        self.transport.abortConnection()

    # -- IPushProducer, for the transport

    def pauseProducing(self) -> None:
        """Hold the backend back: the client reads more slowly than the answer comes."""
        if self._response_body is not None:
            self._response_body.pause()
            self._phase = Phase.WRITING
            self._timer.set(self.factory.timeouts.write_idle)

    def resumeProducing(self) -> None:
        """Let the backend go on."""
        if self._response_body is not None:
            self._phase = Phase.HANDLING
            self._timer.cancel()
            self._response_body.resume()

    def stopProducing(self) -> None:
        """Hear from the transport that the connection is gone; `connectionLost` does the rest."""

    # -- the end of an exchange

    def _finished(self) -> None:
        """End the exchange whose last byte was written."""
        exchange, request = self._exchange, self._request
        self._exchange = self._request = self._task = self._response_body = None
        is_complete = self._codec.is_request_complete
        if request is not None and not is_complete:
            request.body.close()
        if exchange is not None:
            exchange.close()
        if not self._codec.keep_alive or not is_complete:
            self._discarded = max(self._discarded, 0)
            if is_complete:
                self._close()
            else:
                self._linger()
        elif self._pumping:
            self._cycle_is_over = True
        else:
            self._pump(self._next_cycle())

    def _next_cycle(self) -> list[ServerEvent]:
        self._cycle_is_over = False
        try:
            events = self._codec.next_cycle()
        except RemoteProtocolError as error:
            self._refuse(error)
            return []
        if not events:
            if self.factory.is_draining and self._codec.is_idle:
                self._close()
            else:
                self._phase = Phase.IDLE if self._codec.is_idle else Phase.HEAD
                timeouts = self.factory.timeouts
                self._timer.set(
                    timeouts.keep_alive_idle if self._phase is Phase.IDLE else timeouts.request_head
                )
        self._resume_reading()
        return events

    def _refuse(self, error: RemoteProtocolError) -> None:
        """Answer what is not acceptable, if it can still be answered, and close."""
        if self._head_sent and self._exchange is not None:
            self._abandon(error.code, self._exchange.status)
            self.transport.abortConnection()
            return
        exchange = self._exchange
        if exchange is None:
            exchange = Exchange(self.factory.name, self._peer, monotonic())
            exchange.client = self._peer
            exchange.request_id = f"{getrandbits(128):032x}"
            self.factory.resource.refuse(exchange)
            self._exchange = exchange
        response = refusal(error, exchange.request_id)
        body = response.body.take()
        headers = response.headers.plus(
            Header.of("Date", formatdate(time(), usegmt=True)),
            Header.of("X-Request-Id", exchange.request_id),
        )
        exchange.bytes_out = len(body)
        exchange.first_byte_at = monotonic()
        self._abandon(error.code, response.status)
        self.transport.write(self._codec.send_refusal(response.status, headers, body))
        self._linger()

    def _abandon(self, code: str, status: int) -> None:
        """End the exchange, if there is one, before its answer is complete."""
        exchange, request, task = self._exchange, self._request, self._task
        body = self._response_body
        self._exchange = self._request = self._task = self._response_body = None
        if task is not None:
            task.cancel()
        if exchange is None:
            return
        exchange.code = exchange.code or code
        exchange.status = exchange.status or status
        if request is not None:
            request.body.fail(RemoteProtocolError("the client is gone"))
            request.body.close()
        if body is not None:
            body.close()
        exchange.close()

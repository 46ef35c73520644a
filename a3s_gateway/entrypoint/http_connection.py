"""One HTTP/1.1 connection from a client."""

from __future__ import annotations

from random import getrandbits
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from a3s_gateway.body import NO_BODY, Body
from a3s_gateway.errors import GatewayError, RemoteProtocolError, to_response
from a3s_gateway.headers import EMPTY_HEADERS, Headers, date
from a3s_gateway.http import Exchange, Request, Response
from a3s_gateway.protocol.codec import CHUNKED, Data, Head, ServerEvent
from a3s_gateway.protocol.http1.request_head import NotHttpError
from a3s_gateway.protocol.upgrade import wanted
from a3s_gateway.task import Task

from .changing_connection import ChangingConnection
from .client_connection import LINGER, Phase
from .introduction import Introduction
from .last_words import fault_of, last_words
from .tunnel_connection import TunnelConnection

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from .http_service import HttpFactory

LITTLE: Final = 4096  # bytes that are cheaper copied than handed over apart


class HttpConnection(ChangingConnection):
    """
    Parses requests, has each answered by the factory's resource, and writes the answers.

    It is the source of the request's body, the sink of the response's, and the producer
    that the transport pauses when the client reads too slowly.
    """

    def __init__(self, factory: HttpFactory) -> None:
        super().__init__(factory)
        self._exchange: Exchange | None = None
        self._request: Request | None = None
        self._task: Task[Response] | None = None
        self._response_body: Body | None = None
        self._is_head_sent = False
        self._is_pumping = False
        self._is_cycle_over = False  # the next one is to begin as soon as it can
        self._is_writing_paused = False
        self._introduction = Introduction()

    # -- the connection's life

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take back everything that was begun for this client."""
        self._timer.end()
        self.factory.connections.discard(self)
        self._abandon("CLIENT_GONE", 499)
        self.factory.has_closed()

    def drain(self) -> None:
        """Close when nothing is under way, at once or after the answer in progress."""
        if self._exchange is None and self._codec.is_idle and self._phase is not Phase.CLOSING:
            self._close()

    def abort(self) -> None:
        """End it in whatever state it is; a request without an answer gets one that says why."""
        request, task = self._request, self._task
        if request is None or self._is_head_sent:
            self.transport.abortConnection()
            return
        if task is not None:
            task.cancel()
        self._answered(to_response(GatewayError("SHUTTING_DOWN"), request))
        self._timer.set(LINGER)

    def forget(self) -> None:
        """Judge the next request afresh: whom the factory trusts has changed, or its limits."""
        self._introduction.forget()
        self._codec.retune(self.factory.limits)

    def _expired(self) -> None:
        phase = self._phase
        if (phase is Phase.HEAD and not self._codec.is_idle) or (
            phase is Phase.BODY and not self._is_head_sent
        ):
            self._refuse(RemoteProtocolError("", "REQUEST_TIMEOUT"))
        elif phase is Phase.HEAD or phase is Phase.IDLE:
            self._close()
        elif phase is not Phase.HANDLING:
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
            if not self._has_begun_http2(error):
                self._refuse(error)
            return
        if events:
            self._pump(events)
        elif codec.is_full:
            self._pause_reading()
        elif self._phase is Phase.IDLE and not codec.is_idle:
            self._phase = Phase.HEAD
            self._timer.set(self.factory.timeouts.request_head)

    def _pump(self, events: list[ServerEvent]) -> None:
        """Act on events; where an answer is complete at once, go on with what is pipelined."""
        self._is_pumping = True
        try:
            while events:
                started: Request | None = None
                for event in events:
                    if type(event) is Head:
                        if event.http2_settings and self._has_changed_to_http2(event):
                            return
                        started = self._begin(event)
                    elif self._request is not None:
                        self._feed(self._request, event)
                if self._phase is Phase.BODY and not self._is_reading_paused:
                    self._timer.set(self.factory.timeouts.request_body_idle)
                if started is not None:
                    handling = self.factory.resource.handle(started)
                    self._task = task = Task(handling, self._answered, self._failed)
                    task.start()
                if not self._is_cycle_over or self._is_writing_paused:
                    break
                events = self._next_cycle()
        finally:
            self._is_pumping = False

    def _begin(self, head: Head) -> Request:
        factory = self.factory
        known = self._introduction
        if head.headers is not known.fields or head.authority != known.authority:
            factory.introduce(known, head, self._peer, self.transport)
        who = known.who
        request_id = head.request_id or f"{getrandbits(128):032x}"
        exchange = Exchange(
            factory.name, self._peer, monotonic(), who.client, request_id, self._inform
        )
        length, upgrade = head.length, ""
        if length == 0:
            body: Body = NO_BODY
            self._phase = Phase.HANDLING
            if head.upgrade:
                upgrade = wanted(head.upgrade)
                body = Body() if upgrade else NO_BODY
        else:
            body = Body(self, None if length == CHUNKED else length)
            if head.expects_continue:
                body.ask = self._ask
            self._phase = Phase.BODY
        self._exchange = exchange
        self._is_head_sent = False
        self._request = request = Request(
            head.method, head.path, head.query, head.host, head.authority, head.version,
            who.scheme, known.headers, body, who.client, exchange, upgrade,
        )  # fmt: skip
        return request

    def _feed(self, request: Request, event: ServerEvent) -> None:
        body = request.body
        if isinstance(event, Data):
            request.exchange.bytes_in += len(event.data)
            if not event.is_last:
                body.feed(event.data)
                return
        if self._phase is Phase.BODY:
            self._phase = Phase.HANDLING
        if isinstance(event, Data):
            body.feed(event.data)
            body.end()
        else:
            assert not isinstance(event, Head)
            body.end(event.trailers)

    # -- the answer

    def _inform(self, status: int, reason: str, headers: Headers) -> None:
        """Pass an interim response on (RFC 9110 §15.2)."""
        if self._exchange is not None and not self._is_head_sent:
            wire = self._codec.send_informational(status, reason, headers)
            if wire:
                self.transport.write(wire)

    def _ask(self) -> None:
        self._inform(100, "", EMPTY_HEADERS)

    def _answered(self, response: Response) -> None:
        exchange, request, codec = self._exchange, self._request, self._codec
        body = response.body
        if exchange is None or request is None:
            body.close()
            return
        if response.status == 101:
            self._switch(request, response)
            return
        if self.factory.is_draining or not codec.is_request_complete:
            codec.keep_alive = False
        headers = response.headers
        exchange.status = response.status
        if response.fault is not None:
            exchange.code = response.fault.code
            headers = headers.plus(date(time()))
        data = b"" if request.method == "HEAD" else body.take()
        exchange.first_byte_at = monotonic()
        exchange.bytes_out = len(data)
        self._response_body = body
        if body.is_complete or request.method == "HEAD":
            head, data = codec.send_whole(
                response.status, response.reason, headers, body.length, exchange.request_id,
                data, body.trailers,
            )  # fmt: skip
            self._write(head, data)
            self._finished()
            return
        head = codec.send_head(
            response.status, response.reason, headers, body.length, exchange.request_id
        )
        self._write(head, codec.send_data(data))
        body.pipe(self)
        if self._is_writing_paused:
            body.pause()

    def _switch(self, request: Request, response: Response) -> None:
        """Hand the connection over: what follows is not HTTP."""
        tunnel = TunnelConnection(self.factory, self._codec, request, response)
        self._exchange = self._request = self._task = None
        self._go_on_with(tunnel)

    def _write(self, head: bytes, data: bytes) -> None:
        """Write both as one, without copying much."""
        self._is_head_sent = True
        if len(data) > LITTLE:
            self.transport.writeSequence((head, data))
        else:
            self.transport.write(head + data)

    def _failed(self, error: BaseException) -> None:
        """Answer for a handler that raised: with its fault, or as for an error of ours."""
        request = self._request
        if request is None:
            return
        if isinstance(error, RemoteProtocolError):
            self._refuse(error)
            return
        fault = fault_of(error, request)
        if self._is_head_sent:
            self.fail(fault)
        else:
            self._answered(to_response(fault, request))

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
        self._is_writing_paused = True
        if self._response_body is not None:
            self._response_body.pause()
            self._phase = Phase.WRITING
            self._timer.set(self.factory.timeouts.write_idle)

    def resumeProducing(self) -> None:
        """Let the backend go on, or the next request if the answer was complete."""
        self._is_writing_paused = False
        if self._response_body is not None:
            self._phase = Phase.HANDLING
            self._response_body.resume()
        elif self._is_cycle_over and not self._is_pumping:
            self._pump(self._next_cycle())

    # -- the end of an exchange

    def _finished(self) -> None:
        """End the exchange whose last byte was written."""
        exchange, request, body = self._exchange, self._request, self._response_body
        self._exchange = self._request = self._task = self._response_body = None
        codec = self._codec
        is_complete = codec.is_request_complete
        if body is not None:
            body.close()
        if exchange is not None:
            exchange.close()
        if codec.keep_alive and is_complete:
            self._is_cycle_over = True
            if self._is_writing_paused:
                self._phase = Phase.WRITING
                self._timer.set(self.factory.timeouts.write_idle)
            elif not self._is_pumping:
                self._pump(self._next_cycle())
            return
        self._discarded = max(self._discarded, 0)
        if is_complete:
            self._close()
            return
        if request is not None:
            request.body.close()
        self._linger()

    def _next_cycle(self) -> list[ServerEvent]:
        self._is_cycle_over = False
        codec = self._codec
        try:
            events = codec.next_cycle()
        except RemoteProtocolError as error:
            self._refuse(error)
            return []
        if self._is_reading_paused and not codec.is_full:
            self._resume_reading()
        if not events:
            self._wait_for_request()
        return events

    def _wait_for_request(self) -> None:
        timeouts = self.factory.timeouts
        if not self._codec.is_idle:
            self._phase = Phase.HEAD
            self._timer.set(timeouts.request_head)
        elif self.factory.is_draining:
            self._close()
        else:
            self._phase = Phase.IDLE
            self._timer.set(timeouts.keep_alive_idle)
            self._introduction.shrink()

    def _refuse(self, error: RemoteProtocolError) -> None:
        """Answer what is not acceptable, if it can still be answered, and close."""
        exchange = self._exchange
        if exchange is not None and self._is_head_sent:
            self._abandon(error.code, exchange.status)
            self.transport.abortConnection()
            return
        if exchange is None:
            request_id = f"{getrandbits(128):032x}"
            name, peer = self.factory.name, self._peer
            self._exchange = exchange = Exchange(name, peer, monotonic(), peer, request_id)
            self.factory.resource.refuse(exchange)
        status, headers, body = last_words(error, exchange.request_id)
        exchange.bytes_out = len(body)
        exchange.first_byte_at = monotonic()
        self._abandon(error.code, status)
        if not isinstance(error, NotHttpError) or not self._may_be_of_another_protocol:
            self.transport.write(self._codec.send_refusal(status, headers, body))
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

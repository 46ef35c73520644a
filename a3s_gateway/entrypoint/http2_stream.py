"""One request over HTTP/2, and its answer."""

from __future__ import annotations

from random import getrandbits
from time import monotonic, time
from typing import TYPE_CHECKING

from a3s_gateway.body import NO_BODY, Body
from a3s_gateway.errors import GatewayError, RemoteProtocolError, to_response
from a3s_gateway.headers import EMPTY_HEADERS, Headers, date
from a3s_gateway.http import Exchange, Request, Response
from a3s_gateway.protocol.codec import CHUNKED, Data, Head
from a3s_gateway.protocol.http2 import frames
from a3s_gateway.protocol.upgrade import WEBSOCKET
from a3s_gateway.protocol.websocket import GOING_AWAY, GOING_AWAY_MASKED, Frames
from a3s_gateway.task import Task

from .last_words import fault_of, last_words

if TYPE_CHECKING:
    from a3s_gateway.transport.timers import Timer

    from .http2_connection import Http2Connection


class Http2Stream:
    """
    Has one request answered; belongs to its connection until it has ended.

    It is the source of the request's body and the sink of the response's. What it feeds
    its reader is granted to the client again at once, unless the reader asks for a pause;
    what the client does not take waits in the codec, and the response's body is paused.
    """

    __slots__ = (
        "_connection",
        "_exchange", "_frames",
        "_is_answered",
        "_is_head_sent",
        "_is_reading_paused",
        "_is_request_complete",
        "_pending",
        "_request",
        "_response_body",
        "_task",
        "_timer",
        "number",
    )  # fmt: skip

    def __init__(self, connection: Http2Connection, number: int) -> None:
        self.number = number
        self._connection = connection
        self._exchange: Exchange | None = None
        self._request: Request | None = None
        self._task: Task[Response] | None = None
        self._response_body: Body | None = None
        self._is_head_sent = False
        self._frames: tuple[Frames, Frames] | None = None  # of a WebSocket: received, sent
        self._is_answered = False  # the codec has all of the answer
        self._is_request_complete = True
        self._is_reading_paused = False
        self._pending = 0  # bytes that waited for the client when the timer was set
        self._timer: Timer | None = None

    # -- the request

    def begin(self, head: Head) -> None:
        """Make a request of a head."""
        connection = self._connection
        factory, known = connection.factory, connection.introduction
        if head.headers is not known.fields or head.authority != known.authority:
            factory.introduce(known, head, connection.peer, connection.transport)
        who = known.who
        request_id = head.request_id or f"{getrandbits(128):032x}"
        exchange = Exchange(
            factory.name, connection.peer, monotonic(), who.client, request_id, self._inform
        )
        length = head.length
        if length == 0:
            body: Body = NO_BODY
        else:
            body = Body(self, None if length == CHUNKED else length)
            if head.expects_continue:
                body.ask = self._ask
            self._is_request_complete = False
        self._exchange = exchange
        self._request = Request(
            head.method, head.path, head.query, head.host, head.authority, head.version,
            who.scheme, known.headers, body, who.client, exchange, head.upgrade,
        )  # fmt: skip
        if length != 0:
            self._wait_for_more()

    def start(self) -> None:
        """Have it answered."""
        request = self._request
        if request is not None:
            handling = self._connection.factory.resource.handle(request)
            self._task = task = Task(handling, self._answered, self._failed)
            task.start()

    def feed(self, event: Data) -> None:
        """Take the next bytes of the request's body."""
        request = self._request
        if request is None or request.body is NO_BODY:
            return
        request.exchange.bytes_in += len(event.data)
        if self._frames is not None:
            self._frames[0].follow(event.data)
        request.body.feed(event.data)
        if event.is_last:
            self.end(EMPTY_HEADERS)
        elif not self._is_reading_paused and self._request is not None:
            self._connection.codec.consumed(self.number)
            self._connection.flush()
            if not self._response_waits:
                self._wait_for_more()

    def end(self, trailers: Headers) -> None:
        """Take note that the request is complete."""
        request = self._request
        self._is_request_complete = True
        if request is None or request.body is NO_BODY:
            return
        if self._timer is not None and not self._response_waits:
            self._timer.cancel()
        request.body.end(trailers)
        if request.upgrade and self._is_answered:
            self._finished()

    def _wait_for_more(self) -> None:
        """Give the client its time for the next bytes; in a tunnel it may be silent for longer."""
        if self._request is not None and not self._request.upgrade:
            self._set_timer(self._connection.factory.timeouts.request_body_idle)

    # -- Source of the request's body

    def pause(self) -> None:
        """Grant the client no more: the backend is slower."""
        self._is_reading_paused = True
        if self._timer is not None and not self._response_waits:
            self._timer.cancel()

    def resume(self) -> None:
        """Let it send on."""
        self._is_reading_paused = False
        if not self._is_request_complete:
            self._connection.codec.consumed(self.number)
            self._connection.flush()
            if not self._response_waits:
                self._wait_for_more()

    def cancel(self) -> None:
        """Grant nothing more: nobody wants the rest. The answer's end resets the stream."""
        self._is_reading_paused = True
        if self._timer is not None and not self._response_waits:
            self._timer.cancel()

    # -- the answer

    @property
    def _response_waits(self) -> bool:
        return self._pending > 0

    def _inform(self, status: int, reason: str, headers: Headers) -> None:  # noqa: ARG002
        """Pass an interim response on (RFC 9110 §15.2); HTTP/2 has no reason phrases."""
        if self._exchange is not None and not self._is_head_sent:
            self._connection.codec.send_informational(self.number, status, headers)
            self._connection.flush()

    def _ask(self) -> None:
        self._inform(100, "", EMPTY_HEADERS)

    def _answered(self, response: Response) -> None:
        exchange, request, body = self._exchange, self._request, response.body
        if exchange is None or request is None:
            body.close()
            return
        status, headers, length = response.status, response.headers, body.length
        if status == 101:
            # RFC 8441 §5: in HTTP/2 it is a success, and proves nothing by a hash.
            status, headers, length = 200, headers.without("sec-websocket-accept"), None
            if request.upgrade == WEBSOCKET:
                self._frames = Frames(), Frames()
        elif status == 204:
            length = None
        exchange.status = status
        if response.fault is not None:
            exchange.code = response.fault.code
            headers = headers.plus(date(time()))
        is_bodiless = request.method == "HEAD"
        data = b"" if is_bodiless else body.take()
        exchange.first_byte_at = monotonic()
        exchange.bytes_out = len(data)
        self._response_body = body
        self._is_head_sent = True
        codec, number = self._connection.codec, self.number
        is_whole = is_bodiless or body.is_complete
        trailers = body.trailers if is_whole else EMPTY_HEADERS
        is_last = is_whole and not data and not len(trailers)
        codec.send_head(number, status, headers, length, exchange.request_id, is_last=is_last)
        if is_whole:
            self._is_answered = True
            sent = is_last or codec.send_data(number, data, is_last=not len(trailers))
            if len(trailers):
                sent = codec.send_end(number, trailers)
            self._sent(is_all=sent)
            return
        self._sent(is_all=not data or codec.send_data(number, data))
        body.pipe(self)
        if self._response_waits:
            body.pause()

    def _failed(self, error: BaseException) -> None:
        """Answer for a handler that raised: with its fault, or as for an error of ours."""
        request = self._request
        if request is None:
            return
        if isinstance(error, RemoteProtocolError) and not self._is_head_sent:
            self._refuse(error)
            return
        fault = fault_of(error, request)
        if self._is_head_sent:
            self.fail(fault)
        else:
            self._answered(to_response(fault, request))

    def give_up(self) -> None:
        """Say that the gateway ends, if nothing was said yet, and to both sides of a WebSocket."""
        request, task = self._request, self._task
        if request is not None and self._frames is not None:
            received, sent = self._frames
            if received.may_be_closed and not self._is_request_complete:
                request.body.feed(GOING_AWAY_MASKED)
            if sent.may_be_closed and not self._is_answered:
                self._connection.codec.send_data(self.number, GOING_AWAY, is_last=True)
        if request is None or self._is_head_sent:
            return
        if task is not None:
            task.cancel()
        self._answered(to_response(GatewayError("SHUTTING_DOWN"), request))

    def refuse(self, error: RemoteProtocolError) -> None:
        """Answer what came in place of a request."""
        self._open_exchange()
        self._refuse(error)

    def note_fault(self, code: str) -> None:
        """Have a fault of the connection observed that was in no request."""
        self._open_exchange()
        self.abandon(code, 400)

    def _open_exchange(self) -> None:
        connection = self._connection
        name, peer = connection.factory.name, connection.peer
        request_id = f"{getrandbits(128):032x}"
        self._exchange = exchange = Exchange(name, peer, monotonic(), peer, request_id)
        connection.factory.resource.refuse(exchange)

    def _refuse(self, error: RemoteProtocolError) -> None:
        exchange = self._exchange
        assert exchange is not None
        status, headers, body = last_words(error, exchange.request_id)
        exchange.status, exchange.code = status, error.code
        exchange.first_byte_at = monotonic()
        exchange.bytes_out = len(body)
        codec, number = self._connection.codec, self.number
        self._is_head_sent = self._is_answered = True
        codec.send_head(number, status, headers, len(body), "", is_last=False)
        self._sent(is_all=codec.send_data(number, body, is_last=True))

    # -- Sink of the response's body

    def write(self, data: bytes) -> None:
        """Send the next bytes of the answer."""
        exchange = self._exchange
        if exchange is not None:
            exchange.bytes_out += len(data)
            if self._frames is not None:
                self._frames[1].follow(data)
            self._sent(is_all=self._connection.codec.send_data(self.number, data))

    def finish(self, trailers: Headers) -> None:
        """End the answer."""
        if self._exchange is not None:
            self._is_answered = True
            self._sent(is_all=self._connection.codec.send_end(self.number, trailers))

    def fail(self, error: Exception) -> None:
        """Break the answer off where the backend did, so that it never looks complete."""
        code, status = "CLIENT_GONE", 499
        if isinstance(error, GatewayError):
            code, status = error.fault.code, error.fault.status
        self._connection.codec.send_reset(self.number, frames.INTERNAL_ERROR)
        self._connection.flush()
        self.abandon(code, status)

    def _sent(self, *, is_all: bool) -> None:
        """Write, and hold the backend back if the client does not take all of it now."""
        self._connection.flush()
        if is_all:
            if self._is_answered:
                self._answer_is_out()
        elif not self._response_waits:
            self._pending = self._connection.codec.pending_on(self.number)
            if self._response_body is not None:
                self._response_body.pause()
            self._set_timer(self._connection.factory.timeouts.write_idle)

    def window_opened(self) -> None:
        """Let the backend go on: the client has taken what waited."""
        self._pending = 0
        if self._timer is not None:
            self._timer.cancel()
        if self._is_answered:
            self._answer_is_out()
        elif self._response_body is not None:
            self._response_body.resume()

    # -- deadlines

    def _set_timer(self, seconds: float) -> None:
        timer = self._timer
        if timer is None:
            timer = self._timer = self._connection.factory.timers.timer(self._expired)
        timer.set(seconds)

    def _expired(self) -> None:
        codec, timeouts = self._connection.codec, self._connection.factory.timeouts
        if self._response_waits:
            pending = codec.pending_on(self.number)
            if pending < self._pending:  # it takes it slowly
                self._pending = pending
                self._set_timer(timeouts.write_idle)
                return
        elif self._is_request_complete:
            return
        elif not self._is_head_sent:
            if self._task is not None:
                self._task.cancel()
            self._refuse(RemoteProtocolError("", "REQUEST_TIMEOUT"))
            return
        codec.send_reset(self.number, frames.CANCEL)
        self._connection.flush()
        self.abandon("CLIENT_GONE", 499)

    # -- the end

    def _answer_is_out(self) -> None:
        request = self._request
        if request is None or not request.upgrade or self._is_request_complete:
            self._finished()

    def _finished(self) -> None:
        """End the exchange whose last byte was sent."""
        if not self._is_request_complete:
            # RFC 9113 §8.1: the client need not send the rest.
            self._connection.codec.send_reset(self.number, frames.NO_ERROR)
            self._connection.flush()
        self._close()

    def abandon(self, code: str, status: int) -> None:
        """End the exchange before its answer is complete; its stream is gone."""
        exchange = self._exchange
        if exchange is None:
            return
        exchange.code = exchange.code or code
        exchange.status = exchange.status or status
        if self._task is not None:
            self._task.cancel()
        elif self._request is not None:  # it was never started, so nobody would hear of it
            self._connection.factory.resource.refuse(exchange)
        if self._response_body is not None:
            self._response_body.close()  # first: in a tunnel it would hear of the other's failure
        if self._request is not None:
            self._request.body.fail(RemoteProtocolError("the client is gone"))
        self._close()

    def _close(self) -> None:
        exchange, request, body = self._exchange, self._request, self._response_body
        self._exchange = self._request = self._task = self._response_body = None
        if self._timer is not None:
            self._timer.end()
            self._timer = None
        if request is not None:
            request.body.close()
        if body is not None:
            body.close()
        if exchange is not None:
            exchange.close()
        self._connection.has_ended(self)

"""One exchange on an HTTP/2 connection to a backend."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from a3s_gateway.body import Body
from a3s_gateway.errors import UpstreamConnectError, UpstreamError
from a3s_gateway.headers import EMPTY_HEADERS, Header, Headers
from a3s_gateway.http import Request, Response
from a3s_gateway.protocol.codec import RESET_BY_PEER, Informational, Reset, ResponseHead
from a3s_gateway.protocol.grpc import timeout_of
from a3s_gateway.protocol.http2 import frames
from a3s_gateway.protocol.http2.codes import name_of
from a3s_gateway.protocol.http2.hpack import Field
from a3s_gateway.protocol.websocket import accept_of
from a3s_gateway.task import Waiter

if TYPE_CHECKING:
    from a3s_gateway.transport.timers import Timer

    from .http2_connection import Http2Connection

MAX_KEPT: Final = 64 * 1024  # bytes of a request's body that are kept until it is answered
_EXPECT: Final = (b"expect", b"100-continue")
# RFC 9110 §8.6: say so when these have no body.
_ANTICIPATES_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_NO_LENGTH: Final = (b"content-length", b"0")
_KEY: Final = "sec-websocket-key"


class UnprocessedError(UpstreamConnectError):
    """The backend says that it has not looked at the request: once more does no harm."""


class UpstreamStream:
    """
    Sends one request and resolves to its response; the body follows as it comes.

    It is the source of the response's body and the sink of the request's. What it has sent of
    the latter it keeps for a while: until the answer begins, the backend may refuse the stream.

    Attributes:
        is_answered: The head of the response has come.

    """

    __slots__ = (
        "_body", "_connection", "_deadline", "_idle_timeout", "_is_paused", "_is_tunnel",
        "_is_uploading", "_kept", "_number", "_request", "_request_timeout", "_response",
        "_target", "_timer", "_upload", "_waiter", "is_answered",
    )  # fmt: skip

    def __init__(self, connection: Http2Connection) -> None:
        connection.taken += 1
        self._connection: Http2Connection | None = connection
        self._timer = connection.timers.timer(self._expired)
        self._deadline: Timer | None = None
        self._number = 0
        self._request: Request | None = None
        self._upload: Body | None = None
        self._target = ("", "")  # of a request to switch, and its authority
        self._is_tunnel = False
        self._is_uploading = False
        self._kept: list[bytes] | None = None
        self._waiter: Waiter[Response] | None = None
        self._response: Response | None = None
        self._body: Body | None = None
        self._is_paused = False
        self._request_timeout = self._idle_timeout = 0.0
        self.is_answered = False

    # -- one exchange

    def send(
        self,
        request: Request,
        target: str,
        authority: str,
        request_timeout: float,
        idle_timeout: float,
    ) -> Waiter[Response]:
        """Send a request, as `UpstreamConnection.send` does."""
        connection = self._connection
        assert connection is not None
        codec = connection.codec
        self._request = request
        self._request_timeout, self._idle_timeout = request_timeout, idle_timeout
        waiter = self._waiter = Waiter()
        if request.upgrade:
            self._kept, self._target = [], (target, authority)
            self._timer.set(request_timeout)
            connection.when_greeted(self)
            return waiter
        body = request.body
        is_whole = body.is_complete and body.trailers is EMPTY_HEADERS
        data = body.take() if is_whole else b""
        is_last = is_whole and not data
        number = self._number = codec.send_request(
            request.method, target, authority, request.headers,
            _extra_fields(request, body, is_empty=is_last), is_last=is_last,
        )  # fmt: skip
        connection.began(number, self)
        if request.method == "POST":
            self._keep_deadline(request)
        if is_whole:
            if len(data) <= MAX_KEPT:
                self._kept = [data]
            if data:
                codec.send_data(number, data, is_last=True)
            self._timer.set(request_timeout)
        else:
            self._upload, self._is_uploading, self._kept = body, True, []
            self._timer.set(idle_timeout)
            body.pipe(self)
        connection.flush()
        return waiter

    def ask_to_switch(self) -> None:
        """Send a request whose body is what follows if the backend agrees (RFC 8441)."""
        connection, request = self._connection, self._request
        if connection is None or request is None:
            return  # nobody waits for it any more
        codec = connection.codec
        if not codec.takes_connect:
            self.fail(UpstreamError("UPSTREAM_NO_UPGRADE", "its settings allow no such CONNECT"))
        elif codec.is_going_away or len(codec.streams) >= codec.max_streams:
            self.refuse("its settings allow fewer streams than were begun")
        else:
            target, authority = self._target
            self._number = codec.send_request(
                "CONNECT", target, authority, request.headers.without(_KEY),
                _extra_fields(request, request.body, is_empty=True), is_last=False,
                protocol=request.upgrade,
            )  # fmt: skip
            connection.began(self._number, self)
            connection.flush()

    def _switch(self, request: Request, headers: Headers) -> Response:
        """Become a tunnel; what says so is the 101 of HTTP/1.1, whoever the client is."""
        self._is_tunnel = self._is_uploading = True
        key = request.headers.find(_KEY)
        if key is not None:
            headers = headers.plus(Header.of("Sec-WebSocket-Accept", accept_of(key)))
        self._upload = request.body
        request.body.pipe(self)
        assert self._body is not None
        return Response(101, headers, self._body)

    def _keep_deadline(self, request: Request) -> None:
        """Wait no longer than a gRPC client, which may be gone without a word."""
        timeout = timeout_of(request.headers.find("grpc-timeout") or "")
        if timeout is not None:
            assert self._connection is not None
            self._deadline = self._connection.timers.timer(self._is_late)
            self._deadline.set(max(0.0, request.exchange.started_at + timeout - monotonic()))

    def abort(self) -> None:
        """Drop the exchange; the backend is told. Harmless when repeated."""
        self._waiter = None
        self._body = None
        self._leave(frames.CANCEL)

    def fail(self, error: Exception) -> None:
        """End the exchange with `error`, for whoever waits for its head or reads its body."""
        waiter, self._waiter = self._waiter, None
        body, self._body = self._body, None
        if waiter is not None:
            self._give_back()
        self._leave(frames.CANCEL)
        if waiter is not None:
            waiter.reject(error)
        if body is not None:
            body.fail(error)

    def refuse(self, detail: str) -> None:
        """End it, not having been looked at: it can be sent again, if all of it is still there."""
        if self._waiter is not None and self._kept is not None:
            self.fail(UnprocessedError("UPSTREAM_RESET", detail))
        else:
            self.fail(UpstreamError("UPSTREAM_RESET", detail))

    def _give_back(self) -> None:
        """Put back what was taken of the request's body."""
        request, kept = self._request, self._kept
        self._kept = None
        if request is not None and kept is not None:
            request.body.put_back(b"".join(kept))
            self._upload = None

    def _leave(self, code: int) -> None:
        """Give up the stream; it is reset unless it is over on both sides."""
        self._timer.end()
        if self._deadline is not None:
            self._deadline.end()
        connection, self._connection = self._connection, None
        self._request = None
        upload, self._upload = self._upload, None
        self._is_uploading = False
        if upload is not None:
            upload.close()
        if connection is not None:
            connection.codec.send_reset(self._number, code)
            connection.ended(self._number)
            connection.flush()

    # -- Sink of the request's body

    def write(self, data: bytes) -> None:
        """Send the next bytes of the request's body."""
        connection = self._connection
        if connection is None or self._upload is None:
            return
        kept = self._kept
        if kept is not None:
            kept.append(data)
            if self.is_answered or sum(map(len, kept)) > MAX_KEPT:
                self._kept = None
        self._timer.set(self._idle_timeout)
        if not connection.codec.send_data(self._number, data):
            self._upload.pause()
        connection.flush()

    def finish(self, trailers: Headers) -> None:
        """End the request."""
        connection = self._connection
        if connection is None or not self._is_uploading:
            return
        self._is_uploading = False
        self._upload = None
        connection.codec.send_end(self._number, trailers)
        if self._waiter is not None and not self._is_tunnel:
            self._timer.set(self._request_timeout)
        connection.flush()
        if self._is_tunnel and self._body is None:
            self._leave(frames.CANCEL)

    def opened(self) -> None:
        """Go on: what waited for the backend is on its way."""
        if self._upload is not None:
            self._timer.set(self._idle_timeout)
            self._upload.resume()

    # -- Source of the response's body

    def pause(self) -> None:
        """Let the backend send no more than its window: the client is slower."""
        self._is_paused = True
        self._timer.cancel()

    def resume(self) -> None:
        """Let it go on."""
        self._is_paused = False
        connection = self._connection
        if connection is not None:
            self._timer.set(self._idle_timeout)
            connection.codec.consumed(self._number, UNLIMITED)
            connection.flush()

    def cancel(self) -> None:
        """Drop the rest of the response."""
        self.abort()

    # -- from the wire

    def begin(self, head: ResponseHead) -> None:
        """Take the head of the response; `answer` hands it on."""
        self.is_answered = True
        self._kept = None
        body = self._body = Body(self, head.announced)
        self._timer.set(self._idle_timeout)
        request = self._request
        if request is not None and request.upgrade and head.status < 300:
            self._response = self._switch(request, head.headers)
        else:
            self._response = Response(head.status, head.headers, body, head.reason)

    def answer(self) -> None:
        """Hand the head to whoever waits for it."""
        waiter, self._waiter = self._waiter, None
        response, self._response = self._response, None
        if waiter is not None and response is not None:
            waiter.resolve(response)

    def feed(self, data: bytes, is_last: bool) -> None:  # noqa: FBT001 - by position: often called
        """Take the next bytes of the response's body."""
        body = self._body
        if body is not None:
            body.feed(data)
            connection = self._connection
            if is_last:
                self.end(EMPTY_HEADERS)
            elif not self._is_paused and connection is not None:
                self._timer.set(self._idle_timeout)
                connection.codec.consumed(self._number, len(data))

    def end(self, trailers: Headers) -> None:
        """
        Take the end of the response.

        What is still to come of the request is not wanted, unless it is a tunnel: there each
        side may go on when the other has ended.
        """
        body, self._body = self._body, None
        if not (self._is_tunnel and self._is_uploading):
            self._leave(frames.CANCEL)
        if body is not None:
            body.end(trailers)

    def reset(self, event: Reset) -> None:
        """Take note that the stream has broken."""
        detail = f"{event.reason} ({name_of(event.code)})"
        if event.reason != RESET_BY_PEER:
            self.fail(UpstreamError("UPSTREAM_PROTOCOL", detail))
        elif event.code == frames.REFUSED_STREAM:
            self.refuse(detail)
        else:
            self.fail(UpstreamError("UPSTREAM_RESET", detail))

    def inform(self, event: Informational) -> None:
        """Pass an interim response on."""
        request = self._request
        if request is not None and request.exchange.inform is not None:
            request.exchange.inform(event.status, event.reason, event.headers)

    def _is_late(self) -> None:
        self.fail(UpstreamError("UPSTREAM_TIMEOUT", "the client's deadline has passed"))

    def _expired(self) -> None:
        waited_for = "head of the response" if self._waiter is not None else "body"
        self.fail(UpstreamError("UPSTREAM_TIMEOUT", f"no {waited_for} in time"))


UNLIMITED: Final = 2**31  # bytes: all that is there


def _extra_fields(request: Request, body: Body, *, is_empty: bool) -> list[Field]:
    """Return what concerns this hop: framing, and the request id."""
    fields: list[Field] = []
    if not is_empty:
        if body.length is not None:
            fields.append((b"content-length", str(body.length).encode()))
        if body.ask is not None and not body.begun:
            fields.append(_EXPECT)
    elif request.method in _ANTICIPATES_BODY:
        fields.append(_NO_LENGTH)
    if request.exchange.request_id:
        fields.append((b"x-request-id", request.exchange.request_id.encode("latin-1")))
    return fields

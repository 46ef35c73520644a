"""The client's side of an HTTP/2 connection (RFC 9113)."""

from __future__ import annotations

from typing import Final

from a3s_gateway.errors import LocalProtocolError, RemoteProtocolError
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.protocol.codec import CHUNKED, End, Informational, ResponseHead

from . import frames
from .core import Http2Core
from .hpack import Field
from .receiver import ConnectionFaultError
from .request_head import parse_trailers
from .response_head import parse_response
from .sender import fields_of
from .settings import DEFAULT_SETTINGS, Settings
from .stream import Stream

MAX_STREAMS: Final = 256  # of one connection: they share a window, and what a lost packet holds up
ASSUMED_STREAMS: Final = 100  # where nothing is known of the peer, as other clients do
MAX_INFORMATIONAL: Final = 16  # 1xx heads before the final one
_NOT_REMEMBERED: Final = ("HEAD", "CONNECT")  # their answers mean something else
_OURS: Final = Settings(
    max_concurrent_streams=0,
    # Clients share the connection: one that stands still must not stop the others.
    connection_window=MAX_STREAMS * DEFAULT_SETTINGS.stream_window,
    max_header_list=64 * 1024,
)
_GREETING: Final = frames.PREFACE + frames.settings(
    (
        (frames.ENABLE_PUSH, 0),
        (frames.INITIAL_WINDOW_SIZE, _OURS.stream_window),
        (frames.MAX_HEADER_LIST_SIZE, _OURS.max_header_list),
    )
) + frames.window_update(0, _OURS.connection_window - frames.DEFAULT_WINDOW)  # fmt: skip


class Http2Client(Http2Core):
    """
    Requests out, responses in, many at a time.

    Args:
        scheme: `http` or `https`, of this connection.
        max_streams: What is assumed until the peer says what it takes.

    Attributes:
        max_streams: How many requests may be under way.
        is_going_away: No more may be begun.
        takes_connect: The peer takes extended CONNECT (RFC 8441).

    """

    __slots__ = (
        "_interim", "_last_fields", "_last_head", "_last_headers", "_last_sent", "_methods",
        "_next", "_scheme", "is_going_away", "max_streams", "takes_connect",
    )  # fmt: skip

    def __init__(self, scheme: str, max_streams: int = ASSUMED_STREAMS) -> None:
        super().__init__(_OURS)
        self._out.append(_GREETING)
        self._scheme = (b":scheme", scheme.encode())
        self._next = 1
        self._methods: dict[int, str] = {}  # of requests whose final head has not come
        self._interim: dict[int, int] = {}  # 1xx heads of those that have got some
        self.max_streams = max_streams
        self.is_going_away = False
        self.takes_connect = False
        # Clients and backends repeat themselves: what was derived from the last head of each.
        self._last_headers: Headers | None = None
        self._last_sent: list[Field] = []
        self._last_fields: list[Field] | None = None
        self._last_head: ResponseHead | None = None

    # -- sending

    def send_request(
        self,
        method: str,
        target: str,
        authority: str,
        headers: Headers,
        extra: list[Field],
        *,
        is_last: bool,
        protocol: str = "",
    ) -> int:
        """
        Begin a stream with the head of a request, and return its number.

        Args:
            method: A token.
            target: In canonical origin form, or `*`.
            authority: As the backend is to see it.
            headers: The end-to-end fields.
            extra: What goes to this hop beside them.
            is_last: No body follows.
            protocol: That an extended CONNECT asks for.

        """
        number = self._next
        if self.is_going_away or self.is_closed or len(self.streams) >= self.max_streams:
            raise LocalProtocolError("a request on a connection that takes no more")
        self._next = number + 2
        if number + 2 > frames.LAST_STREAM:
            self.is_going_away = True
        self.streams[number] = Stream(number, self._peer_initial_window, _OURS.stream_window)
        self._methods[number] = method
        if headers is not self._last_headers:
            self._last_sent = fields_of(headers)
            self._last_headers = headers
        self.send_fields(
            number,
            [
                (b":method", method.encode("latin-1")),
                *([(b":protocol", protocol.encode("latin-1"))] if protocol else ()),
                self._scheme,
                (b":authority", authority.encode("latin-1")),
                (b":path", target.encode("latin-1")),
                *self._last_sent,
                *extra,
            ],
            is_last=is_last,
        )
        return number

    def send_ping(self) -> None:
        """Ask whether the peer is still there."""
        self._out.append(frames.frame(frames.PING, 0, 0, bytes(8)))

    # -- receiving

    def _receive_head_of_none(
        self,
        number: int,
        fields: list[Field] | None,  # noqa: ARG002 - of a request that is over
        *,
        is_last: bool,  # noqa: ARG002
    ) -> None:
        self._receive_stray(number, "HEADERS")

    def _receive_fields(self, stream: Stream, fields: list[Field] | None, *, is_last: bool) -> None:
        if fields is None:
            self._fault(stream.number, frames.PROTOCOL_ERROR, "the response head is too large")
            return
        try:
            if stream.has_head:
                if not is_last:
                    raise RemoteProtocolError("fields come in the middle of a response")  # noqa: TRY301
                trailers = parse_trailers(fields)
                self._receive_end(stream, End(trailers, stream.number))
            else:
                self._receive_head(stream, fields, is_last=is_last)
        except ConnectionFaultError:
            raise
        except RemoteProtocolError as error:
            self._fault(stream.number, frames.PROTOCOL_ERROR, error.reason)

    def _receive_head(self, stream: Stream, fields: list[Field], *, is_last: bool) -> None:
        number = stream.number
        method = self._methods[number]
        last = self._last_head
        if fields is self._last_fields and last is not None and method not in _NOT_REMEMBERED:
            head: ResponseHead | Informational = ResponseHead(
                last.status, "", last.headers, last.length, True, last.announced, number  # noqa: FBT003
            )  # fmt: skip
        else:
            head = parse_response(fields, method=method, number=number)
        if isinstance(head, Informational):
            self._receive_interim(head, is_last=is_last)
            return
        if method not in _NOT_REMEMBERED:
            self._last_fields, self._last_head = fields, head
        stream.has_head = True
        if head.length != CHUNKED:
            stream.expected = head.length
        if is_last:
            self._receive_empty(stream, head)
        else:
            self._events.append(head)

    def _receive_empty(self, stream: Stream, head: ResponseHead) -> None:
        """Take a response that ends with its head."""
        if head.length > 0:
            raise RemoteProtocolError("the body is not what Content-Length says")
        self._events.append(head)
        self._receive_end(stream, End(EMPTY_HEADERS, stream.number))

    def _receive_interim(self, head: Informational, *, is_last: bool) -> None:
        number = head.stream
        count = self._interim[number] = self._interim.get(number, 0) + 1
        if is_last or count > MAX_INFORMATIONAL:
            raise RemoteProtocolError("the response has no end of interim heads, or no final one")
        self._events.append(head)

    def _receive_goaway(self, number: int, payload: bytes) -> None:
        super()._receive_goaway(number, payload)
        self.is_going_away = True

    def _receive_settings(self, flags: int, number: int, payload: bytes) -> None:
        if not self._is_greeted:
            self.max_streams = MAX_STREAMS  # unless they say less
        super()._receive_settings(flags, number, payload)

    def _apply(self, identifier: int, value: int) -> None:
        if identifier == frames.MAX_CONCURRENT_STREAMS:
            self.max_streams = min(value, MAX_STREAMS)
        elif identifier == frames.ENABLE_CONNECT_PROTOCOL:
            self.takes_connect = bool(value)
        super()._apply(identifier, value)

    def _is_idle(self, number: int) -> bool:
        # Even numbers would be the server's, which may not push.
        return number >= self._next or not number & 1

    def _drop(self, stream: Stream, *, by_us: bool) -> None:
        self._methods.pop(stream.number, None)
        self._interim.pop(stream.number, None)
        super()._drop(stream, by_us=by_us)

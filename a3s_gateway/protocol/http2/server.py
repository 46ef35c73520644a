"""The server's side of an HTTP/2 connection."""

from __future__ import annotations

from typing import Final

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import Headers
from a3s_gateway.protocol.codec import End, Head, Http2Event, Refused
from a3s_gateway.protocol.http1.request_head import DEFAULT_LIMITS, Limits

from . import frames
from .core import Http2Core
from .hpack import Field, literal
from .receiver import ConnectionFaultError
from .request_head import MalformedError, parse_request, parse_trailers
from .sender import fields_of
from .settings import DEFAULT_SETTINGS, Settings
from .stream import Stream

_REMEMBERED: Final = 16  # heads; as many as the decoder remembers blocks

_REMEMBERED_SIZE: Final = 1024  # bytes of the lines of one
_STATUSES: Final = {code: (b":status", b"%d" % code) for code in range(100, 600)}


class Http2Server(Http2Core):
    """
    Requests in, responses out, many at a time.

    After a `Head` come `Data` and `End` of its stream, unless `Reset` says that there is no
    such stream any more. A `Refused` stands in place of a head and of all that follows it.

    Attributes:
        is_going_away: No new streams are taken.

    """

    __slots__ = ("_awaits_preface", "_heads", "_last_served", "_limits", "is_going_away")

    def __init__(self, local: Settings = DEFAULT_SETTINGS, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(local)
        self._limits = limits
        self._awaits_preface = True
        self.is_going_away = False
        self._last_served = frames.LAST_STREAM
        # By the list of fields that the decoder gave out: while a client repeats itself, that is
        # the same one. It is kept, or another could come to have its identity.
        self._heads: dict[int, tuple[list[Field], Head]] = {}
        self._out.append(frames.settings(announced(local)))
        more = local.connection_window - frames.DEFAULT_WINDOW
        if more > 0:
            self._out.append(frames.window_update(0, more))

    def retune(self, limits: Limits, local: Settings) -> None:
        """Judge heads by other limits from the next one on, and tell the client what it may do."""
        self._limits = limits
        self._heads = {}
        if local != self.local:
            self._out.append(frames.settings(announced(local)))
            self.become(local)

    def upgrade(self, head: Head, settings: bytes) -> Head:
        """
        Take over a request that asked, in HTTP/1.1, for HTTP/2: it is stream 1 (RFC 7540 §3.2).

        Args:
            head: Its body, if any, has been received.
            settings: The payload of SETTINGS that its HTTP2-Settings field was.

        Raises:
            RemoteProtocolError: They are not acceptable.

        """
        if len(settings) % 6:
            raise RemoteProtocolError("HTTP2-Settings is malformed")
        self.apply_settings(settings)
        self._note_number(1)
        stream = self._open(1)
        stream.is_receiving = False
        stream.has_head = True
        return _on_stream(head, 1)

    # -- receiving

    def receive_data(self, data: bytes, now: float) -> list[Http2Event]:
        """Take the next bytes off the wire, first of all the client's preface."""
        if not self._awaits_preface or self.is_closed:
            return super().receive_data(data, now)
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        size = len(frames.PREFACE)
        if data[:size] != frames.PREFACE[: len(data)]:
            events: list[Http2Event] = []
            self._events = events
            fault = ConnectionFaultError(frames.PROTOCOL_ERROR, "the preface is not HTTP/2's")
            self._close(fault)
            return events
        if len(data) < size:
            self._buffer = data
            return []
        self._awaits_preface = False
        return super().receive_data(data[size:], now)

    def _is_idle(self, number: int) -> bool:
        return number > self.last_stream or number % 2 == 0 or self._was_skipped(number)

    def _receive_head_of_none(
        self, number: int, fields: list[Field] | None, *, is_last: bool
    ) -> None:
        if number % 2 == 0:
            raise ConnectionFaultError(
                frames.PROTOCOL_ERROR, "a client's stream has an even number"
            )
        if number <= self.last_stream:
            if number in self._was_reset:
                self._spend_control()  # it was on its way when we reset the stream
                return
            if self._was_skipped(number):
                raise ConnectionFaultError(frames.PROTOCOL_ERROR, "a stream has too low a number")
            raise ConnectionFaultError(frames.STREAM_CLOSED, "HEADERS on a closed stream")
        if number != self.last_stream + 2:
            self._note_number(number)
        self.last_stream = number
        if number > self._last_served:
            self._remember_reset(number)  # §6.8: whoever was told of it repeats it elsewhere
            self._spend_control()
        elif len(self.streams) >= self.local.max_concurrent_streams:
            self._fault(number, frames.REFUSED_STREAM, "there are too many streams")
        else:
            self._begin(number, fields, is_last=is_last)

    def _begin(self, number: int, fields: list[Field] | None, *, is_last: bool) -> None:
        stream = self._open(number)
        stream.is_receiving = not is_last
        try:
            template = self._head(fields, is_last=is_last)
        except MalformedError as error:
            self._fault(number, frames.PROTOCOL_ERROR, error.reason)
            return
        except RemoteProtocolError as error:
            stream.has_head = True
            self._events.append(Refused(error, number))
            return
        stream.has_head = True
        if template.length > 0:
            stream.expected = template.length
        elif template.length == 0 and not is_last:
            stream.expected = 0
        self._events.append(_on_stream(template, number))

    def _head(self, fields: list[Field] | None, *, is_last: bool) -> Head:
        """Return the head that `fields` are, without its stream's number."""
        if fields is None:
            raise RemoteProtocolError("the head is too large", "HEADERS_TOO_LARGE")
        key = id(fields) if is_last else -id(fields)
        known = self._heads.get(key)
        if known is not None and known[0] is fields:
            return known[1]
        head = parse_request(fields, self._limits, is_last=is_last)
        if len(head.headers.wire) <= _REMEMBERED_SIZE:
            if len(self._heads) >= _REMEMBERED:
                self._heads.clear()
            self._heads[key] = (fields, head)
        return head

    def _open(self, number: int) -> Stream:
        stream = Stream(number, self._peer_initial_window, self._stream_window)
        self.streams[number] = stream
        return stream

    def _receive_fields(self, stream: Stream, fields: list[Field] | None, *, is_last: bool) -> None:
        number = stream.number
        if fields is None:
            self._fault(number, frames.ENHANCE_YOUR_CALM, "the trailers are too large")
            return
        if not is_last:
            self._fault(number, frames.PROTOCOL_ERROR, "trailers do not end the stream")
            return
        size = sum(len(name) + len(value) for name, value in fields)
        if size > self._limits.max_trailers:
            self._fault(number, frames.ENHANCE_YOUR_CALM, "the trailers are too large")
            return
        try:
            trailers = parse_trailers(fields)
        except MalformedError as error:
            self._fault(number, frames.PROTOCOL_ERROR, error.reason)
            return
        self._receive_end(stream, End(trailers, number))

    # -- sending

    def send_informational(self, number: int, status: int, headers: Headers) -> None:
        """Send a 1xx head."""
        self.send_fields(number, [_STATUSES[status], *fields_of(headers)], is_last=False)

    def send_head(
        self,
        number: int,
        status: int,
        headers: Headers,
        length: int | None,
        request_id: str,
        *,
        is_last: bool,
    ) -> None:
        """
        Send the final head.

        Args:
            number: Of the stream.
            status: 200 to 599.
            headers: The end-to-end fields.
            length: For Content-Length; None to leave it out.
            request_id: For X-Request-Id; empty to leave it out.
            is_last: No body follows.

        """
        stream = self._awaiting_head(number)
        if stream is None:
            return
        key = status, length, headers.wire  # backends repeat themselves
        block = self._encoder.known(key)
        if block is None:
            fields = fields_of(headers)
            fields.insert(0, _STATUSES[status])
            if length is not None:
                fields.append((b"content-length", b"%d" % length))
            block = self._encoder.encode(fields, key)
        if request_id:
            block += literal(b"x-request-id", request_id.encode("ascii"))
        self._send_block(stream, block, is_last=is_last)

    def announce_end(self) -> None:
        """Say that no more streams are welcome; those on their way are still served (§6.8)."""
        if not self.is_going_away:
            self.is_going_away = True
            self.send_goaway(frames.LAST_STREAM)

    def refuse_streams(self) -> None:
        """Say that no stream beyond those that have come will be served."""
        self.is_going_away = True
        self._last_served = self.last_stream
        self.send_goaway(self.last_stream)


def announced(local: Settings) -> list[tuple[int, int]]:
    """Return what a client is told in the first SETTINGS."""
    return [
        (frames.MAX_CONCURRENT_STREAMS, local.max_concurrent_streams),
        (frames.INITIAL_WINDOW_SIZE, local.stream_window),
        (frames.MAX_HEADER_LIST_SIZE, local.max_header_list),
        (frames.ENABLE_CONNECT_PROTOCOL, 1),
    ]


def _on_stream(head: Head, number: int) -> Head:
    """Return the same head with its stream's number; `attrs.evolve` takes ten times as long."""
    return Head(
        head.method, head.path, head.query, head.host, head.authority, 20, head.headers,
        head.length, head.forwarded, head.request_id, head.expects_continue,
        upgrade=head.upgrade, stream=number,
    )  # fmt: skip

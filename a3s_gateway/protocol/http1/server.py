"""The server's side of an HTTP/1.1 connection (RFC 9112)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from a3s_gateway.errors import LocalProtocolError, RemoteProtocolError
from a3s_gateway.headers import Headers
from a3s_gateway.protocol.codec import CHUNKED, Data, End, Head, ServerEvent
from a3s_gateway.protocol.http1 import chunked, fields
from a3s_gateway.protocol.http1.chunked import ChunkedDecoder
from a3s_gateway.protocol.http1.request_head import (
    DEFAULT_LIMITS,
    LINE_WITHOUT_TARGET,
    REMEMBERED,
    Http2PrefaceError,
    Limits,
    RequestHeadParser,
)
from a3s_gateway.protocol.upgrade import WEBSOCKET, wanted
from a3s_gateway.protocol.websocket import check_handshake

_MAX_BLANK_LINES: Final = 4  # before a request line (RFC 9112 §2.2 asks for at least one)

# Where the receiving side stands.
_HEAD: Final = 0
_BODY: Final = 1
_CHUNKS: Final = 2
_DONE: Final = 3
_CLOSED: Final = 4


class Http1Server:
    """
    Requests in, responses out, one at a time; what is pipelined behind waits its turn.

    After `Head` come `Data` and `End` as the body has them; the next `Head` comes only from
    `next_cycle`, which is called when the response has been sent.

    Attributes:
        is_fresh: No request has ended yet.
        is_request_complete: The current request has been received to its end.
        keep_alive: Another request may follow; whoever wants to close sets it to false before
            the response's head is sent, and it says so.

    """

    __slots__ = (
        "_blank_lines", "_body_left", "_buffer", "_decoder", "_framing", "_last_head",
        "_last_wire", "_limits", "_parser", "_receiving", "_sending", "is_fresh",
        "is_request_complete", "keep_alive",
    )  # fmt: skip

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = b""
        self._receiving = _HEAD
        self._sending = False
        self._body_left = 0
        self._blank_lines = 0  # before the current request line
        self._decoder: ChunkedDecoder | None = None
        self._framing = 0
        self._parser = RequestHeadParser(limits)
        # The last head and its bytes: clients repeat themselves.
        self._last_wire = b""
        self._last_head: Head | None = None
        self.is_fresh = True
        self.is_request_complete = False
        self.keep_alive = True

    def retune(self, limits: Limits) -> None:
        """Judge by other limits from the next head on."""
        self._limits = limits
        self._parser = RequestHeadParser(limits)
        self._last_wire = b""  # it was judged by the old ones

    # -- receiving

    @property
    def is_idle(self) -> bool:
        """Whether no request has begun."""
        return self._receiving == _HEAD and not self._buffer

    @property
    def is_full(self) -> bool:
        """Whether enough is pipelined that reading should stop until the next cycle."""
        return self._receiving == _DONE and len(self._buffer) >= self._limits.max_pipelined

    def receive_data(self, data: bytes) -> list[ServerEvent]:
        """
        Take the next bytes off the wire.

        Raises:
            RemoteProtocolError: They are not HTTP as it must be; nothing more is read.

        """
        state = self._receiving
        if state == _BODY:
            return self._receive_body(data)
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if state == _HEAD:
            return self._receive_head(data)
        if state == _CHUNKS:
            return self._receive_chunks(data)
        if state == _DONE:
            self._buffer = data
        return []

    def next_cycle(self) -> list[ServerEvent]:
        """
        Begin the next request, once this one and its response are complete.

        Raises:
            RemoteProtocolError: What was pipelined is malformed.
            LocalProtocolError: They are not complete.

        """
        if self._sending or self._receiving != _DONE:
            raise LocalProtocolError(f"next_cycle in state {self._receiving}")
        self._receiving = _HEAD
        self.is_fresh = False
        self.is_request_complete = False
        self._blank_lines = 0
        if not self._last_wire:
            self._last_head = None
        if not self._buffer:
            return []
        return self.receive_data(b"")

    def _receive_head(self, data: bytes) -> list[ServerEvent]:
        wire = self._last_wire
        if wire and data.startswith(wire):
            head = self._last_head
            assert head is not None
            size = len(wire)
        else:
            end = data.find(b"\r\n\r\n")
            if end < 0 or data.startswith(b"\r\n"):
                return self._receive_unfinished_head(data)
            if end > self._limits.max_head:
                raise RemoteProtocolError("the head is too large", "HEADERS_TOO_LARGE")
            size = end + 4
            wire = data if len(data) == size else data[:size]
            try:
                head = self._parser.parse(wire)
            except Http2PrefaceError:
                self._buffer = data
                raise
            if head.upgrade and head.length == 0 and wanted(head.upgrade) == WEBSOCKET:
                check_handshake(head.method, head.headers)
            self._last_wire = wire if size <= REMEMBERED else b""
            self._last_head = head
        self.keep_alive = head.keep_alive
        self._sending = True
        length = head.length
        if length == 0:
            self._receiving = _DONE
            self.is_request_complete = True
            if len(data) > size:
                self._buffer = data[size:]
            return [head]
        events: list[ServerEvent] = [head]
        if length == CHUNKED:
            self._receiving = _CHUNKS
            self._decoder = ChunkedDecoder(self._limits.max_trailers)
        else:
            self._receiving = _BODY
            self._body_left = length
        if len(data) > size:
            events += self.receive_data(data[size:])
        return events

    def _receive_unfinished_head(self, data: bytes) -> list[ServerEvent]:
        """Wait for the rest, unless what is there is wrong or too much already."""
        if data.startswith(b"\r\n"):
            self._blank_lines += 1
            if self._blank_lines > _MAX_BLANK_LINES:
                raise RemoteProtocolError("blank lines come before the request")
            return self._receive_head(data[2:])
        if fields.has_bare_line_end(data):
            raise RemoteProtocolError("a line does not end in CRLF")
        end = data.find(b"\r\n")
        line_size = len(data) - 1 if end < 0 else end  # its CR may have come
        if line_size > self._limits.max_target + LINE_WITHOUT_TARGET:
            raise RemoteProtocolError("", "URI_TOO_LONG")
        if len(data) > self._limits.max_head + 3:  # of the four bytes that end it
            raise RemoteProtocolError("the head is too large", "HEADERS_TOO_LARGE")
        self._buffer = data
        return []

    def _receive_body(self, data: bytes) -> list[ServerEvent]:
        left = self._body_left - len(data)
        if left > 0:
            self._body_left = left
            return [Data(data, is_last=False)]
        self._body_left = 0
        self._receiving = _DONE
        self.is_request_complete = True
        if left < 0:
            self._buffer = data[left:]
            data = data[:left]
        return [Data(data, is_last=True)]

    def _receive_chunks(self, data: bytes) -> list[ServerEvent]:
        decoder = self._decoder
        assert decoder is not None
        payload = decoder.feed(data)
        events: list[ServerEvent] = [Data(payload, is_last=False)] if payload else []
        if decoder.is_done:
            self._receiving = _DONE
            self.is_request_complete = True
            self._buffer = decoder.rest
            self._decoder = None
            events.append(End(decoder.trailers))
        return events

    # -- sending

    def send_informational(self, status: int, reason: str, headers: Headers) -> bytes:
        """Serialise a 1xx head; HTTP/1.0 has none of these, so there it is nothing."""
        head = self._last_head
        if not self._sending or head is None:
            raise LocalProtocolError("an informational response without a request")
        if head.version == 10:
            return b""
        return b"%b%b\r\n" % (_status_line(status, reason), headers.wire)

    def take_unread(self) -> bytes:
        """Return what was received and is not HTTP/1.1; the codec has ended."""
        self._receiving = _CLOSED
        rest, self._buffer = self._buffer, b""
        return rest

    def switch_protocols(
        self, upgrade: str, headers: Headers, request_id: str
    ) -> tuple[bytes, bytes]:
        """
        Agree to another protocol: HTTP ends here (RFC 9110 §15.2.2).

        Returns:
            The head of the answer, and what the client has sent of that protocol already.

        """
        head = self._last_head
        if not self._sending or head is None or not head.upgrade or self._receiving != _DONE:
            raise LocalProtocolError("a change of protocols that was not asked for")
        self._receiving = _CLOSED
        self._sending = False
        self.keep_alive = False
        rest, self._buffer = self._buffer, b""
        fields = f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\nX-Request-Id: {request_id}\r\n"
        wire = _status_line(101, "") + headers.wire + fields.encode("ascii") + b"\r\n"
        return wire, rest

    def send_head(
        self,
        status: int,
        reason: str,
        headers: Headers,
        length: int | None,
        request_id: str,
    ) -> bytes:
        """
        Serialise the final head, with the framing that the body's `length` allows.

        Args:
            status: 200 to 599.
            reason: Of a backend that speaks HTTP/1; empty for the standard phrase.
            headers: The end-to-end fields.
            length: Of the body in bytes, None when it is not known; where no body may follow
                (HEAD, 304), what it would be.
            request_id: For X-Request-Id; empty to leave it out.

        """
        head = self._last_head
        if not self._sending or head is None:
            raise LocalProtocolError("a response without a request")
        framing = b""
        if head.method == "HEAD" or status in (204, 304):
            self._framing = 0
            if length is not None and status != 204:
                framing = b"Content-Length: %d\r\n" % length
        elif length is not None:
            self._framing = 0
            framing = b"Content-Length: %d\r\n" % length
        elif head.version == 11:
            self._framing = CHUNKED
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            self._framing = 0
            self.keep_alive = False
        if not self.keep_alive:
            framing += b"Connection: close\r\n"
        elif head.version == 10:
            framing += b"Connection: keep-alive\r\n"
        if request_id:
            framing += f"X-Request-Id: {request_id}\r\n".encode("ascii")
        return _status_line(status, reason) + headers.wire + framing + b"\r\n"

    def send_refusal(self, status: int, headers: Headers, body: bytes) -> bytes:
        """Serialise a whole answer to what could not be parsed; the last one there is."""
        self._receiving = _CLOSED
        self._sending = False
        self.keep_alive = False
        framing = b"Content-Length: %d\r\nConnection: close\r\n" % len(body)
        return b"%b%b%b\r\n%b" % (_status_line(status, ""), headers.wire, framing, body)

    def send_whole(
        self,
        status: int,
        reason: str,
        headers: Headers,
        length: int | None,
        request_id: str,
        data: bytes,
        trailers: Headers,
    ) -> tuple[bytes, bytes]:
        """Serialise a response that is all there: its head, and the bytes to follow."""
        head = self.send_head(status, reason, headers, length, request_id)
        self._sending = False
        if self._framing == CHUNKED:
            return head, chunked.chunk(data) + chunked.last_chunk(trailers)
        return head, data

    def send_data(self, data: bytes) -> bytes:
        """Serialise bytes of the body."""
        return chunked.chunk(data) if self._framing == CHUNKED else data

    def send_end(self, trailers: Headers) -> bytes:
        """Serialise the end of the response."""
        self._sending = False
        return chunked.last_chunk(trailers) if self._framing == CHUNKED else b""


def _status_line(status: int, reason: str) -> bytes:
    line = _STATUS_LINES.get((status, reason))
    return line or f"HTTP/1.1 {status} {reason}\r\n".encode("latin-1")


_STATUS_LINES: Final = {
    (int(status), reason): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode()
    for status in HTTPStatus
    for reason in ("", status.phrase)
}

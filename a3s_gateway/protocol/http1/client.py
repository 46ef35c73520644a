"""The client's side of an HTTP/1.1 connection (RFC 9112)."""

from __future__ import annotations

import re
from typing import Final

from a3s_gateway.errors import LocalProtocolError, RemoteProtocolError
from a3s_gateway.headers import (
    CONNECTION,
    CONTENT_LENGTH,
    HOP_BY_HOP,
    PLAIN,
    REQUEST_ID,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    Header,
    Headers,
)
from a3s_gateway.protocol.codec import (
    CHUNKED,
    UNTIL_CLOSE,
    ClientEvent,
    Data,
    End,
    Informational,
    ResponseHead,
)
from a3s_gateway.protocol.upgrade import WEBSOCKET
from a3s_gateway.protocol.websocket import accept_of

from . import chunked, fields
from .chunked import ChunkedDecoder

_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t \x21-\x7e\x80-\xff]*+))?"
)
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
MAX_HEAD: Final = 64 * 1024  # bytes; twice what clients may send, for cookies and policies
MAX_LINES: Final = 256
MAX_TRAILERS: Final = 16 * 1024  # bytes; gRPC puts its whole status there
MAX_INFORMATIONAL: Final = 16  # 1xx heads before the final one

_IDLE: Final = 0
_HEAD: Final = 1
_BODY: Final = 2
_CHUNKS: Final = 3
_UNTIL_CLOSE: Final = 4
_CLOSED: Final = 5


class Http1Client:
    """One request out, one response in, and again while `is_reusable`."""

    __slots__ = (
        "_body_left", "_buffer", "_decoder", "_framing", "_informational", "_keep_alive",
        "_key", "_last_head", "_last_wire", "_method", "_receiving", "_request_done", "_upgrade",
    )  # fmt: skip

    def __init__(self) -> None:
        self._buffer = b""
        self._receiving = _IDLE
        self._request_done = True
        self._framing = 0
        self._method = ""
        self._upgrade = ""  # what the request asks to change to
        self._key: str | None = None  # and, if that is WebSocket, its Sec-WebSocket-Key
        self._informational = 0
        self._body_left = 0
        self._decoder: ChunkedDecoder | None = None
        self._keep_alive = True
        # The last head and its bytes: within a second a backend repeats itself.
        self._last_wire = b""
        self._last_head: ResponseHead | None = None

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent: both messages are complete, and nothing is left."""
        return (
            self._receiving == _IDLE
            and self._request_done
            and self._keep_alive
            and not self._buffer
        )

    # -- sending

    def send_head(
        self,
        method: str,
        target: str,
        authority: str,
        headers: Headers,
        length: int | None,
        request_id: str,
        expects_continue: bool = False,  # noqa: FBT001, FBT002 - by position: on the hot path
    ) -> bytes:
        """
        Serialise a request head.

        Args:
            method: A token.
            target: In canonical origin form, or `*`.
            authority: For Host.
            headers: The end-to-end fields.
            length: Of the body; 0 for none, None when unknown.
            request_id: For X-Request-Id; empty to leave it out.
            expects_continue: Whether to pass on the client's `Expect: 100-continue`.

        """
        if not self.is_reusable:
            raise LocalProtocolError("a request on a connection that is busy or spent")
        self._receiving = _HEAD
        self._method = method
        self._upgrade = ""
        self._informational = 0
        framing = ""
        if length == 0:
            self._request_done = True
            self._framing = 0
            if method in _ANTICIPATES_BODY:
                framing = "Content-Length: 0\r\n"
        else:
            self._request_done = False
            if length is None:
                self._framing = CHUNKED
                framing = "Transfer-Encoding: chunked\r\n"
            else:
                self._framing = 0
                framing = f"Content-Length: {length}\r\n"
            if expects_continue:
                framing += "Expect: 100-continue\r\n"
        if request_id:
            framing += f"X-Request-Id: {request_id}\r\n"
        framing += "\r\n"
        line = f"{method} {target} HTTP/1.1\r\nHost: {authority}\r\n"
        return line.encode("latin-1") + headers.wire + framing.encode("latin-1")

    def send_upgrade(
        self,
        method: str,
        target: str,
        authority: str,
        headers: Headers,
        upgrade: str,
        request_id: str,
    ) -> bytes:
        """
        Serialise the head of a request for another protocol; a WebSocket's has its key.

        If the answer is a `ResponseHead` of status 101, `Data` is of that protocol, either way.
        """
        head = self.send_head(method, target, authority, headers, 0, request_id)
        self._upgrade = upgrade
        self._key = headers.find("sec-websocket-key") if upgrade == WEBSOCKET else None
        return head[:-2] + f"Connection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode("latin-1")

    def send_data(self, data: bytes) -> bytes:
        """Serialise bytes of the body."""
        return chunked.chunk(data) if self._framing == CHUNKED else data

    def send_end(self, trailers: Headers) -> bytes:
        """Serialise the end of the request."""
        self._request_done = True
        return chunked.last_chunk(trailers) if self._framing == CHUNKED else b""

    # -- receiving

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        """
        Take the next bytes off the wire.

        Raises:
            RemoteProtocolError: They are not a response, or nobody asked for one.

        """
        state = self._receiving
        if state == _HEAD and data.startswith(self._last_wire) and not self._buffer:
            # Within a second a backend repeats its head; an answer often comes in one piece.
            head = self._last_head
            if head is not None and self._method != "HEAD":
                size = len(self._last_wire)
                if head.length == len(data) - size > 0:
                    self._keep_alive = head.keep_alive
                    self._receiving = _IDLE
                    return [head, Data(data[size:], is_last=True)]
        if state == _BODY:
            return self._receive_body(data)
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        if state == _HEAD:
            return self._receive_head(data)
        if state == _CHUNKS:
            return self._receive_chunks(data)
        if state == _UNTIL_CLOSE:
            return [Data(data, is_last=False)]
        self._keep_alive = False
        raise RemoteProtocolError("bytes came that belong to no response")

    def receive_eof(self) -> list[ClientEvent]:
        """
        Take note that nothing more comes.

        Raises:
            RemoteProtocolError: A response is cut short.

        """
        state, self._receiving = self._receiving, _CLOSED
        if state == _UNTIL_CLOSE:
            return [End()]
        if state in (_IDLE, _CLOSED):
            return []
        raise RemoteProtocolError("the connection ended within a response")

    def _receive_head(self, data: bytes) -> list[ClientEvent]:
        wire = self._last_wire
        if wire and self._method != "HEAD" and data.startswith(wire):
            head = self._last_head
            assert head is not None
            size = len(wire)
        else:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._check_unfinished(data)
                return []
            if end > MAX_HEAD:
                raise RemoteProtocolError("the response head is too large")
            size = end + 4
            parsed = self._parse_head(data[:end])
            if isinstance(parsed, Informational):
                return [parsed, *(self._receive_head(data[size:]) if len(data) > size else ())]
            head = parsed
            # HEAD's framing depends on the request: the same bytes may mean something else.
            if self._method != "HEAD":
                self._last_wire = data[:size]
                self._last_head = head
        self._keep_alive = head.keep_alive
        return self._begin_body(head, data, size)

    def _begin_body(self, head: ResponseHead, data: bytes, size: int) -> list[ClientEvent]:
        length = head.length
        rest = len(data) - size
        if length == rest > 0:
            self._receiving = _IDLE
            return [head, Data(data[size:], is_last=True)]
        events: list[ClientEvent] = [head]
        if length == 0:
            self._receiving = _IDLE
            if rest:
                self._spoil(data[size:])
            return events
        if length == CHUNKED:
            self._receiving = _CHUNKS
            self._decoder = ChunkedDecoder(MAX_TRAILERS)
        elif length == UNTIL_CLOSE:
            self._receiving = _UNTIL_CLOSE
            self._keep_alive = False
        else:
            self._receiving = _BODY
            self._body_left = length
        if rest:
            events += self.receive_data(data[size:])
        return events

    def _check_unfinished(self, data: bytes) -> None:
        if not b"HTTP/1."[: len(data)] == data[:7]:
            raise RemoteProtocolError("the response is not HTTP/1")
        if fields.has_bare_line_end(data):
            raise RemoteProtocolError("a line of the response head does not end in CRLF")
        if len(data) > MAX_HEAD + 3:  # of the four bytes that end it
            raise RemoteProtocolError("the response head is too large")
        self._buffer = data

    def _spoil(self, surplus: bytes) -> None:
        """Keep bytes that follow the response: they make the connection unusable."""
        self._buffer = surplus
        self._keep_alive = False

    def _receive_body(self, data: bytes) -> list[ClientEvent]:
        left = self._body_left - len(data)
        if left > 0:
            self._body_left = left
            return [Data(data, is_last=False)]
        self._body_left = 0
        self._receiving = _IDLE
        if left < 0:
            self._spoil(data[left:])
            data = data[:left]
        return [Data(data, is_last=True)]

    def _receive_chunks(self, data: bytes) -> list[ClientEvent]:
        decoder = self._decoder
        assert decoder is not None
        payload = decoder.feed(data)
        events: list[ClientEvent] = [Data(payload, is_last=False)] if payload else []
        if decoder.is_done:
            self._receiving = _IDLE
            self._decoder = None
            if decoder.rest:
                self._spoil(decoder.rest)
            events.append(End(decoder.trailers))
        return events

    def _parse_head(self, wire: bytes) -> ResponseHead | Informational:
        lines = wire.split(b"\r\n")
        if len(lines) > MAX_LINES:
            raise RemoteProtocolError("the response head has too many lines")
        match = _STATUS_LINE.fullmatch(lines[0])
        if match is None:
            raise RemoteProtocolError("the status line is malformed")
        plain: list[Header] = []
        special: list[Header] = []
        known = fields.known_lines().get
        del lines[0]
        for line in lines:
            header = known(line) or fields.header(line)
            (plain if header.kind == PLAIN else special).append(header)
        version = 11 if match[1] == b"1" else 10
        reason = (match[3] or b"").decode("latin-1")
        return self._judge(int(match[2]), reason, version, plain, special)

    def _judge(
        self, status: int, reason: str, version: int, plain: list[Header], special: list[Header]
    ) -> ResponseHead | Informational:
        keep_alive = version == 11
        options = fields.connection_options([h.value for h in special if h.kind == CONNECTION])
        if options:
            keep_alive = "close" not in options and (keep_alive or "keep-alive" in options)
            plain = [header for header in plain if header.name not in options]
        if status == 101:
            return self._switched(reason, plain, special, options)
        length = _body_length(special, version)
        plain += [header for header in special if header.kind not in _DROPPED]
        if status < 200:
            return self._informational_head(status, reason, Headers(plain))
        announced = length if length is not None and length >= 0 else None
        if self._method == "HEAD" or status in (204, 304):
            length = 0
        elif length is None:
            length = UNTIL_CLOSE
            keep_alive = False
        return ResponseHead(status, reason, Headers(plain), length, keep_alive, announced)

    def _switched(
        self, reason: str, plain: list[Header], special: list[Header], options: list[str]
    ) -> ResponseHead:
        """Judge a 101, of which the client may believe every word."""
        upgrade = self._upgrade
        if not upgrade:
            raise RemoteProtocolError("the backend switches protocols, which nobody asked for")
        agreed = [header.value.lower() for header in special if header.kind == UPGRADE]
        if agreed != [upgrade] or "upgrade" not in options:
            raise RemoteProtocolError(f"the backend does not switch to {upgrade}")
        headers = Headers(plain)
        if self._key is not None and headers.all("sec-websocket-accept") != [accept_of(self._key)]:
            raise RemoteProtocolError("the backend's Sec-WebSocket-Accept is wrong")
        return ResponseHead(101, reason, headers, UNTIL_CLOSE, keep_alive=False)

    def _informational_head(self, status: int, reason: str, headers: Headers) -> Informational:
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL:
            raise RemoteProtocolError("the backend sends interim responses without end")
        return Informational(status, reason, headers)


# RFC 9110 §8.6: say so when these have none.
_ANTICIPATES_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
# These concern this hop alone, and X-Request-Id is ours to send back.
_DROPPED: Final = frozenset(
    {HOP_BY_HOP, UPGRADE, TE, REQUEST_ID, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING}
)


def _body_length(special: list[Header], version: int) -> int | None:
    """Apply RFC 9112 §6.3 as strictly as to requests; None where nothing is said."""
    lengths = [header.value for header in special if header.kind == CONTENT_LENGTH]
    codings = [header.value.lower() for header in special if header.kind == TRANSFER_ENCODING]
    if codings:
        if lengths:
            raise RemoteProtocolError("the response has Content-Length beside Transfer-Encoding")
        if codings != ["chunked"] or version == 10:
            raise RemoteProtocolError("the response's Transfer-Encoding is bad or repeated")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise RemoteProtocolError("the response's Content-Length is bad or repeated")
    return int(lengths[0])

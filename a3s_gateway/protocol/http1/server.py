"""The server's side of an HTTP/1.1 connection (RFC 9112)."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from attrs import frozen

from a3s_gateway.errors import LocalProtocolError, RemoteProtocolError
from a3s_gateway.http import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    HOST,
    PLAIN,
    REQUEST_ID,
    TE,
    TOKEN,
    TRANSFER_ENCODING,
    UPGRADE,
    Header,
    Headers,
)
from a3s_gateway.protocol import target as targets
from a3s_gateway.protocol.codec import CHUNKED, Data, End, Head, ServerEvent

from . import chunked, fields
from .chunked import ChunkedDecoder

_VERSIONS: Final = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}
_METHODS: Final = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT")
}
_ANY_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_SANE_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_MAX_BLANK_LINES: Final = 4  # before a request line (RFC 9112 §2.2 asks for at least one)

# Where the receiving side stands.
_HEAD: Final = 0
_BODY: Final = 1
_CHUNKS: Final = 2
_DONE: Final = 3
_CLOSED: Final = 4


@frozen
class Limits:
    """What one request may cost before it is refused; sizes in bytes."""

    max_head: int = 32 * 1024
    max_header_lines: int = 128
    max_target: int = 16 * 1024
    max_trailers: int = 8 * 1024
    max_pipelined: int = 64 * 1024


DEFAULT_LIMITS: Final = Limits()


class Http1Server:
    """
    Requests in, responses out, one at a time; what is pipelined behind waits its turn.

    After `Head` come `Data` and `End` as the body has them; the next `Head` comes only from
    `next_cycle`, which is called when the response has been sent.
    """

    __slots__ = (
        "_body_left", "_buffer", "_decoder", "_framing", "_last_head", "_last_wire", "_limits",
        "_receiving", "_sending", "keep_alive",
    )  # fmt: skip

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = b""
        self._receiving = _HEAD
        self._sending = False
        self._body_left = 0
        self._decoder: ChunkedDecoder | None = None
        self._framing = 0
        # The last head and its bytes: clients repeat themselves.
        self._last_wire = b""
        self._last_head: Head | None = None
        self.keep_alive = True

    # -- receiving

    @property
    def is_idle(self) -> bool:
        """Whether no request has begun."""
        return self._receiving == _HEAD and not self._buffer

    @property
    def is_request_complete(self) -> bool:
        """Whether the current request has been received to its end."""
        return self._receiving >= _DONE

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
            return self._receive_head(data) if data else []
        if state == _CHUNKS:
            return self._receive_chunks(data)
        if state == _DONE:
            self._buffer = data
        return []

    def receive_eof(self) -> None:
        """
        Take note that nothing more comes.

        Raises:
            RemoteProtocolError: A request is cut short.

        """
        cut = not self.is_idle and self._receiving != _DONE
        self._receiving = _CLOSED
        if cut:
            raise RemoteProtocolError("the connection ended within a request")

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
            head = self._parse_head(data[:end])
            self._last_wire = data[:size]
            self._last_head = head
        self.keep_alive = head.keep_alive
        self._sending = True
        length = head.length
        if length == 0:
            self._receiving = _DONE
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
        stripped = data
        while stripped.startswith(b"\r\n"):
            stripped = stripped[2:]
            if len(data) - len(stripped) > 2 * _MAX_BLANK_LINES:
                raise RemoteProtocolError("blank lines come before the request")
        if len(stripped) != len(data) and stripped != b"\r":
            return self._receive_head(stripped) if stripped else []
        if fields.has_bare_line_end(data):
            raise RemoteProtocolError("a line does not end in CRLF")
        if b"\r\n" not in data and len(data) > self._limits.max_target + 64:
            raise RemoteProtocolError("", "URI_TOO_LONG")
        if len(data) > self._limits.max_head:
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
            self._buffer = decoder.rest
            self._decoder = None
            events.append(End(decoder.trailers))
        return events

    def _parse_head(self, wire: bytes) -> Head:
        lines = wire.split(b"\r\n")
        if len(lines) - 1 > self._limits.max_header_lines:
            raise RemoteProtocolError("there are too many header lines", "HEADERS_TOO_LARGE")
        method, target, version = self._parse_request_line(lines[0])
        path, query, authority = targets.parse_target(method, target)
        plain: list[Header] = []
        special: list[Header] | None = None
        known = fields.known_lines().get
        host_line = ""
        hosts = 0
        del lines[0]
        for line in lines:
            header = known(line) or fields.header(line)
            kind = header.kind
            if kind == PLAIN:
                plain.append(header)
            elif kind == HOST:
                hosts += 1
                host_line = header.value
            elif special is None:
                special = [header]
            else:
                special.append(header)
        if hosts != 1 and (hosts > 1 or version == 11):
            raise RemoteProtocolError("Host is repeated" if hosts else "Host is missing")
        if authority is None:
            authority = host_line
        host = targets.host_of(authority) if authority or version == 11 else ""
        if hosts and host_line is not authority:
            targets.host_of(host_line)  # contradicted by the target, but well-formed all the same
        if special is None:
            return Head(
                method, path, query, host, authority, version, Headers(plain), 0,
                keep_alive=version == 11,
            )  # fmt: skip
        return _head_with(special, method, path, query, host, authority, version, plain)

    def _parse_request_line(self, line: bytes) -> tuple[str, bytes, int]:
        parts = line.split(b" ")
        if len(parts) != 3:
            raise RemoteProtocolError("the request line is malformed")
        method, target, protocol = parts
        version = _VERSIONS.get(protocol)
        if version is None:
            if _ANY_VERSION.fullmatch(protocol) is None:
                raise RemoteProtocolError("the request line is malformed")
            raise RemoteProtocolError("", "VERSION_NOT_SUPPORTED")
        name = _METHODS.get(method)
        if name is None:
            if TOKEN.fullmatch(method) is None:
                raise RemoteProtocolError("the method is not a token")
            name = method.decode("ascii")
        if len(target) > self._limits.max_target:
            raise RemoteProtocolError("", "URI_TOO_LONG")
        return name, target, version

    # -- sending

    def send_informational(self, status: int, reason: str, headers: Headers) -> bytes:
        """Serialise a 1xx head; HTTP/1.0 has none of these, so there it is nothing."""
        head = self._last_head
        if not self._sending or head is None:
            raise LocalProtocolError("an informational response without a request")
        if head.version == 10:
            return b""
        return b"%b%b\r\n" % (_status_line(status, reason), headers.wire)

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
        return b"%b%b%b\r\n" % (_status_line(status, reason), headers.wire, framing)

    def send_refusal(self, status: int, headers: Headers, body: bytes) -> bytes:
        """Serialise a whole answer to what could not be parsed; the last one there is."""
        self._receiving = _CLOSED
        self._sending = False
        self.keep_alive = False
        framing = b"Content-Length: %d\r\nConnection: close\r\n" % len(body)
        return b"%b%b%b\r\n%b" % (_status_line(status, ""), headers.wire, framing, body)

    def send_data(self, data: bytes) -> bytes:
        """Serialise bytes of the body."""
        return chunked.chunk(data) if self._framing == CHUNKED else data

    def send_end(self, trailers: Headers) -> bytes:
        """Serialise the end of the response."""
        self._sending = False
        return chunked.last_chunk(trailers) if self._framing == CHUNKED else b""


def _status_line(status: int, reason: str) -> bytes:
    if not reason and status in _STATUS_LINES:
        return _STATUS_LINES[status]
    return f"HTTP/1.1 {status} {reason}\r\n".encode("latin-1")


_STATUS_LINES: Final = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode() for status in HTTPStatus
}


def _head_with(
    special: list[Header],
    method: str,
    path: str,
    query: str | None,
    host: str,
    authority: str,
    version: int,
    plain: list[Header],
) -> Head:
    """Judge the fields that frame the message or concern this hop alone."""
    connection: list[str] = []
    lengths: list[str] = []
    codings: list[str] = []
    forwarded: list[tuple[str, str]] = []
    upgrades: list[str] = []
    request_ids: list[str] = []
    te = ""
    expects_continue = False
    for header in special:
        kind, value = header.kind, header.value
        if kind == CONNECTION:
            connection.append(value)
        elif kind == CONTENT_LENGTH:
            lengths.append(value)
        elif kind == TRANSFER_ENCODING:
            codings.append(value)
        elif kind == FORWARDED:
            forwarded.append((header.name, value))
        elif kind == UPGRADE:
            upgrades.append(value)
        elif kind == REQUEST_ID:
            request_ids.append(value)
        elif kind == TE:
            te = value
        elif kind == EXPECT:
            if value.lower() != "100-continue":
                raise RemoteProtocolError("", "EXPECTATION_FAILED")
            expects_continue = version == 11
    length = _body_length(lengths, codings, version)
    keep_alive = version == 11
    if connection:
        options = fields.connection_options(connection)
        keep_alive = "close" not in options and (version == 11 or "keep-alive" in options)
        plain = [header for header in plain if header.name not in options]
        forwarded = [pair for pair in forwarded if pair[0] not in options]
    if te.lower() == "trailers":
        plain.append(_TE_TRAILERS)
    request_id = request_ids[0] if len(request_ids) == 1 else ""
    return Head(
        method, path, query, host, authority, version, Headers(plain), length, tuple(forwarded),
        request_id if _SANE_REQUEST_ID.fullmatch(request_id) else "",
        expects_continue and length != 0, keep_alive, ", ".join(upgrades),
    )  # fmt: skip


_TE_TRAILERS: Final = Header.of("TE", "trailers")


def _body_length(lengths: list[str], codings: list[str], version: int) -> int:
    """Apply RFC 9112 §6.3, without the leniency that smuggling lives on."""
    if codings:
        if lengths:
            raise RemoteProtocolError("Content-Length stands beside Transfer-Encoding")
        if version == 10:
            raise RemoteProtocolError("HTTP/1.0 has no Transfer-Encoding")
        if len(codings) > 1:
            raise RemoteProtocolError("Transfer-Encoding is repeated")
        if codings[0].lower() != "chunked":
            known = "chunked" in codings[0].lower()
            raise RemoteProtocolError(
                "a transfer coding other than chunked",
                "BAD_REQUEST" if known else "NOT_IMPLEMENTED",
            )
        return CHUNKED
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise RemoteProtocolError("Content-Length is repeated")
    if _LENGTH.fullmatch(lengths[0]) is None:
        raise RemoteProtocolError("Content-Length is not a number")
    return int(lengths[0])

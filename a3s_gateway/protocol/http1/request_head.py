"""The head of a request: parsed strictly, and not twice where a client repeats itself."""

from __future__ import annotations

import re
from typing import Final

from attrs import define, frozen

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    HOST,
    HTTP2_SETTINGS,
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
from a3s_gateway.protocol.codec import CHUNKED, Head
from a3s_gateway.protocol.http1 import fields
from a3s_gateway.protocol.upgrade import WEBSOCKET, wanted

_VERSIONS: Final = {b"HTTP/1.1": 11, b"HTTP/1.0": 10}
_ANY_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_METHODS: Final = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}
# A request line whose target is canonical as it stands, unless it has "/." in it.
_PLAIN_LINE: Final = re.compile(
    rb"(GET|POST|PUT|HEAD|DELETE|PATCH|OPTIONS) "
    rb"(/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*+)(?:\?([\x21\x22\x24-\x7e\x80-\xff]*+))? HTTP/1\.1\r\n"
)
SANE_REQUEST_ID: Final = re.compile(rb"[\x21-\x7e]{1,128}")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
# What a request line has beside its target; the rest of that is for the method.
LINE_WITHOUT_TARGET: Final = 64  # bytes
# Of a head; larger ones are parsed each time, or thousands of idle connections could keep
# five times their size in memory.
REMEMBERED: Final = 4096  # bytes
PREFACE_LINE: Final = b"PRI * HTTP/2.0"


class Http2PrefaceError(RemoteProtocolError):
    """The connection begins as one of HTTP/2 does (RFC 9113 §3.4)."""


class NotHttpError(RemoteProtocolError):
    """What stands in place of a request line is not one of any version of HTTP."""


@frozen
class Limits:
    """What one request may cost before it is refused; sizes in bytes."""

    max_head: int = 32 * 1024
    max_header_lines: int = 128
    max_target: int = 16 * 1024
    max_trailers: int = 8 * 1024
    max_pipelined: int = 64 * 1024


DEFAULT_LIMITS: Final = Limits()


@define(eq=False)
class Fields:
    """What all header lines of a request say together; see `Head` for the meanings."""

    headers: Headers
    authority: str
    host: str
    length: int = 0
    forwarded: tuple[tuple[str, str], ...] = ()
    request_id: str = ""
    expects_continue: bool = False
    keep_alive: bool = True
    upgrade: str = ""
    http2_settings: str = ""


class RequestHeadParser:
    """
    Parses the heads of one connection.

    It remembers the last one: what a client repeats, and most repeat all lines but the
    request line and the request id, is compared instead of parsed. What is remembered
    stays within the connection.
    """

    __slots__ = ("_after", "_before", "_fields", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # The header lines of the last request: all before the value of its id, and all after
        # it; if it had none, `_after` is empty.
        self._before = b""
        self._after = b""
        self._fields: Fields | None = None

    def parse(self, wire: bytes) -> Head:
        """
        Parse a head, with the empty line that ends it.

        Raises:
            RemoteProtocolError: It must be refused.

        """
        match = _PLAIN_LINE.match(wire)
        if match is not None:
            name, raw_path, raw_query = match.groups()
            end = match.end()
            if b"/." not in raw_path and end <= self._limits.max_target:
                known, request_id = self._known_fields(wire, end - 2, 11)
                return Head(
                    _METHODS[name],
                    raw_path.decode("ascii"),
                    None if raw_query is None else raw_query.decode("latin-1"),
                    known.host,
                    known.authority,
                    11,
                    known.headers,
                    known.length,
                    known.forwarded,
                    request_id,
                    known.expects_continue,
                    known.keep_alive,
                    known.upgrade,
                    0,
                    known.http2_settings,
                )
        return self._parse_other(wire)

    def _parse_other(self, wire: bytes) -> Head:
        end = wire.index(b"\r\n")
        method, target, version = self._parse_request_line(wire[:end])
        path, query, authority = targets.parse_target(method, target)
        known, request_id = self._known_fields(wire, end, version)
        host = known.host
        if authority is None:
            authority = known.authority
        else:
            host = targets.host_of(authority)  # RFC 9112 §3.2.2: it goes before Host
        return Head(
            method, path, query, host, authority, version, known.headers, known.length,
            known.forwarded, request_id, known.expects_continue, known.keep_alive, known.upgrade,
            0, known.http2_settings,
        )  # fmt: skip

    def _parse_request_line(self, line: bytes) -> tuple[str, bytes, int]:
        parts = line.split(b" ")
        if len(parts) != 3:
            raise RemoteProtocolError("the request line is malformed")
        method, target, protocol = parts
        version = _VERSIONS.get(protocol)
        if version is None:
            if line == PREFACE_LINE:
                raise Http2PrefaceError("HTTP/2 is not spoken here", "VERSION_NOT_SUPPORTED")
            if _ANY_VERSION.fullmatch(protocol) is None:
                is_http = b"http" in protocol.lower()
                fault = RemoteProtocolError if is_http else NotHttpError
                raise fault("the request line is malformed")
            raise RemoteProtocolError("", "VERSION_NOT_SUPPORTED")
        name = _METHODS.get(method)
        if name is None:
            if TOKEN.fullmatch(method) is None:
                raise RemoteProtocolError("the method is not a token")
            if method == b"CONNECT":
                raise RemoteProtocolError("no route takes CONNECT")
            if len(line) > self._limits.max_target + LINE_WITHOUT_TARGET:
                raise RemoteProtocolError("", "URI_TOO_LONG")
            name = method.decode("ascii")
        if len(target) > self._limits.max_target:
            raise RemoteProtocolError("", "URI_TOO_LONG")
        return name, target, version

    def _known_fields(self, wire: bytes, at: int, version: int) -> tuple[Fields, str]:
        """
        Return what the header lines say, and the request id that is sane.

        Args:
            wire: The head.
            at: Where the CRLF of the request line begins.
            version: 10 or 11; the same lines mean something else in the other version.

        """
        before, after = self._before, self._after
        known = self._fields
        if known is not None and version == 11 and wire.startswith(before, at):
            if after:
                request_id = wire[at + len(before) : -len(after)]
                if wire.endswith(after) and SANE_REQUEST_ID.fullmatch(request_id):
                    return known, request_id.decode("ascii")
            elif len(wire) - at == len(before):
                return known, ""
        return self._learn_fields(wire[at:], version)

    def _learn_fields(self, block: bytes, version: int) -> tuple[Fields, str]:
        """Parse header lines, and remember them around the request id, if there is a sane one."""
        before, request_id, after = block, b"", b""
        start = block.find(b"\r\nX-Request-Id: ")
        if start < 0:
            start = block.find(b"\r\nx-request-id: ")
        if start >= 0:
            end = block.find(b"\r\n", start + 16)
            request_id = block[start + 16 : end]
            if SANE_REQUEST_ID.fullmatch(request_id):
                before, after = block[: start + 16], block[end:]
                block = block[:start] + after
            else:
                request_id = b""
        known = self._parse_fields(block, version)
        if known.request_id:
            # One more line of it: which of them is meant, nobody knows.
            return known, "" if request_id else known.request_id
        if version == 11 and len(before) + len(after) <= REMEMBERED:
            self._before, self._after, self._fields = before, after, known
        return known, request_id.decode("ascii")

    def _parse_fields(self, block: bytes, version: int) -> Fields:
        lines = block[2:-4].split(b"\r\n") if len(block) > 4 else []
        if len(lines) > self._limits.max_header_lines:
            raise RemoteProtocolError("there are too many header lines", "HEADERS_TOO_LARGE")
        plain: list[Header] = []
        special: list[Header] = []
        hosts: list[str] = []
        known = fields.known_lines().get
        for line in lines:
            header = known(line) or fields.header(line)
            kind = header.kind
            if kind == PLAIN:
                plain.append(header)
            elif kind == HOST:
                hosts.append(header.value)
            else:
                special.append(header)
        if len(hosts) > 1:
            raise RemoteProtocolError("Host is repeated")
        if not hosts and version == 11:
            raise RemoteProtocolError("Host is missing")
        authority = hosts[0] if hosts else ""
        host = targets.host_of(authority) if hosts else ""
        if not special:
            return Fields(Headers(plain), authority, host, keep_alive=version == 11)
        return _judge(special, authority, host, plain, version)


@define(eq=False)
class _Special:
    """The values of the fields that concern this hop, by what they are for."""

    connection: list[str]
    lengths: list[str]
    codings: list[str]
    forwarded: list[tuple[str, str]]
    upgrades: list[str]
    request_ids: list[str]
    http2_settings: list[str]
    te: str = ""
    expects_continue: bool = False


def _sort(special: list[Header]) -> _Special:
    found = _Special([], [], [], [], [], [], [])
    lists = {
        CONNECTION: found.connection,
        CONTENT_LENGTH: found.lengths,
        TRANSFER_ENCODING: found.codings,
        UPGRADE: found.upgrades,
        REQUEST_ID: found.request_ids,
        HTTP2_SETTINGS: found.http2_settings,
    }
    for header in special:
        kind, value = header.kind, header.value
        values = lists.get(kind)
        if values is not None:
            values.append(value)
        elif kind == FORWARDED:
            found.forwarded.append((header.name, value))
        elif kind == TE:
            found.te = value
        elif kind == EXPECT:
            if value.lower() != "100-continue":
                raise RemoteProtocolError("", "EXPECTATION_FAILED")
            found.expects_continue = True
    return found


def _judge(
    special: list[Header], authority: str, host: str, plain: list[Header], version: int
) -> Fields:
    """Judge the fields that frame the message or concern this hop alone."""
    found = _sort(special)
    length = _body_length(found.lengths, found.codings, version)
    keep_alive = version == 11
    forwarded = found.forwarded
    if found.connection:
        options = fields.connection_options(found.connection)
        keep_alive = "close" not in options and (version == 11 or "keep-alive" in options)
        plain = [header for header in plain if header.name not in options]
        forwarded = [pair for pair in forwarded if pair[0] not in options]
    if found.te.lower() == "trailers":
        plain.append(TE_TRAILERS)
    request_id = found.request_ids[0] if len(found.request_ids) == 1 else ""
    upgrade = _upgrade(found, version, length) if found.upgrades else ""
    return Fields(
        Headers(plain),
        authority,
        host,
        length,
        tuple(forwarded),
        request_id if SANE_REQUEST_ID.fullmatch(request_id.encode("latin-1")) else "",
        found.expects_continue and version == 11 and length != 0,
        keep_alive,
        upgrade,
        found.http2_settings[0] if upgrade and len(found.http2_settings) == 1 else "",
    )


def _upgrade(found: _Special, version: int, length: int) -> str:
    """Return the protocols that are offered in earnest (RFC 9110 §7.8)."""
    if version == 10:
        return ""
    offered = ", ".join(found.upgrades)
    if "upgrade" in fields.connection_options(found.connection):
        return offered
    if length == 0 and wanted(offered) == WEBSOCKET:
        # A proxy on the way has dropped it: better said than answered as a plain GET.
        raise RemoteProtocolError("Upgrade: websocket comes without Connection: Upgrade")
    return ""


TE_TRAILERS: Final = Header.of("TE", "trailers")


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
            code = "BAD_REQUEST" if "chunked" in codings[0].lower() else "NOT_IMPLEMENTED"
            raise RemoteProtocolError("the transfer coding is not chunked", code)
        return CHUNKED
    if not lengths:
        return 0
    if len(lengths) > 1:
        raise RemoteProtocolError("Content-Length is repeated")
    if _LENGTH.fullmatch(lengths[0]) is None:
        raise RemoteProtocolError("Content-Length is not a number")
    return int(lengths[0])

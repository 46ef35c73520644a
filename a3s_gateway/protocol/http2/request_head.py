"""The head of a request over HTTP/2: pseudo-header fields, and what may stand beside them."""

from __future__ import annotations

import re
from typing import Final

from attrs import define

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import (
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    HOP_BY_HOP,
    HOST,
    PLAIN,
    REQUEST_ID,
    SECRET_NAME,
    TE,
    TOKEN,
    Header,
    Headers,
)
from a3s_gateway.protocol import target as targets
from a3s_gateway.protocol.cache import TwoGenerations
from a3s_gateway.protocol.codec import CHUNKED, Head
from a3s_gateway.protocol.http1.fields import NOT_IN_TRAILERS
from a3s_gateway.protocol.http1.request_head import SANE_REQUEST_ID, TE_TRAILERS, Limits

from .hpack import Field, NeverIndexed

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]++")
# RFC 9113 §8.2.1 and RFC 9110 §5.5: no blank at either end.
_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff]++(?:[ \t]++(?=[\x21-\x7e\x80-\xff]))?+)*+")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
# RFC 9113 §8.2.2: these are of HTTP/1's connections.
_OF_CONNECTIONS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority", b":protocol"})
_METHODS: Final = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}
_CACHED_FIELD: Final = 256  # bytes; longer ones seldom repeat

_known: Final[TwoGenerations[Field, Header]] = TwoGenerations(4096)


class MalformedError(RemoteProtocolError):
    """A message that RFC 9113 §8.1.1 calls malformed: its stream is reset, not answered."""


@define(eq=False)
class _Fields:
    """What the fields of a request say, beside those that just travel."""

    plain: list[Header]
    crumbs: list[str]
    forwarded: list[tuple[str, str]]
    request_ids: list[str]
    length: int | None = None
    host: str | None = None
    expects_continue: bool = False


def parse_request(fields: list[Field], limits: Limits, *, is_last: bool) -> Head:
    """
    Return the head that `fields` are, for stream 0.

    Raises:
        MalformedError: They are none.
        RemoteProtocolError: They are one that must be refused.

    """
    pseudo, count = _pseudo_fields(fields)
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    protocol = pseudo.get(b":protocol")
    if method is None:
        raise MalformedError(":method is missing")
    if method == b"CONNECT" and protocol is None:
        raise RemoteProtocolError("no route takes CONNECT")
    if protocol is not None and (method != b"CONNECT" or TOKEN.fullmatch(protocol) is None):
        raise MalformedError(":protocol is not that of an extended CONNECT")
    if not path or not pseudo.get(b":scheme"):
        raise MalformedError(":path or :scheme is missing")
    if len(fields) > limits.max_header_lines:
        raise RemoteProtocolError("there are too many header lines", "HEADERS_TOO_LARGE")
    found = _sort(fields[count:])
    authority = _authority(pseudo.get(b":authority"), found.host)
    name, way, query = _target(method, path, limits)
    length = found.length
    if is_last:
        if length:
            raise MalformedError("Content-Length announces a body that does not come")
        length = 0
    request_ids = found.request_ids
    request_id = request_ids[0] if len(request_ids) == 1 else ""
    plain = found.plain
    if found.crumbs:
        plain.append(_cookie(found.crumbs))
    return Head(
        name if protocol is None else "GET",  # as HTTP/1.1 asks for the same
        way,
        query,
        targets.host_of(authority),
        authority,
        20,
        Headers(plain),
        CHUNKED if length is None else length,
        tuple(found.forwarded),
        request_id if SANE_REQUEST_ID.fullmatch(request_id.encode("latin-1")) else "",
        found.expects_continue and not is_last,
        upgrade="" if protocol is None else protocol.decode("ascii").lower(),
    )


def parse_trailers(fields: list[Field]) -> Headers:
    """
    Return trailer fields; those that may not come so late are left out.

    Raises:
        MalformedError: A field may not stand there at all.

    """
    known = _known.young.get
    headers = []
    for field in fields:
        if field[0][:1] == b":":
            raise MalformedError("a pseudo-header field stands in trailers")
        headers.append(known(field) or header(field))
    return Headers(h for h in headers if h.kind == PLAIN and h.name not in NOT_IN_TRAILERS)


def header(field: Field) -> Header:
    """
    Return the line that a field is, validated once where it repeats itself.

    Raises:
        MalformedError: It is none, or of HTTP/1's connections.

    """
    found = _known.get(field)
    return found if found is not None else _learn(field)


def _learn(field: Field) -> Header:
    name, value = field
    if _NAME.fullmatch(name) is None:
        raise MalformedError("a field name is not a token in lower case")
    if _VALUE.fullmatch(value) is None:
        raise MalformedError("a field value has a control character, or a blank at an end")
    if name in _OF_CONNECTIONS:
        raise MalformedError("a field is of HTTP/1's connections")
    if name == b"te" and value.lower() != b"trailers":
        raise MalformedError("TE is not trailers")
    text = name.decode("ascii")
    made = Header(text, value.decode("latin-1"), b"%b: %b\r\n" % field)
    if (
        len(name) + len(value) <= _CACHED_FIELD
        and made.kind != REQUEST_ID
        and type(field) is not NeverIndexed
        and not SECRET_NAME.search(text)
    ):
        _known.put(field, made)
    return made


def _pseudo_fields(fields: list[Field]) -> tuple[dict[bytes, bytes], int]:
    """Return the pseudo-header fields, and how many they are."""
    pseudo: dict[bytes, bytes] = {}
    count = 0
    for name, value in fields:
        if name[:1] != b":":
            break
        if name in pseudo or name not in _PSEUDO:
            raise MalformedError("a pseudo-header field is repeated, or none of a request")
        pseudo[name] = value
        count += 1
    return pseudo, count


def _sort(fields: list[Field]) -> _Fields:
    found = _Fields([], [], [], [])
    plain = found.plain
    known = _known.young.get
    for field in fields:
        line = known(field) or header(field)
        kind = line.kind
        if kind == PLAIN:
            if line.name == "cookie":
                found.crumbs.append(line.value)
            else:
                plain.append(line)
        elif kind == REQUEST_ID:
            found.request_ids.append(line.value)
        elif kind == FORWARDED:
            found.forwarded.append((line.name, line.value))
        elif kind != HOP_BY_HOP:
            _note(line, kind, found)
    return found


def _note(line: Header, kind: int, found: _Fields) -> None:
    value = line.value
    if kind == CONTENT_LENGTH:
        if found.length is not None or _LENGTH.fullmatch(value) is None:
            raise MalformedError("Content-Length is repeated, or not a number")
        found.length = int(value)
    elif kind == HOST:
        if found.host is not None:
            raise MalformedError("Host is repeated")
        found.host = value
    elif kind == TE:
        found.plain.append(TE_TRAILERS)
    elif kind == EXPECT:
        if value.lower() != "100-continue":
            raise RemoteProtocolError("", "EXPECTATION_FAILED")
        found.expects_continue = True


def _authority(authority: bytes | None, host: str | None) -> str:
    """Return what was asked for; RFC 9113 §8.3.1: Host must not contradict it."""
    if authority is None:
        if not host:
            raise RemoteProtocolError("neither :authority nor Host is there")
        return host
    text = authority.decode("latin-1")
    if host is not None and host.lower() != text.lower():
        raise MalformedError("Host contradicts :authority")
    return text


def _target(method: bytes, path: bytes, limits: Limits) -> tuple[str, str, str | None]:
    if len(path) > limits.max_target:
        raise RemoteProtocolError("", "URI_TOO_LONG")
    name = _METHODS.get(method)
    if name is None:
        if TOKEN.fullmatch(method) is None:
            raise MalformedError("the method is not a token")
        name = method.decode("ascii")
    if path[:1] != b"/" and path != b"*":
        raise MalformedError(":path is not a path")
    way, query, _ = targets.parse_target("GET" if name == "CONNECT" else name, path)
    return name, way, query


def _cookie(crumbs: list[str]) -> Header:
    """Join what RFC 9113 §8.2.3 lets a client take apart."""
    value = "; ".join(crumbs)
    return Header("cookie", value, f"cookie: {value}\r\n".encode("latin-1"))

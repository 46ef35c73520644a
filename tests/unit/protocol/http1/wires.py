"""Driving both codecs over bytes in any cuts, and writing their events as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import EMPTY_HEADERS
from a3s_gateway.protocol.codec import Data, End, Head, Informational, ResponseHead
from a3s_gateway.protocol.http1.client import Http1Client
from a3s_gateway.protocol.http1.server import DEFAULT_LIMITS, Http1Server, Limits

Trace = list[Any]
"""Events as plain values, a body as single bytes, and the code of the error that ended it."""

REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nGET /a/../b?c HTTP/1.1\r\nHost: Example.com:80\r\nAccept: */*\r\nX-Request-Id: x\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Sum\r\n\r\n"
        b'5;a=b;c="d \\" e"\r\nhello\r\n00a\r\n0123456789\r\n0 ; x\r\nX-Sum: 1\r\nY: 2\r\n\r\n'
    ),
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n",
    b"GET http://b/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nTE: trailers\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\nCookie: a=b\r\nUpgrade: x, y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PROPFIND /%7euser/%2f HTTP/1.1\r\nHost:\t[::1]:8080 \r\nX:\r\nx-request-id: b\r\n\r\n",
)
RESPONSES = (
    (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"),
    (b"GET", b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    (
        b"GET",
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
            b"HTTP/1.1 204 No Content\r\nKeep-Alive: x\r\n\r\n"
        ),
    ),
    (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    (
        b"GET",
        b"HTTP/1.1 299 \xe9 \tx\r\nContent-Length: 1\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n-",
    ),
    (b"GET", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"),
    (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (b"GET", b"HTTP/1.1 200 OK\r\n\r\nuntil the end"),
)


def cut(wire: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut `wire` at these places."""
    edges = sorted({0, len(wire), *(place for place in places if 0 < place < len(wire))})
    return [wire[a:b] for a, b in pairwise(edges)]


def cuts(wire: bytes) -> st.SearchStrategy[list[bytes]]:
    """Cut `wire` at any places."""
    return st.lists(st.integers(1, max(1, len(wire) - 1)), max_size=8).map(
        lambda places: cut(wire, places)
    )


def every_cut(wire: bytes, *, most: int = 300) -> Iterator[list[bytes]]:
    """Cut it once, at each place; in a long one at some of them and near both ends."""
    size = len(wire)
    step = 1 + size // most
    for place in sorted(
        {*range(1, size, step), *range(1, min(size, 40)), *range(max(1, size - 40), size)}
    ):
        yield cut(wire, [place])


def single_bytes(wire: bytes) -> list[bytes]:
    """Cut it everywhere."""
    return cut(wire, range(len(wire)))


def value_of(event: object) -> Iterator[object]:
    """Write an event as values that can be compared; a body's cuts do not show."""
    match event:
        case Head():
            yield (
                "head", event.method, event.path, event.query, event.host, event.authority,
                event.version, event.headers.wire, event.length, event.forwarded,
                event.request_id, event.expects_continue, event.keep_alive, event.upgrade,
            )  # fmt: skip
        case ResponseHead():
            yield (
                "head", event.status, event.reason, event.headers.wire, event.length,
                event.keep_alive, event.announced,
            )  # fmt: skip
        case Informational():
            yield ("informational", event.status, event.reason, event.headers.wire)
        case Data():
            yield from event.data
            if event.is_last:
                yield ("end", b"")
        case End():
            yield ("end", event.trailers.wire)


def serve(
    pieces: Sequence[bytes],
    limits: Limits = DEFAULT_LIMITS,
    check: Callable[[Http1Server], None] = lambda _: None,
) -> tuple[Trace, str]:
    """Receive requests and answer each at once; returns the trace and the error's code, or ""."""
    server = Http1Server(limits)
    trace: Trace = []
    try:
        for piece in pieces:
            events = server.receive_data(piece)
            check(server)
            while True:
                trace += [value for event in events for value in value_of(event)]
                if not server.is_request_complete:
                    break
                server.send_head(200, "", EMPTY_HEADERS, 0, "")
                server.send_end(EMPTY_HEADERS)
                if not server.keep_alive:
                    return trace, "closed"
                events = server.next_cycle()
                check(server)
    except RemoteProtocolError as error:
        return trace, error.code
    return trace, ""


def request(
    pieces: Sequence[bytes],
    method: str = "GET",
    *,
    is_ended: bool = False,
    check: Callable[[Http1Client], None] = lambda _: None,
) -> tuple[Trace, str]:
    """Receive one response; with `is_ended` the connection ends behind it."""
    client = Http1Client()
    client.send_head(method, "/", "a", EMPTY_HEADERS, 0, "")
    trace: Trace = []
    try:
        for piece in pieces:
            events = client.receive_data(piece)
            check(client)
            trace += [value for event in events for value in value_of(event)]
        if is_ended:
            trace += [value for event in client.receive_eof() for value in value_of(event)]
    except RemoteProtocolError as error:
        return trace, error.code
    return trace, "reusable" if client.is_reusable else ""


def begins_with(long: Trace, short: Trace) -> bool:
    return long[: len(short)] == short


EDITS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 3),
        st.sampled_from(
            [b"", b"\r\n", b"\r", b"\n", b"\x00", b" ", b":", b"\t", b"0", b"5", b",", b";", b'"',
             b"\xff", b"chunked", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
             b"\r\n\r\n", b"Host: b\r\n", b"HTTP/1.1", b"a" * 300]
        ) | st.binary(max_size=3),
    ),
    max_size=4,
)  # fmt: skip


def edited(wire: bytes, edits: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Replace some bytes of a good message by others."""
    for place, length, piece in edits:
        start = place % (len(wire) + 1)
        wire = wire[:start] + piece + wire[start + length :]
    return wire

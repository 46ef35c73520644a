# ruff: noqa: FBT001 - arguments of examples
"""The server's side: requests in any cuts, strict, bounded; and what it writes."""

from __future__ import annotations

import tracemalloc

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a3s_gateway.errors import LocalProtocolError, RemoteProtocolError
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.protocol.codec import CHUNKED, Head
from a3s_gateway.protocol.http1.client import Http1Client
from a3s_gateway.protocol.http1.server import Http1Server, Limits
from tests.integration import test_refusals as refusals

from .wires import (
    EDITS,
    REQUESTS,
    begins_with,
    cut,
    cuts,
    edited,
    every_cut,
    serve,
    single_bytes,
    value_of,
)

TABLES = {
    f"{table}: {name}": case
    for table in (
        "REQUEST_LINES", "LINE_ENDS", "NAMES_AND_VALUES", "HOSTS", "TARGETS", "FRAMING", "CHUNKS",
        "SIZES", "OTHERS",
    )
    for name, case in getattr(refusals, table).items()
}  # fmt: skip
SMALL = Limits(1024, 8, 128, 200, 1024)


@given(st.lists(st.sampled_from(REQUESTS), max_size=5).map(b"".join), st.data())
def test_any_cuts_give_the_same_requests(wire: bytes, data: st.DataObject) -> None:
    """Where the network cuts the stream does not show."""
    whole = serve([wire])
    assert whole[1] == ""
    assert serve(data.draw(cuts(wire))) == whole
    assert serve(single_bytes(wire)) == whole


@pytest.mark.parametrize("name", TABLES)
def test_a_refusal_does_not_depend_on_cuts(name: str) -> None:
    """What is refused is refused with the same status, wherever it is cut."""
    case = TABLES[name]
    limits = SMALL if name.startswith("SIZES") else Limits()
    whole = serve([case.wire], limits)
    finest = serve(single_bytes(case.wire), limits)
    assert whole[1] == case.code
    assert finest[1] == case.code
    for pieces in every_cut(case.wire):
        trace, code = serve(pieces, limits)
        assert code == case.code
        # A fault in the bytes that bring a head takes that head with it.
        assert begins_with(trace, whole[0])
        assert begins_with(finest[0], trace)


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3).map(b"".join), EDITS, st.data())
@settings(max_examples=300)
def test_edited_requests(
    wire: bytes, edits: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    """Whatever comes, there are events or one kind of error, the same in any cuts, in bounds."""
    wire = edited(wire, edits)

    def check(server: Http1Server) -> None:
        if not server.is_request_complete:
            assert len(server._buffer) <= SMALL.max_head + 3  # noqa: SLF001 - the bound

    whole = serve([wire], SMALL, check)
    finest = serve(single_bytes(wire), SMALL, check)
    trace, code = serve(data.draw(cuts(wire)), SMALL, check)
    assert (code == "") == (finest[1] == "") == (whole[1] == "")
    assert begins_with(finest[0], trace)
    assert begins_with(trace, whole[0])


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes(wire: bytes) -> None:
    """Nothing but `RemoteProtocolError` comes of them."""
    for prefix in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\n", b"GET /"):
        serve([prefix + wire + b"\r\n\r\n"])


TOKENS = st.from_regex(r"\A[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,10}\Z").filter(lambda t: t != "CONNECT")
FIELDS = st.lists(
    st.tuples(
        TOKENS.map(lambda name: f"X-{name}").filter(
            lambda name: (
                not name.lower().replace("_", "-").startswith(("x-forwarded-", "x-real-ip"))
                and name.lower() != "x-request-id"
            )
        ),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=10),
    ),
    max_size=4,
)
BODIES = st.none() | st.lists(st.binary(min_size=1, max_size=20), max_size=3)


@given(TOKENS, FIELDS, BODIES, st.booleans(), FIELDS)
def test_h11_reads_the_same(
    method: str,
    fields: list[tuple[str, str]],
    body: list[bytes] | None,
    chunked: bool,
    late: list[tuple[str, str]],
) -> None:
    """What another parser makes of a good request, ours makes of it too."""
    sender = h11.Connection(h11.CLIENT)
    head = [("Host", "a"), *fields]
    if body is not None:
        head.append(
            ("Transfer-Encoding", "chunked")
            if chunked
            else ("Content-Length", str(sum(map(len, body))))
        )
    late = late if body is not None and chunked else []
    wire = sender.send(h11.Request(method=method, target="/a?b", headers=head)) or b""
    for part in body or ():
        wire += sender.send(h11.Data(data=part)) or b""
    wire += sender.send(h11.EndOfMessage(headers=late)) or b""
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(wire)
    event = theirs.next_event()
    assert isinstance(event, h11.Request)

    trace, code = serve([wire])
    assert code == ""
    ours = trace[0]
    assert ours[1:4] == (method, "/a", "b")
    assert ours[7].lower() == b"".join(
        name + b": " + value.lower() + b"\r\n"
        for name, value in event.headers
        if name not in (b"host", b"content-length", b"transfer-encoding")
    )
    assert bytes(value for value in trace if isinstance(value, int)) == b"".join(body or [])
    if late:
        assert trace[-1] == ("end", "".join(f"{n}: {v}\r\n" for n, v in late).encode())


@given(TOKENS, FIELDS, st.sampled_from([0, 5, None]), st.booleans())
def test_what_the_client_writes_the_server_reads(
    method: str, fields: list[tuple[str, str]], length: int | None, expects: bool
) -> None:
    """A head that we forward means to a parser like ours what it meant to us."""
    client = Http1Client()
    headers = Headers.of(*fields)
    wire = client.send_head(method, "/a/%2F?b", "a:80", headers, length, "id", expects)
    body = [b"hello"] if length != 0 else []
    for part in body:
        wire += client.send_data(part)
    wire += client.send_end(EMPTY_HEADERS) if length != 0 else b""
    trace, code = serve([wire])
    assert code == ""
    assert trace[0] == (
        "head", method, "/a/%2F", "b", "a", "a:80", 11, headers.wire,
        CHUNKED if length is None else length, (), "id", expects and length != 0, True, "",
    )  # fmt: skip
    assert bytes(value for value in trace if isinstance(value, int)) == b"".join(body)


def one(wire: bytes) -> Head:
    """Parse a head alone."""
    event = Http1Server().receive_data(wire)[0]
    assert isinstance(event, Head)
    return event


def test_what_a_head_says() -> None:
    """Everything that a hop has to know, apart from what just travels."""
    head = one(
        b"POST /a?b HTTP/1.1\r\nHost: Example.com.:8080\r\nConnection: close, X-Hop, upgrade\r\n"
        b"X-Hop: 1\r\n"
        b"X-End: 1\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\nUpgrade: a\r\n"
        b"Upgrade: b\r\nTE: trailers\r\nX-Forwarded-For: x\r\nForwarded: y\r\nKeep-Alive: z\r\n"
        b"X-Request-Id: id\r\n\r\n"
    )
    assert (head.host, head.authority) == ("example.com", "Example.com.:8080")
    assert (head.length, head.expects_continue, head.keep_alive) == (CHUNKED, True, False)
    assert (head.upgrade, head.request_id) == ("a, b", "id")
    assert head.forwarded == (("x-forwarded-for", "x"), ("forwarded", "y"))
    assert head.headers.wire == b"X-End: 1\r\nTE: trailers\r\n"


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", "", True), ("1.1", "close", False), ("1.1", "Keep-Alive", True),
        ("1.1", "x, CLOSE", False), ("1.1", "keep-alive, close", False), ("1.0", "", False),
        ("1.0", "keep-alive", True), ("1.0", "close", False), ("1.0", "keep-alive, close", False),
    ],
)  # fmt: skip
def test_whether_a_connection_is_kept(version: str, connection: str, keep_alive: bool) -> None:
    """RFC 9112 §9.3."""
    field = f"Connection: {connection}\r\n" if connection else ""
    wire = f"GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n".encode()
    assert one(wire).keep_alive is keep_alive


def test_a_repeated_head_is_not_mixed_up_with_one_like_it() -> None:
    """What is remembered of a connection's last head serves only the very same."""
    wires = [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX-Request-Id: i\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX-Request-Id: j\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nx-request-id: k\r\nX-Request-Id: l\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nX: 1\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: keep-alive\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 1\r\n\r\n-",
        b"GET / HTTP/1.1\r\nHost: b\r\nX: 1\r\n\r\n",
        b"GET http://c/ HTTP/1.1\r\nHost: b\r\nX: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: b\r\nX: 1\r\n\r\n",
    ]
    apart = [value for wire in wires for value in serve([wire])[0]]
    for order in (wires, wires[::-1]):
        together, code = serve([b"".join(order)])
        assert (code, sorted(map(repr, together))) == ("", sorted(map(repr, apart)))


def test_blank_lines_before_a_request_are_bounded_each_time() -> None:
    """Old clients send one behind a body; nobody sends many."""
    get = REQUESTS[0]
    wire = (b"\r\n" + get) * 10
    assert serve([wire])[1] == serve(single_bytes(wire))[1] == ""
    for pieces in ([b"\r\n" * 5], [b"\r\n"] * 5, single_bytes(b"\r\n" * 5)):
        assert serve(pieces)[1] == "BAD_REQUEST"


def test_an_idle_connection_keeps_little_of_a_large_head() -> None:
    """Ten thousand of them must not cost a gigabyte; small heads may be kept, for they repeat."""

    def kept(value: bytes) -> int:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        server = Http1Server()
        lines = (b"X-%d: %b\r\n" % (number, value) for number in range(100))
        server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(lines) + b"\r\n")
        server.send_head(200, "", EMPTY_HEADERS, 0, "")
        server.send_end(EMPTY_HEADERS)
        assert server.next_cycle() == []
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return after - before

    # Lines of this length are in no cache that connections share.
    assert kept(b"a" * 300) < 4096


def test_a_head_byte_by_byte_costs_no_square() -> None:
    """A client that sends its head in single bytes makes us look at it again each time, cheaply."""
    wire = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 120 + b"\r\n"
    assert serve(single_bytes(wire))[1] == ""


def test_when_pipelined_bytes_are_enough() -> None:
    """Only bytes of further requests count, not those of a body."""
    server = Http1Server(SMALL)
    server.receive_data(REQUESTS[0])
    assert not server.is_full
    server.receive_data(bytes(1023))
    assert not server.is_full
    server.receive_data(b"x")
    assert server.is_full


# -- what it writes


def answer(
    request: bytes,
    status: int,
    length: int | None,
    body: bytes = b"",
    trailers: Headers = EMPTY_HEADERS,
) -> tuple[bytes, Http1Server]:
    server = Http1Server()
    server.receive_data(request)
    wire = server.send_head(status, "", Headers.of(("X", "y")), length, "id")
    if body:
        wire += server.send_data(body)
    return wire + server.send_end(trailers), server


@pytest.mark.parametrize(
    ("request_line", "status", "length", "expected"),
    [
        ("GET / HTTP/1.1", 200, 2, b"Content-Length: 2\r\n%bok"),
        ("GET / HTTP/1.1", 200, None, b"Transfer-Encoding: chunked\r\n%b2\r\nok\r\n0\r\n\r\n"),
        ("GET / HTTP/1.0", 200, 2, b"Content-Length: 2\r\nConnection: close\r\n%bok"),
        ("GET / HTTP/1.0", 200, None, b"Connection: close\r\n%bok"),
    ],
)  # fmt: skip
def test_how_an_answer_is_framed(
    request_line: str, status: int, length: int | None, expected: bytes
) -> None:
    """By its length, by chunks, or by the end of the connection: what the client understands."""
    wire, _ = answer(f"{request_line}\r\nHost: a\r\n\r\n".encode(), status, length, b"ok")
    assert wire == b"HTTP/1.1 200 OK\r\nX: y\r\n" + expected % b"X-Request-Id: id\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "status", "length", "says_length"),
    [
        ("HEAD", 200, 5, True), ("HEAD", 200, None, False), ("GET", 204, None, False),
        ("GET", 204, 5, False), ("GET", 304, 5, True), ("GET", 304, None, False),
    ],
)  # fmt: skip
def test_answers_without_a_body(
    method: str, status: int, length: int | None, says_length: bool
) -> None:
    """They end with their heads, and 204 never says a length (RFC 9110 §8.6)."""
    wire, server = answer(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode(), status, length)
    assert wire.endswith(b"\r\n\r\n")
    assert wire.count(b"\r\n\r\n") == 1
    assert (b"Content-Length: 5" in wire) is says_length
    assert b"Transfer-Encoding" not in wire
    assert server.keep_alive


@given(st.sampled_from([200, 404, 599]), st.sampled_from([0, 5, None]), FIELDS, st.booleans())
def test_what_the_server_writes_the_client_reads(
    status: int, length: int | None, fields: list[tuple[str, str]], has_trailers: bool
) -> None:
    """An answer that we pass on means to a parser like ours what it meant to us."""
    server = Http1Server()
    server.receive_data(REQUESTS[0])
    headers = Headers.of(*fields)
    trailers = Headers.of(("X-Sum", "1")) if has_trailers and length is None else EMPTY_HEADERS
    wire = server.send_head(status, "", headers, length, "")
    if length != 0:
        wire += server.send_data(b"hello")
    wire += server.send_end(trailers)
    client = Http1Client()
    client.send_head("GET", "/", "a", EMPTY_HEADERS, 0, "")
    trace = [value for event in client.receive_data(wire) for value in value_of(event)]
    assert client.is_reusable
    assert trace[0][1] == status
    assert trace[0][3] == headers.wire
    assert bytes(v for v in trace if isinstance(v, int)) == (b"" if length == 0 else b"hello")
    if length != 0:
        assert trace[-1] == ("end", trailers.wire)


def test_interim_answers() -> None:
    """Any number before the final one; HTTP/1.0 has none."""
    server = Http1Server()
    server.receive_data(REQUESTS[0])
    hints = Headers.of(("Link", "<x>"))
    assert server.send_informational(103, "", hints) == (
        b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    )
    assert server.send_informational(100, "", EMPTY_HEADERS) == b"HTTP/1.1 100 Continue\r\n\r\n"
    old = Http1Server()
    old.receive_data(b"GET / HTTP/1.0\r\n\r\n")
    assert old.send_informational(103, "", hints) == b""


def test_a_refusal_is_the_last_word() -> None:
    """Nothing is read behind it."""
    server = Http1Server()
    with pytest.raises(RemoteProtocolError):
        server.receive_data(b"G@T / HTTP/1.1\r\n\r\n")
    wire = server.send_refusal(400, Headers.of(("X", "y")), b"{}")
    assert wire == (
        b"HTTP/1.1 400 Bad Request\r\nX: y\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    assert server.receive_data(REQUESTS[0]) == []
    assert (server.keep_alive, server.is_idle) == (False, False)


def test_answers_out_of_turn_are_our_own_fault() -> None:
    """They are errors of the gateway, not of the client."""
    server = Http1Server()
    with pytest.raises(LocalProtocolError):
        server.send_head(200, "", EMPTY_HEADERS, 0, "")
    with pytest.raises(LocalProtocolError):
        server.send_informational(100, "", EMPTY_HEADERS)
    with pytest.raises(LocalProtocolError):
        server.next_cycle()
    server.receive_data(REQUESTS[0])
    with pytest.raises(LocalProtocolError):
        server.next_cycle()


def test_cutting_changes_no_byte() -> None:
    """The helper of these tests is right itself."""
    assert cut(b"abcd", [2, 2, 9, 0]) == [b"ab", b"cd"]

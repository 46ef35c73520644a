# ruff: noqa: FBT001 - arguments of examples
"""The client's side: responses in any cuts, strict, bounded; and what it writes."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a3s_gateway.errors import LocalProtocolError, RemoteProtocolError
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.protocol.http1.client import MAX_HEAD, MAX_LINES, Http1Client

from .wires import (
    EDITS,
    RESPONSES,
    begins_with,
    cuts,
    edited,
    every_cut,
    request,
    single_bytes,
    value_of,
)

OK = b"HTTP/1.1 200 OK\r\n"
BAD = {
    "another protocol": b"SSH-2.0-OpenSSH_9.0\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "no version": b"HTTP 200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "a tab for a space": b"HTTP/1.1\t200 OK\r\n\r\n",
    "a control byte in the reason": b"HTTP/1.1 200 \x01\r\n\r\n",
    "a blank line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nX: y\n\n",
    "a bare LF": OK + b"X: y\nZ: w\r\n\r\n",
    "a bare CR": OK + b"X: y\rz\r\n\r\n",
    "a space before the colon": OK + b"X : y\r\n\r\n",
    "a fold": OK + b"X: y\r\n z\r\n\r\n",
    "a NUL": OK + b"X: \x00\r\n\r\n",
    "Content-Length twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n",
    "Content-Length as a list": OK + b"Content-Length: 2, 2\r\n\r\n",
    "Content-Length with a sign": OK + b"Content-Length: +2\r\n\r\n",
    "Content-Length too long": OK + b"Content-Length: " + b"1" * 19 + b"\r\n\r\n",
    "Content-Length and Transfer-Encoding": OK
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Transfer-Encoding twice": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "Transfer-Encoding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Connection nominates Content-Length": OK
    + b"Connection: content-length\r\nContent-Length: 2\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "interim answers without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 20,
    "a head that is too large": OK + b"X: " + b"a" * MAX_HEAD + b"\r\n\r\n",
    "a head without end": OK + b"X: " + b"a" * (MAX_HEAD + 10),
    "too many lines": OK + b"X: y\r\n" * MAX_LINES + b"\r\n",
    "a chunk size that is none": OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
}


@pytest.mark.parametrize("number", range(len(RESPONSES)))
def test_any_cuts_give_the_same_response(number: int) -> None:
    """Where the network cuts the stream does not show."""
    method, wire = RESPONSES[number]
    is_ended = number == len(RESPONSES) - 1
    whole = request([wire], method.decode(), is_ended=is_ended)
    assert whole[1] == ("" if is_ended else "reusable")
    for pieces in (*every_cut(wire), single_bytes(wire)):
        assert request(pieces, method.decode(), is_ended=is_ended) == whole


@pytest.mark.parametrize("name", BAD)
def test_a_fault_does_not_depend_on_cuts(name: str) -> None:
    """What breaks a rule breaks it wherever it is cut."""
    wire = BAD[name]
    few = 40 if len(wire) > 10_000 else 300
    finest = [] if len(wire) > 10_000 else [single_bytes(wire)]
    for pieces in ([wire], *every_cut(wire, most=few), *finest):
        assert request(pieces)[1] == "BAD_REQUEST"


@given(st.sampled_from(RESPONSES), EDITS, st.data())
@settings(max_examples=300)
def test_edited_responses(
    good: tuple[bytes, bytes], edits: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    """Whatever comes, there are events or one kind of error, the same in any cuts, in bounds."""
    method, wire = good[0].decode(), edited(good[1], edits)

    def check(client: Http1Client) -> None:
        assert len(client._buffer) <= max(MAX_HEAD + 3, len(wire))  # noqa: SLF001 - the bound

    whole = request([wire], method, check=check)
    finest = request(single_bytes(wire), method, check=check)
    trace, _ = request(data.draw(cuts(wire)), method, check=check)
    assert begins_with(finest[0], trace)
    assert begins_with(trace, whole[0])


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes(wire: bytes) -> None:
    """Nothing but `RemoteProtocolError` comes of them."""
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        request([prefix + wire + b"\r\n\r\n"], is_ended=True)


FIELDS = st.lists(
    st.tuples(
        st.from_regex(r"\AX-[A-Za-z0-9]{1,8}\Z").filter(lambda n: n.lower() != "x-request-id"),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=10),
    ),
    max_size=4,
)


@given(
    st.integers(200, 599).filter(lambda status: status not in (204, 205, 304)),
    FIELDS,
    st.sampled_from(["length", "chunked", "close"]),
    st.lists(st.binary(min_size=1, max_size=20), max_size=3),
)
def test_h11_reads_the_same(
    status: int, fields: list[tuple[str, str]], framing: str, body: list[bytes]
) -> None:
    """What another implementation writes, ours reads; and what ours writes, it reads."""
    client = Http1Client()
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(client.send_head("GET", "/a", "b", Headers.of(("X", "y")), 0, "id"))
    event = theirs.next_event()
    assert isinstance(event, h11.Request)
    assert dict(event.headers) == {b"host": b"b", b"x": b"y", b"x-request-id": b"id"}
    assert isinstance(theirs.next_event(), h11.EndOfMessage)

    head: list[tuple[str, str]] = list(fields)
    if framing == "length":
        head.append(("Content-Length", str(sum(map(len, body)))))
    elif framing == "chunked":
        head.append(("Transfer-Encoding", "chunked"))
    else:
        head.append(("Connection", "close"))
    wire = theirs.send(h11.Response(status_code=status, headers=head, reason="Whatever")) or b""
    if framing == "close":  # h11 would choose chunks
        wire = (
            f"HTTP/1.1 {status} Whatever\r\n".encode()
            + b"".join(f"{name}: {value}\r\n".encode() for name, value in head) + b"\r\n"
            + b"".join(body)
        )  # fmt: skip
    else:
        for part in body:
            wire += theirs.send(h11.Data(data=part)) or b""
        wire += theirs.send(h11.EndOfMessage()) or b""
    trace, code = request([wire], is_ended=framing == "close")
    assert code == ("" if framing == "close" else "reusable")
    assert trace[0][1:3] == (status, "Whatever")
    assert trace[0][3] == Headers.of(*fields).wire
    assert bytes(value for value in trace if isinstance(value, int)) == b"".join(body)


def exchange(client: Http1Client, wire: bytes, method: str = "GET") -> list[object]:
    client.send_head(method, "/", "a", EMPTY_HEADERS, 0, "")
    return [value for event in client.receive_data(wire) for value in value_of(event)]


def test_a_repeated_head_is_read_for_its_own_request() -> None:
    """The same bytes have no body after HEAD, and one after GET."""
    client = Http1Client()
    wire = OK + b"Content-Length: 5\r\n\r\n"
    for method, body in (("GET", b"hello"), ("HEAD", b""), ("GET", b"again"), ("GET", b"third")):
        trace = exchange(client, wire + body, method)
        assert bytes(value for value in trace if isinstance(value, int)) == body
        assert client.is_reusable


def test_a_head_like_the_last_one_is_not_it() -> None:
    """What is remembered serves only the very same bytes."""
    client = Http1Client()
    for number, length in ((b"1", 1), (b"2", 2), (b"1", 1)):
        trace = exchange(client, OK + b"Content-Length: " + number + b"\r\n\r\n" + b"x" * length)
        assert len([value for value in trace if isinstance(value, int)]) == length


@pytest.mark.parametrize(
    "wire",
    [
        OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1",
        OK + b"Content-Length: 0\r\n\r\nx",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nx",
        b"HTTP/1.1 204 No Content\r\n\r\nx",
    ],
)
def test_surplus_bytes_spoil_the_connection(wire: bytes) -> None:
    """They belong to no request; the response itself is good."""
    client = Http1Client()
    assert exchange(client, wire)[0]
    assert not client.is_reusable
    with pytest.raises(LocalProtocolError):
        client.send_head("GET", "/", "a", EMPTY_HEADERS, 0, "")


def test_surplus_bytes_that_come_later_are_a_fault() -> None:
    """Nobody asked."""
    client = Http1Client()
    exchange(client, OK + b"Content-Length: 0\r\n\r\n")
    assert client.is_reusable
    with pytest.raises(RemoteProtocolError):
        client.receive_data(b"x")
    assert not client.is_reusable


@pytest.mark.parametrize(
    ("wire", "is_reusable"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", True),
        (OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n", False),
        (OK + b"Content-Length: 0\r\nConnection: x\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", False),
    ],
)
def test_whether_a_connection_can_be_used_again(wire: bytes, is_reusable: bool) -> None:
    """As the backend says; HTTP/1.0 has to say so."""
    client = Http1Client()
    exchange(client, wire)
    assert client.is_reusable is is_reusable


def test_a_response_before_the_request_is_complete() -> None:
    """The connection is not used again, for the backend may read the rest as another request."""
    client = Http1Client()
    client.send_head("POST", "/", "a", EMPTY_HEADERS, 5, "")
    client.receive_data(OK + b"Content-Length: 0\r\n\r\n")
    assert not client.is_reusable


@pytest.mark.parametrize(
    ("wire", "is_whole"),
    [
        (OK + b"\r\n", True), (OK + b"\r\nsome", True), (b"", False), (OK, False),
        (OK + b"Content-Length: 5\r\n\r\nhe", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n", False),
    ],
)  # fmt: skip
def test_the_end_of_the_connection(wire: bytes, is_whole: bool) -> None:
    """It ends a body without a length, and cuts every other one short."""
    _, code = request([wire] if wire else [], is_ended=True)
    assert code == ("" if is_whole else "BAD_REQUEST")


def test_the_end_of_an_idle_connection() -> None:
    """It was to be expected."""
    client = Http1Client()
    exchange(client, OK + b"Content-Length: 0\r\n\r\n")
    assert client.receive_eof() == []
    assert not client.is_reusable


def test_fields_of_the_hop_and_ids_are_left_out() -> None:
    """In final and in interim answers."""
    fields = (
        b"Keep-Alive: x\r\nProxy-Authenticate: x\r\nProxy-Connection: x\r\nUpgrade: x\r\nTE: x\r\n"
        b"X-Request-Id: x\r\nConnection: X-Hop\r\nX-Hop: x\r\nX-End: 1\r\n\r\n"
    )
    trace, _ = request(
        [b"HTTP/1.1 103 Early Hints\r\n" + fields, b"HTTP/1.1 204 No Content\r\n" + fields]
    )
    assert [value[3] for value in trace] == [b"X-End: 1\r\n"] * 2


@pytest.mark.parametrize(
    ("method", "length", "expects", "framing"),
    [
        ("GET", 0, False, ""),
        ("DELETE", 0, False, ""),
        ("POST", 0, False, "Content-Length: 0\r\n"),
        ("PUT", 0, True, "Content-Length: 0\r\n"),
        ("GET", 5, False, "Content-Length: 5\r\n"),
        ("POST", None, False, "Transfer-Encoding: chunked\r\n"),
        ("POST", 5, True, "Content-Length: 5\r\nExpect: 100-continue\r\n"),
    ],
)
def test_how_a_request_is_framed(
    method: str, length: int | None, expects: bool, framing: str
) -> None:
    """As it came; and a method that usually has a body says that it has none."""
    wire = Http1Client().send_head(method, "/a", "b", EMPTY_HEADERS, length, "id", expects)
    assert wire == f"{method} /a HTTP/1.1\r\nHost: b\r\n{framing}X-Request-Id: id\r\n\r\n".encode()


def test_a_request_without_an_id() -> None:
    """The field is left out."""
    wire = Http1Client().send_head("GET", "/", "a", EMPTY_HEADERS, 0, "")
    assert wire == b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_one_request_at_a_time() -> None:
    """A second one before the answer would be an error of ours."""
    client = Http1Client()
    client.send_head("GET", "/", "a", EMPTY_HEADERS, 0, "")
    with pytest.raises(LocalProtocolError):
        client.send_head("GET", "/", "a", EMPTY_HEADERS, 0, "")

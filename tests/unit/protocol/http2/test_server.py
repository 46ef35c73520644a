"""The server's side of HTTP/2, frame by frame."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.headers import Headers
from a3s_gateway.protocol.codec import Closed, Data, End, Head, Http2Event, Refused, Reset
from a3s_gateway.protocol.http1.request_head import DEFAULT_LIMITS
from a3s_gateway.protocol.http2 import frames
from a3s_gateway.protocol.http2.hpack import Encoder, Field
from a3s_gateway.protocol.http2.server import Http2Server
from a3s_gateway.protocol.http2.settings import Settings

HELLO = frames.PREFACE + frames.settings([])
HEAD: list[Field] = [
    (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/x/../a?b"),
    (b":authority", b"Example.com:443"),
]  # fmt: skip


def head(*fields: Field, stream: int = 1, ends: bool = True, start: list[Field] = HEAD) -> bytes:
    return frames.headers(stream, Encoder().encode([*start, *fields]), 16384, is_last=ends)


def data(payload: bytes, stream: int = 1, *, ends: bool = False) -> bytes:
    return frames.frame(frames.DATA, frames.END_STREAM if ends else 0, stream, payload)


def told(*wire: bytes) -> list[Http2Event]:
    return Http2Server().receive_data(HELLO + b"".join(wire), 0.0)


def plain(events: list[Http2Event]) -> list[tuple[object, ...]]:
    """Return what events say, so that they can be compared."""
    return [
        (type(e).__name__, *(str(getattr(e, n)) for n in e.__slots__ if n != "__weakref__"))
        for e in events
    ]


WIRE = b"".join((
    HELLO,
    head((b"x", b"1")),
    head(stream=3, ends=False),
    frames.frame(frames.PING, 0, 0, b"12345678"),
    data(b"hello", 3),
    frames.frame(frames.DATA, frames.PADDED, 3, b"\x03abc\0\0\0"),
    frames.headers(3, Encoder().encode([(b"x-t", b"1")]), 16384, is_last=True),
    frames.headers(5, Encoder().encode([*HEAD, (b"long", b"z" * 90)]), 30, is_last=False),
    frames.rst_stream(5, 8),
    frames.window_update(0, 0),
))  # fmt: skip


@given(st.lists(st.integers(0, len(WIRE))))
def test_any_chunking_gives_the_same_events(cuts: list[int]) -> None:
    """Where the network cuts the stream does not show, not even in what is answered."""
    edges = [0, *sorted(cuts), len(WIRE)]
    server, whole = Http2Server(), Http2Server()
    events = [e for a, b in pairwise(edges) for e in server.receive_data(WIRE[a:b], 0.0)]
    assert plain(events) == plain(whole.receive_data(WIRE, 0.0))
    assert server.take_output() == whole.take_output()
    names = [type(e).__name__ for e in events]
    assert names == ["Head", "Head", "Data", "Data", "End", "Head", "Reset", "Closed"]


def test_a_head_is_that_of_http_1() -> None:
    """Path and host are in their canonical form; the authority goes on as it was sent."""
    (event,) = told(head((b"x-request-id", b"q"), (b"te", b"trailers"), (b"forwarded", b"for=a")))
    assert isinstance(event, Head)
    assert (event.path, event.query, event.host) == ("/a", "b", "example.com")
    assert (event.authority, event.request_id, event.version) == ("Example.com:443", "q", 20)
    assert event.forwarded == (("forwarded", "for=a"),)
    assert [h.name for h in event.headers] == ["te"]


MALFORMED: dict[str, tuple[Field, ...]] = {
    "upper case": ((b"X", b"1"),),
    "connection": ((b"connection", b"close"),),
    "transfer-encoding": ((b"transfer-encoding", b"chunked"),),
    "te": ((b"te", b"gzip"),),
    "a late pseudo-header field": ((b"x", b"1"), (b":path", b"/")),
    "one of a response": ((b":status", b"200"),),
    "one twice": ((b":path", b"/"),),
    "a line end": ((b"x", b"a\r\nb"),),
    "NUL": ((b"x", b"a\0"),),
    "a blank at the end": ((b"x", b"a "),),
    "another host": ((b"host", b"b"),),
    "a body that does not come": ((b"content-length", b"1"),),
    "two lengths": ((b"content-length", b"0"), (b"content-length", b"0")),
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_reset(fields: tuple[Field, ...]) -> None:
    """RFC 9113 §8.1.1: it is no request, and its stream is over."""
    (event,) = told(head(*fields))
    assert isinstance(event, Reset)
    assert event.code == frames.PROTOCOL_ERROR


def test_what_is_well_formed_and_not_wanted_is_refused() -> None:
    """It is for whoever answers to say so."""
    connect: list[Field] = [(b":method", b"CONNECT"), (b":authority", b"a:1")]
    (event,) = told(head(start=connect))
    assert isinstance(event, Refused)
    many = [(b"x", b"%d" % n) for n in range(200)]
    (event,) = told(head(*many))
    assert isinstance(event, Refused)
    assert event.error.code == "HEADERS_TOO_LARGE"


def test_data_beyond_a_length_is_a_fault() -> None:
    """A body is as long as was announced."""
    events = told(head((b"content-length", b"3"), ends=False), data(b"abcd"))
    assert isinstance(events[-1], Reset)


def test_a_window_is_granted_as_data_is_consumed() -> None:
    """What nobody has read is not granted again."""
    local = Settings(stream_window=70_000, connection_window=100_000)
    server = Http2Server(local)
    server.receive_data(HELLO + head(ends=False), 0.0)
    server.take_output()
    for _ in range(4):
        (event,) = server.receive_data(data(bytes(16_000)), 0.0)
        assert isinstance(event, Data)
    assert server.take_output() == b""
    (closed,) = server.receive_data(data(bytes(16_000)), 0.0)
    assert isinstance(closed, Reset)
    assert closed.code == frames.FLOW_CONTROL_ERROR


def test_streams_take_turns() -> None:
    """Where the connection's window is small, no stream takes all of it."""
    server = Http2Server()
    large = frames.settings([(frames.INITIAL_WINDOW_SIZE, 1 << 20)])
    server.receive_data(frames.PREFACE + large + head() + head(stream=3), 0.0)
    for stream in (1, 3):
        server.send_head(stream, 200, Headers(), None, "", is_last=False)
        assert server.send_data(stream, bytes(200_000), is_last=True) is False
    server.take_output()
    server.receive_data(frames.window_update(0, 65_536), 0.0)
    assert abs(server.pending_on(1) - (200_000 - 65_535 - 32_768)) <= 16_384
    assert abs(server.pending_on(3) - (200_000 - 32_768)) <= 16_384


def test_after_a_fault_nothing_is_read() -> None:
    """The connection is over, and says so once."""
    server = Http2Server()
    (event,) = server.receive_data(b"GET / HTTP/1.1\r\n\r\n", 0.0)
    assert isinstance(event, Closed)
    assert server.receive_data(HELLO, 0.0) == []


def test_trailers_end_a_request() -> None:
    """Those that may not come so late are left out."""
    late = frames.headers(
        1, Encoder().encode([(b"x-t", b"1"), (b"trailer", b"x")]), 99, is_last=True
    )
    event = told(head(ends=False), late)[-1]
    assert isinstance(event, End)
    assert [h.name for h in event.trailers] == ["x-t"]


def test_uploads_that_nobody_reads_stop_no_others() -> None:
    """With the default windows, each stream may be full and the next one still has room."""
    local = Settings()
    server = Http2Server(local)
    server.receive_data(HELLO, 0.0)
    numbers = range(1, 2 * local.max_concurrent_streams, 2)
    heads = b"".join(head(ends=False, stream=number) for number in numbers)
    server.receive_data(heads, 0.0)
    for number in numbers[:-1]:
        for _ in range(local.stream_window // 16384):
            server.receive_data(data(bytes(16384), stream=number), 0.0)
    server.take_output()
    for _ in range(100):
        (event,) = server.receive_data(data(bytes(16384), stream=numbers[-1]), 0.0)
        assert isinstance(event, Data)
        server.consumed(numbers[-1])


@pytest.mark.parametrize("window", [16 * 1024, 64 * 1024, 512 * 1024])
def test_other_windows_hold_once_the_client_knows_of_them(window: int) -> None:
    """What has been sent by the old ones is no fault, and nothing waits for ever."""
    server = Http2Server(Settings(max_concurrent_streams=1))
    server.receive_data(HELLO + frames.SETTINGS_ACK + head(ends=False), 0.0)
    granted = 128 * 1024
    server.take_output()
    server.retune(DEFAULT_LIMITS, Settings(stream_window=window, connection_window=window))
    assert frames.settings([(4, window)])[9:] in server.take_output()
    for _ in range(granted // 16384):
        (event,) = server.receive_data(data(bytes(16384)), 0.0)
        assert isinstance(event, Data)
    server.consumed(1)
    granted += window - 128 * 1024 + increments(server.take_output())
    server.receive_data(frames.SETTINGS_ACK, 0.0)
    granted += increments(server.take_output())
    assert granted - 128 * 1024 == window
    (event,) = server.receive_data(head(stream=3), 0.0)
    assert isinstance(event, Head)


def increments(wire: bytes) -> int:
    """Add up what is granted to stream 1."""
    total = 0
    while wire:
        high, low, kind, _, number = frames.HEADER.unpack_from(wire)
        if kind == frames.WINDOW_UPDATE and number == 1:
            total += frames.NUMBER.unpack_from(wire, 9)[0]
        wire = wire[9 + (high << 8 | low) :]
    return total

"""The client's side: requests out, responses in, wherever the network cuts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.errors import LocalProtocolError
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.protocol.codec import Data, End, GoingAway, Informational, Reset, ResponseHead
from a3s_gateway.protocol.http2 import frames
from a3s_gateway.protocol.http2.client import MAX_INFORMATIONAL, MAX_STREAMS, Http2Client
from a3s_gateway.protocol.http2.hpack import Encoder

SETTINGS = frames.settings(())


def client(requests: int = 1, method: str = "GET") -> Http2Client:
    """Make one whose requests have been sent."""
    made = Http2Client("http")
    made.receive_data(SETTINGS, 0.0)
    for _ in range(requests):
        made.send_request(method, "/", "a", EMPTY_HEADERS, [], is_last=True)
    made.take_output()
    return made


def answer(*fields: tuple[bytes, bytes], stream: int = 1, is_last: bool = False) -> bytes:
    """Write a head."""
    return frames.headers(stream, Encoder().encode(fields), 16384, is_last=is_last)


WIRE = b"".join(
    (
        answer((b":status", b"103"), (b"link", b"</a>")),
        answer((b":status", b"200"), (b"content-length", b"5"), (b"x-a", b"b")),
        answer((b":status", b"404"), stream=3, is_last=True),
        frames.frame(frames.DATA, 0, 1, b"hel"),
        frames.frame(frames.DATA, 0, 1, b"lo"),
        answer((b"grpc-status", b"0"), is_last=True),
        frames.goaway(3, frames.NO_ERROR),
    )
)


@given(st.lists(st.integers(0, len(WIRE))))
def test_any_chunking_gives_the_same_events(cuts: list[int]) -> None:
    """Of two streams at a time."""
    edges = [0, *sorted(cuts), len(WIRE)]
    codec = client(2)
    events = [event for a, b in pairwise(edges) for event in codec.receive_data(WIRE[a:b], 0.0)]
    told = [
        (type(e), getattr(e, "stream", 0), getattr(e, "status", None) or getattr(e, "data", None))
        for e in events
    ]
    assert told == [
        (Informational, 1, 103), (ResponseHead, 1, 200), (ResponseHead, 3, 404), (End, 3, None),
        (Data, 1, b"hel"), (Data, 1, b"lo"), (End, 1, None), (GoingAway, 0, None),
    ]  # fmt: skip
    assert codec.is_going_away
    assert not codec.streams


@pytest.mark.parametrize(
    "head",
    [
        answer((b"x", b"y"), is_last=True),
        answer((b":status", b"20"), is_last=True),
        answer((b":status", b"101"), is_last=True),
        answer((b":status", b"103"), is_last=True),
        answer((b":status", b"200"), (b"content-length", b"1"), is_last=True),
        answer((b":status", b"200"), (b"content-length", b"+1")),
        answer((b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"1")),
        answer((b":status", b"200"), (b"transfer-encoding", b"chunked")),
        answer((b":status", b"200"), (b"a:b", b"c")),
        answer((b":status", b"200"), (b"a", b" c")),
        answer((b":status", b"200"), *[(b"a", b"b")] * 300),
        answer((b":status", b"103")) * (MAX_INFORMATIONAL + 1),
        frames.frame(frames.DATA, 0, 1, b"x"),
    ],
)
def test_a_malformed_answer_costs_its_stream(head: bytes) -> None:
    """The other one goes on."""
    codec = client(2)
    events = codec.receive_data(head, 0.0)
    assert isinstance(events[-1], Reset)
    assert not codec.is_closed
    assert list(codec.streams) == [3]


@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200"), ("GET", b"304"), ("GET", b"204")])
def test_answers_that_have_no_body(method: str, status: bytes) -> None:
    """Whatever their length says; a body all the same is a fault."""
    fields = ((b":status", status), (b"content-length", b"7"))
    head, end = client(method=method).receive_data(answer(*fields, is_last=True), 0.0)
    assert isinstance(head, ResponseHead)
    assert (head.length, head.announced) == (0, 7)
    assert isinstance(end, End)
    wire = answer(*fields) + frames.frame(frames.DATA, 1, 1, b"x")
    assert isinstance(client(method=method).receive_data(wire, 0.0)[-1], Reset)


def test_how_many_requests_may_be_under_way() -> None:
    """As many as the peer says, no more than we like, and none once it goes away."""
    codec = client(0)
    assert codec.max_streams == MAX_STREAMS
    codec.receive_data(frames.settings([(frames.MAX_CONCURRENT_STREAMS, 1)]), 0.0)
    codec.send_request("GET", "/", "a", Headers.of(("x", "y")), [], is_last=True)
    with pytest.raises(LocalProtocolError):
        codec.send_request("GET", "/", "a", EMPTY_HEADERS, [], is_last=True)

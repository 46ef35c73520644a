"""The server's side of an open WebSocket, in bytes."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from a3s_gateway.protocol.ws_messages import (
    Binary,
    Close,
    Event,
    Ping,
    Reader,
    Text,
    closing,
    framed,
    ping,
    pong,
)


def client(
    text: str = "", *, opcode: Opcode = Opcode.TEXT, data: bytes = b"", fin: bool = True
) -> bytes:
    """Mask as a client does, with a key of zeros."""
    payload = data or text.encode()
    size = len(payload)
    first = bytes([opcode | (128 if fin else 0)])
    length = bytes([128 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return first + length + bytes(4) + payload


WIRE = (
    client("hello")
    + client("a", fin=False)
    + client(opcode=Opcode.PING, data=b"in between")
    + client("", opcode=Opcode.CONTINUATION, fin=False)
    + client("é" * 200, opcode=Opcode.CONTINUATION)
    + client(opcode=Opcode.PONG)
    + client(opcode=Opcode.CLOSE, data=struct.pack("!H", 1000) + b"bye")
    + client("after the end")
)
EVENTS = [Text("hello"), Ping(b"in between"), Text("a" + "é" * 200), Close(1000)]


@given(st.lists(st.integers(0, len(WIRE))))
def test_any_chunking_gives_the_same_messages(cuts: list[int]) -> None:
    """Where the network cuts the stream does not show in the messages."""
    edges = [0, *sorted(cuts), len(WIRE)]
    reader = Reader(1000)
    events: list[Event] = []
    for begin, end in pairwise(edges):
        events += reader.receive_data(WIRE[begin:end])
    assert events == EVENTS


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (client(opcode=Opcode.CLOSE), None),
        (client(opcode=Opcode.CLOSE, data=struct.pack("!H", 4000)), 4000),
        (client(opcode=Opcode.CLOSE, data=struct.pack("!H", 1005)), 1002),
        (client(opcode=Opcode.CLOSE, data=struct.pack("!H", 2000)), 1002),
        (client(opcode=Opcode.CLOSE, data=struct.pack("!H", 5000)), 1002),
        (client(opcode=Opcode.CLOSE, data=b"\x03"), 1002),
        (client(opcode=Opcode.CLOSE, data=struct.pack("!H", 1000) + b"\xff"), 1007),
        (client(data=b"\xff"), 1007),
        (client(data=b"\xc3"), 1007),
        (client("x" * 101), 1009),
        (client("x" * 60, fin=False) + client("x" * 60, opcode=Opcode.CONTINUATION), 1009),
        (b"\x81\x7f" + (2**40).to_bytes(8, "big"), 1002),  # not masked
        (b"\x81\xff" + (2**40).to_bytes(8, "big") + bytes(4) + b"x" * 200, 1009),
        (b"\xf1\x80" + bytes(4), 1002),  # reserved bits
        (b"\x83\x80" + bytes(4), 1002),  # an opcode that there is not
        (b"\x09\x80" + bytes(4), 1002),  # a ping in fragments
        (client("x", opcode=Opcode.CONTINUATION), 1002),
        (client("x", fin=False) + client("x"), 1002),
    ],
)
def test_how_it_ends(wire: bytes, code: int | None) -> None:
    """Each with the code that the client is told; nothing is read after it."""
    reader = Reader(100)
    assert reader.receive_data(wire)[-1] == Close(code)
    assert reader.receive_data(client("more")) == []


def test_messages_that_are_not_text() -> None:
    """Their beginning is enough to tell."""
    assert Reader(10).receive_data(client(opcode=Opcode.BINARY, data=b"\0" * 100)) == [Binary()]


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    """Nothing raises."""
    for event in Reader(100).receive_data(data):
        assert isinstance(event, Text | Binary | Ping | Close)


@pytest.mark.parametrize("text", ["", "hi", "é" * 100, "x" * 70000])
def test_what_is_written_can_be_read(text: str) -> None:
    """By a client of wsproto's."""
    peer = FrameProtocol(client=True, extensions=[])
    peer.receive_bytes(framed(text) + ping() + pong(b"p") + closing(1001, "gone"))
    frames = list(peer.received_frames())
    assert "".join(str(f.payload) for f in frames if f.opcode is Opcode.TEXT) == text
    assert [f.payload for f in frames if f.opcode is not Opcode.TEXT] == [b"", b"p", (1001, "gone")]


def test_a_close_without_a_code_is_answered_in_kind() -> None:
    """RFC 6455 §5.5.1."""
    assert closing(None) == b"\x88\x00"

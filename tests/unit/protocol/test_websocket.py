"""The opening handshake, and where frames end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import Headers
from a3s_gateway.protocol.websocket import (
    GOING_AWAY,
    GOING_AWAY_MASKED,
    Frames,
    accept_of,
    check_handshake,
    key_of,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def test_a_key_and_its_answer() -> None:
    """The example of RFC 6455 §1.3."""
    assert key_of(b"the sample nonce") == KEY
    assert accept_of(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("method", "fields", "code"),
    [
        ("GET", [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)], ""),
        ("HEAD", [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", KEY)], "BAD_REQUEST"),
        ("GET", [("Sec-WebSocket-Version", "8"), ("Sec-WebSocket-Key", KEY)], "UPGRADE_REQUIRED"),
        ("GET", [("Sec-WebSocket-Key", KEY)], "UPGRADE_REQUIRED"),
        ("GET", [("Sec-WebSocket-Version", "13")], "BAD_REQUEST"),
        ("GET", [("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "a==")], "BAD_REQUEST"),
        ("GET", [("Sec-WebSocket-Version", "13"), *[("Sec-WebSocket-Key", KEY)] * 2],
         "BAD_REQUEST"),
    ],
)  # fmt: skip
def test_what_is_a_handshake(method: str, fields: list[tuple[str, str]], code: str) -> None:
    """RFC 6455 §4.2.1."""
    if not code:
        check_handshake(method, Headers.of(*fields))
        return
    with pytest.raises(RemoteProtocolError) as caught:
        check_handshake(method, Headers.of(*fields))
    assert caught.value.code == code


def frame(size: int, *, masked: bool, opcode: int = 2) -> bytes:
    """Build a frame with a payload of zeros."""
    mask = 128 if masked else 0
    if size < 126:
        head = bytes([128 | opcode, mask | size])
    elif size < 65536:
        head = bytes([128 | opcode, mask | 126]) + size.to_bytes(2)
    else:
        head = bytes([128 | opcode, mask | 127]) + size.to_bytes(8)
    return head + (b"\xaa\xbb\xcc\xdd" if masked else b"") + bytes(size)


@given(
    st.lists(st.sampled_from([0, 1, 3, 125, 126, 700, 65535, 65536]), min_size=1, max_size=6),
    st.booleans(),
    st.lists(st.integers(0, 300_000), max_size=8),
)
def test_any_chunking_is_followed(sizes: list[int], masked: bool, cuts: list[int]) -> None:  # noqa: FBT001
    """After each piece it is known whether a frame is cut in two."""
    wire, edges = b"", {0}
    for size in sizes:
        wire += frame(size, masked=masked)
        edges.add(len(wire))
    frames = Frames()
    for start, end in pairwise(sorted({0, *(cut % len(wire) for cut in cuts), len(wire)})):
        frames.follow(wire[start:end])
        assert frames.may_be_closed is (end in edges)


@pytest.mark.parametrize("close", [GOING_AWAY, GOING_AWAY_MASKED])
def test_after_a_close_frame_comes_nothing(close: bytes) -> None:
    """Also when it comes behind others, or in two pieces."""
    for wire in ([close], [frame(4, masked=False) + close], [close[:1], close[1:]]):
        frames = Frames()
        for piece in wire:
            frames.follow(piece)
        assert not frames.may_be_closed


def test_many_small_frames_are_not_looked_at() -> None:
    """It is not known then where frames end, until a piece is one whole frame again."""
    frames = Frames()
    frames.follow(frame(4, masked=True) * 1000)
    assert not frames.may_be_closed
    frames.follow(frame(4, masked=True) * 2)
    assert not frames.may_be_closed
    frames.follow(frame(4, masked=True))
    assert frames.may_be_closed

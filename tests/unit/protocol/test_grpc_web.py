"""gRPC-Web's types, its base64, and the frame that is its trailers."""

from __future__ import annotations

from base64 import b64encode
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.protocol import grpc_web


@pytest.mark.parametrize(
    ("web", "grpc", "is_text"),
    [
        ("application/grpc-web", "application/grpc", False),
        ("application/grpc-web+proto", "application/grpc+proto", False),
        ("application/grpc-web-text", "application/grpc", True),
        ("application/grpc-web-text+proto;a=b", "application/grpc+proto;a=b", True),
    ],
)
def test_types_are_translated_and_back(web: str, grpc: str, is_text: bool) -> None:  # noqa: FBT001
    """What follows the type stays."""
    assert grpc_web.read_type(web) == (is_text, grpc)
    assert grpc_web.write_type(grpc, is_text=is_text) == web


@pytest.mark.parametrize("other", ["", "application/grpc", "application/grpc-webby", "text/html"])
def test_other_types_are_left_alone(other: str) -> None:
    """They are not ours to translate."""
    assert grpc_web.read_type(other) is None
    assert grpc_web.write_type("application/grpc-web", is_text=False) is None


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 200)))
def test_base64_in_any_pieces(pieces: list[bytes], cuts: list[int]) -> None:
    """Wherever the client has padded and the network has cut."""
    wire = b"".join(b64encode(piece) for piece in pieces)
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    decoder = grpc_web.Base64Decoder()
    assert b"".join(decoder.feed(wire[a:b]) for a, b in pairwise(edges)) == b"".join(pieces)
    decoder.finish(EMPTY_HEADERS)


@pytest.mark.parametrize("wire", [b"****", b"a=bc", b"=abc", b"abc", b"ab==c"])
def test_what_is_not_base64_is_refused(wire: bytes) -> None:
    """Also a piece that is cut short."""

    def decode() -> None:
        decoder = grpc_web.Base64Decoder()
        decoder.feed(wire)
        decoder.finish(EMPTY_HEADERS)

    with pytest.raises(ValueError, match=r".+"):
        decode()


def test_the_frame_of_trailers() -> None:
    """A flag, a length, and lines in lower case."""
    frame = grpc_web.trailers_frame(Headers.of(("Grpc-Status", "0"), ("x", "y")))
    assert frame == b"\x80\x00\x00\x00\x16grpc-status: 0\r\nx: y\r\n"

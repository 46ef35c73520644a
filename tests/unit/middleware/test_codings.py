"""Which content coding a client gets, and that it can decode it."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.middleware._codings import CODERS, choose

OFFERED = ("br", "zstd", "gzip", "deflate")
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "gzip": lambda data: zlib.decompress(data, 31),
    "deflate": zlib.decompress,
}


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("deflate", "deflate"),
        ("x-gzip", "gzip"),
        ("GZIP;Q=1", "gzip"),
        ("br;q=0.1, gzip;q=0.9", "gzip"),
        ("br;q=0, *", "zstd"),
        ("br;q=0, *;q=0", None),
        ("*", "br"),
        ("*;q=0.5, gzip", "gzip"),
        ("identity", None),
        ("identity;q=0", None),
        ("gzip;q=0", None),
        ("gzip;q=0.000, br;q=0.001", "br"),
        ("gzip;q=2", None),
        ("gzip;q=x", None),
        ("gzip;q=nan", None),
        ("gzip;v=1", None),
        ("gzipped, sbr", None),
        (",,;,", None),
        ("", None),
    ],
)
def test_the_client_decides_and_we_where_it_does_not_mind(
    accepted: str, chosen: str | None
) -> None:
    """By weight (RFC 9110 §12.5.3), then by our order."""
    assert choose(accepted, OFFERED) == chosen


def test_only_what_is_offered_is_chosen() -> None:
    """The operator's list ends it."""
    assert choose("br, gzip", ("gzip",)) == "gzip"
    assert choose("br", ("gzip",)) is None
    assert choose("br", ()) is None


@given(st.text(max_size=100))
def test_any_text_is_survived(accepted: str) -> None:
    """A client may send what it likes."""
    assert choose(accepted, OFFERED) in (None, *OFFERED)


@given(pieces=st.lists(st.binary(max_size=2000), max_size=8), flushes=st.booleans())
@pytest.mark.parametrize("coding", CODERS)
def test_what_is_encoded_can_be_decoded(coding: str, pieces: list[bytes], *, flushes: bool) -> None:
    """However it came, and whether or not it was flushed in between."""
    coder = CODERS[coding]()
    wire = b""
    for piece in pieces:
        wire += coder.feed(piece)
        if flushes:
            wire += coder.flush()
    wire += coder.finish()
    assert DECODERS[coding](wire) == b"".join(pieces)


@pytest.mark.parametrize("coding", CODERS)
def test_what_was_flushed_can_be_read_at_once(coding: str) -> None:
    """An event reaches its reader while the next is not there yet."""
    coder = CODERS[coding]()
    decoder = {
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "deflate": lambda: zlib.decompressobj().decompress,
    }[coding]()
    for event in (b"data: one\n\n", b"data: two\n\n"):
        assert decoder(coder.feed(event) + coder.flush()) == event

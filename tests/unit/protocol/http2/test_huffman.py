"""The Huffman code: the RFC's, and nothing that only looks like it."""

from __future__ import annotations

import pytest
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.protocol.http2 import huffman


def _bits(text: str) -> bytes:
    return int(text, 2).to_bytes(len(text) // 8)


@pytest.mark.parametrize("symbol", range(256))
def test_every_symbol_has_the_code_of_the_appendix(symbol: int) -> None:
    """As the `hpack` library spells them out."""
    size = REQUEST_CODES_LENGTH[symbol]
    code = f"{REQUEST_CODES[symbol]:0{size}b}"
    padded = _bits(code.ljust((size + 7) // 8 * 8, "1"))
    assert huffman.encode(bytes((symbol,))) == padded
    assert huffman.decode(padded) == bytes((symbol,))


@given(st.binary(max_size=100))
def test_what_is_encoded_is_decoded(data: bytes) -> None:
    """Any bytes travel."""
    assert huffman.decode(huffman.encode(data)) == data


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (_bits("00011000"), "padding"),  # `a`, then zeros
        (_bits("0001111111111111"), "padding"),  # `a`, then more than seven bits
        (_bits("11111111"), "padding"),  # nothing but a whole byte of padding
        (b"\xff\xff\xff\xff", "the symbol that ends strings"),
        (b"\xff\xff\xff\xfc", "the symbol that ends strings"),
    ],
)
def test_what_no_encoder_writes_is_refused(wire: bytes, reason: str) -> None:
    """RFC 7541 §5.2: padding is short and made of ones, and EOS never stands in a string."""
    with pytest.raises(huffman.HuffmanError, match=reason):
        huffman.decode(wire)


@given(st.binary(max_size=12))
def test_any_bytes_are_decoded_or_refused(wire: bytes) -> None:
    """What is accepted is exactly what our encoder writes for it."""
    try:
        data = huffman.decode(wire)
    except huffman.HuffmanError:
        return
    assert huffman.encode(data) == wire

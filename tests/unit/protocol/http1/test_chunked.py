"""The chunked coding: any cuts, strict, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.protocol.http1.chunked import (
    MAX_OVERHEAD,
    MAX_SIZE_LINE,
    ChunkedDecoder,
    chunk,
    last_chunk,
)

from .wires import cut, every_cut, single_bytes

LIMIT = 100  # bytes of trailers
SUM = Headers.of(("X-Sum", "1"), ("Y", "2"))


def decode(pieces: list[bytes]) -> tuple[bytes, bytes, bytes]:
    """Feed all of it; returns body, trailers, and what follows."""
    decoder = ChunkedDecoder(LIMIT)
    body = b""
    rest = b""
    for piece in pieces:
        if decoder.is_done:
            rest += piece
        else:
            body += decoder.feed(piece)
            rest = decoder.rest
        assert len(decoder._buffer) <= max(MAX_SIZE_LINE + 1, LIMIT + 3)  # noqa: SLF001
    assert decoder.is_done
    return body, decoder.trailers.wire, rest


def fault(pieces: list[bytes]) -> str:
    """Feed all of it; returns the code of the fault, or "" for none."""
    decoder = ChunkedDecoder(LIMIT)
    try:
        for piece in pieces:
            decoder.feed(piece)
    except RemoteProtocolError as error:
        return error.code
    return "unfinished" if not decoder.is_done else ""


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.sampled_from([EMPTY_HEADERS, SUM]),
    st.binary(max_size=5),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_what_is_encoded_is_decoded(
    parts: list[bytes], trailers: Headers, rest: bytes, places: list[int]
) -> None:
    """In any cuts, with what follows left alone."""
    wire = b"".join(map(chunk, parts)) + last_chunk(trailers) + rest
    assert decode(cut(wire, places)) == (b"".join(parts), trailers.wire, rest)


def test_an_empty_chunk_is_none() -> None:
    """It would end the message."""
    assert chunk(b"") == b""


GOOD = {
    "extensions": b'5;a=b;c="d \\" \xff";e ; f = g\r\nhello\r\n0\r\n\r\n',
    "leading zeros": b"000005\r\nhello\r\n000\r\n\r\n",
    "both cases": b"0A\r\n0123456789\r\n0a\r\n0123456789\r\n0\r\n\r\n",
    "fifteen digits": b"000000000000001\r\n-\r\n0\r\n\r\n",
    "a last chunk with an extension": b"0;a\r\n\r\n",
    "CRLF in the data": b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
    "an extension of the greatest length": b"1;"
    + b"a" * (MAX_SIZE_LINE - 2)
    + b"\r\n-\r\n0\r\n\r\n",
    "trailers of the greatest size": b"0\r\nX: " + b"a" * (LIMIT - 3) + b"\r\n\r\n",
}
BAD = {
    "no digit": b"\r\n",
    "not hexadecimal": b"g\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "a plus": b"+5\r\nhello\r\n",
    "a minus": b"-5\r\nhello\r\n",
    "an underscore": b"1_0\r\n",
    "sixteen digits": b"0000000000000005\r\nhello\r\n",
    "a space before": b" 5\r\nhello\r\n",
    "a space behind": b"5 \r\nhello\r\n",
    "a bare LF": b"5\nhello\r\n",
    "a bare CR": b"5\rhello\r\n",
    "an extension without a name": b"5;\r\nhello\r\n",
    "an extension that is no token": b"5;@\r\nhello\r\n",
    "an extension without a value": b"5;a=\r\nhello\r\n",
    "an open quote": b'5;a="b\r\nhello\r\n',
    "a control byte in quotes": b'5;a="\x01"\r\nhello\r\n',
    "a line that is too long": b"5;" + b"a" * MAX_SIZE_LINE + b"\r\nhello\r\n",
    "a line without end": b"5;" + b"a" * (MAX_SIZE_LINE + 10),
    "data that goes on": b"5\r\nhello!\r\n",
    "data that ends in LF": b"5\r\nhello\n0\r\n\r\n",
    "data that ends in CR": b"5\r\nhello\r0\r\n\r\n",
    "extensions that outweigh the data": (b"1;" + b"a" * 2000 + b"\r\n-\r\n")
    * (MAX_OVERHEAD // 1900 + 1),
    "a trailer with a space before the colon": b"0\r\nX : y\r\n\r\n",
    "a trailer on a fold": b"0\r\nX: y\r\n z\r\n\r\n",
    "a trailer that ends in LF": b"0\r\nX: y\n\r\n\r\n",
    "a trailer that ends in CR": b"0\r\nX: y\r\r\n\r\n",
    "a trailer without a name": b"0\r\n: y\r\n\r\n",
    "a NUL in a trailer": b"0\r\nX: \x00\r\n\r\n",
}
LARGE = {
    "trailers": b"0\r\nX: " + b"a" * (LIMIT - 2) + b"\r\n\r\n",
    "trailers without end": b"0\r\nX: " + b"a" * (LIMIT + 10),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_grammar_allows(name: str) -> None:
    """It is understood, wherever it is cut."""
    wire = GOOD[name]
    whole = decode([wire])
    for pieces in (*every_cut(wire), single_bytes(wire)):
        assert decode(pieces) == whole


@pytest.mark.parametrize("name", [*BAD, *LARGE])
def test_what_it_does_not_allow(name: str) -> None:
    """It is refused in the same way, wherever it is cut."""
    wire = BAD.get(name) or LARGE[name]
    code = "BAD_REQUEST" if name in BAD else "HEADERS_TOO_LARGE"
    for pieces in ([wire], *every_cut(wire), single_bytes(wire)):
        assert fault(pieces) == code


def test_fields_that_may_not_come_late_are_left_out() -> None:
    """Nobody's framing, host or credentials change behind the body (RFC 9110 §6.5.1)."""
    wire = (
        b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: b\r\nAuthorization: x\r\nCookie: y\r\n"
        b"Trailer: z\r\nSet-Cookie: a\r\n\r\n"
    )
    decoder = ChunkedDecoder(1000)
    decoder.feed(wire)
    assert decoder.trailers.wire == b"X-Sum: 1\r\n"


def test_many_small_chunks_with_small_extensions_pass() -> None:
    """Overhead is weighed against the data as it comes."""
    wire = (b"3;a=b\r\nabc\r\n") * 20_000 + b"0\r\n\r\n"
    assert decode([wire])[0] == b"abc" * 20_000


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_any_bytes(wire: bytes, places: list[int]) -> None:
    """Only one kind of error comes of them, and the same in any cuts."""
    assert fault(cut(wire, places)) == fault([wire])

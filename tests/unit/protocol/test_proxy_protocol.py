"""Headers of the PROXY protocol are written as they are read, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.protocol.proxy_protocol import (
    MAX_V1,
    MAX_V2,
    Place,
    ProxyHeader,
    ProxyHeaderError,
    read_proxy_header,
    write_proxy_header,
)

PORTS = st.integers(0, 65535)
IPV4 = st.tuples(st.ip_addresses(v=4).map(str), PORTS)
IPV6 = st.tuples(st.ip_addresses(v=6).map(str), PORTS)
PAIRS = st.one_of(st.tuples(IPV4, IPV4), st.tuples(IPV6, IPV6))
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


@given(st.sampled_from((1, 2)), PAIRS, st.binary(max_size=20))
def test_what_is_written_is_read(version: int, pair: tuple[Place, Place], rest: bytes) -> None:
    """And not a byte of what follows belongs to it."""
    wire = write_proxy_header(version, *pair)
    assert read_proxy_header(wire + rest) == ProxyHeader(len(wire), *pair)


@given(st.sampled_from((1, 2)), PAIRS, st.data())
def test_a_beginning_asks_for_more_but_never_for_what_does_not_come(
    version: int, pair: tuple[Place, Place], data: st.DataObject
) -> None:
    """Wherever the network cuts it."""
    wire = write_proxy_header(version, *pair)
    size = data.draw(st.integers(0, len(wire) - 1))
    wanted = read_proxy_header(wire[:size])
    assert isinstance(wanted, int)
    assert size < wanted <= len(wire)


@pytest.mark.parametrize("version", [1, 2])
def test_a_client_without_an_address_is_said_to_be_unknown(version: int) -> None:
    """One on a Unix socket, or of another family than the place it came to."""
    for pair in ((None, None), (("::1", 1), ("10.0.0.1", 2))):
        wire = write_proxy_header(version, *pair)
        assert read_proxy_header(wire) == ProxyHeader(len(wire))


def test_the_examples_of_the_specification() -> None:
    """Byte by byte."""
    line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    assert write_proxy_header(1, ("192.168.0.1", 56324), ("192.168.0.11", 443)) == line
    binary = SIGNATURE + b"\x21\x11\0\x0c" + b"\xc0\xa8\0\1\xc0\xa8\0\x0b\xdc\x04\x01\xbb"
    assert write_proxy_header(2, ("192.168.0.1", 56324), ("192.168.0.11", 443)) == binary


def test_extensions_are_passed_over() -> None:
    """They follow the addresses of version 2."""
    wire = SIGNATURE + b"\x21\x11\0\x10" + b"\x7f\0\0\1\x7f\0\0\2\0\1\0\2" + b"\4\0\1x"
    assert read_proxy_header(wire) == ProxyHeader(32, ("127.0.0.1", 1), ("127.0.0.2", 2))


def test_a_proxy_may_speak_for_itself_or_of_what_we_do_not_know() -> None:
    """A health check, a Unix socket."""
    for head in (b"\x20\x11\0\x0c" + bytes(12), b"\x21\x31\0\0", b"\x20\0\0\0"):
        assert read_proxy_header(SIGNATURE + head) == ProxyHeader(12 + len(head))
    line = b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"
    assert read_proxy_header(line) == ProxyHeader(len(line))


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1 70000\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n",
        b"PROXY TCP4  1.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.5 1 2\r\n",
        b"PROXY UNKNOWN" + b"x" * (MAX_V1 - 13),
        SIGNATURE + b"\x11\x11\0\x0c",
        SIGNATURE + b"\x22\x11\0\x0c",
        SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
        SIGNATURE + b"\x21\x11" + MAX_V2.to_bytes(2, "big"),
        b"\r\n\r\r",
    ],
)
def test_what_is_no_header_is_refused(wire: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(ProxyHeaderError):
        read_proxy_header(wire)


@given(st.binary(max_size=120))
def test_whatever_comes_it_is_read_or_refused(noise: bytes) -> None:
    """No other exception, and no endless reading."""
    for wire in (noise, b"PROXY " + noise, SIGNATURE + noise):
        try:
            found = read_proxy_header(wire)
        except ProxyHeaderError:
            continue
        assert isinstance(found, ProxyHeader) or len(wire) < found <= MAX_V2

"""A ClientHello is read as it comes, however it comes, and never believed."""

from __future__ import annotations

import ssl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.protocol.tls import (
    MAX_HELLO,
    ClientHello,
    HelloError,
    NotTlsError,
    read_client_hello,
)


def hello(name: str | None, *alpn: str, least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> bytes:
    """Have OpenSSL begin a handshake."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = least
    if alpn:
        context.set_alpn_protocols(list(alpn))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


WIRE = hello("db.Example.com", "h2", "http/1.1")
FOUND = ClientHello("db.example.com", ("h2", "http/1.1"))


def message(wire: bytes) -> bytes:
    return wire[5:]


def records(payload: bytes, cuts: list[int]) -> bytes:
    edges = sorted({0, *cuts, len(payload)})
    return b"".join(
        b"\x16\x03\x01" + (b - a).to_bytes(2, "big") + payload[a:b] for a, b in pairwise(edges)
    )


BEFORE_EXTENSIONS = b"\x03\x03" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"


def body(extensions: bytes) -> bytes:
    return BEFORE_EXTENSIONS + len(extensions).to_bytes(2, "big") + extensions


def in_record(client_hello: bytes) -> bytes:
    payload = b"\1" + len(client_hello).to_bytes(3, "big") + client_hello
    return records(payload, [])


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def name_extension(name: bytes) -> bytes:
    entry = b"\0" + len(name).to_bytes(2, "big") + name
    return extension(0, len(entry).to_bytes(2, "big") + entry)


def test_reads_the_name_and_the_protocols_that_openssl_sends() -> None:
    """The name in lower case: names of hosts have no case."""
    assert read_client_hello(WIRE) == FOUND


def test_a_client_that_names_nobody_has_no_name() -> None:
    """Nor protocols that it does not offer."""
    assert read_client_hello(hello(None)) == ClientHello()


def test_a_hello_of_tls_1_2_may_have_no_extensions() -> None:
    """As the oldest clients send it."""
    assert read_client_hello(in_record(body(b"")[:-2])) == ClientHello()


@given(st.lists(st.integers(1, len(WIRE) - 6)))
def test_any_fragmentation_over_records_gives_the_same(cuts: list[int]) -> None:
    """Records are no boundaries of messages."""
    assert read_client_hello(records(message(WIRE), cuts)) == FOUND


@given(st.lists(st.integers(1, len(WIRE) - 6)), st.data())
def test_any_beginning_asks_for_more_and_never_for_too_much(
    cuts: list[int], data: st.DataObject
) -> None:
    """What is asked for exists, so that nobody waits for bytes that do not come."""
    wire = records(message(WIRE), cuts)
    size = data.draw(st.integers(0, len(wire) - 1))
    wanted = read_client_hello(wire[:size])
    assert isinstance(wanted, int)
    assert size < wanted <= len(wire)


@given(st.binary(max_size=400))
def test_whatever_comes_it_is_read_or_refused(noise: bytes) -> None:
    """No other exception, and no endless reading."""
    for wire in (noise, WIRE[:60] + noise, in_record(body(noise))):
        try:
            found = read_client_hello(wire)
        except (NotTlsError, HelloError):
            continue
        assert isinstance(found, ClientHello) or len(wire) < found <= MAX_HELLO


@pytest.mark.parametrize("wire", [b"GET / HTTP/1.1\r\n", b"\x80\x2e\x01\x03\x01", b"\x16\x02"])
def test_what_is_not_tls_is_told_apart_at_its_first_bytes(wire: bytes) -> None:
    """So that nobody waits for the rest."""
    with pytest.raises(NotTlsError):
        read_client_hello(wire)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x16\x03\x01\x00\x00",  # an empty record
        b"\x16\x03\x01\x40\x01",  # one that is too long
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a ServerHello
        b"\x16\x03\x01\x00\x04\x01\x01\x00\x00",  # 64 KiB
        b"\x16\x03\x01\x00\x02\x01\x00\x17\x03\x01\x00\x01",  # data in between
        in_record(body(name_extension(b"a.example") * 2)),
        in_record(body(name_extension(b"a\0b"))),
        in_record(body(name_extension(b".a"))),
        in_record(body(name_extension(b""))),
        in_record(body(extension(0, b"\0\4\1\0\1a"))),
        in_record(body(extension(16, b"\0\3\2h2x"))),
        in_record(body(extension(16, b"\0\0"))),
        in_record(body(extension(16, b"\0\1\0"))),
        in_record(body(b"\0\0\0\xff")),
        in_record(body(b"") + b"x"),
        in_record(b"\x03\x03"),
        in_record(b"\x03\x03" + bytes(32) + b"\0" + b"\0\3\x13\1\0" + b"\1\0"),
    ],
)
def test_what_is_malformed_is_refused(wire: bytes) -> None:
    """By us, before a backend has to."""
    with pytest.raises(HelloError):
        read_client_hello(wire)


def test_a_hello_has_a_limit() -> None:
    """In however many records it comes."""
    payload = b"\1" + (MAX_HELLO - 100).to_bytes(3, "big") + bytes(MAX_HELLO - 100)
    with pytest.raises(HelloError, match="longer than"):
        read_client_hello(records(payload, list(range(0, len(payload), 7)))[:MAX_HELLO])


def test_a_trailing_dot_is_no_part_of_the_name() -> None:
    """Although RFC 6066 does not allow it, some send it."""
    found = read_client_hello(in_record(body(name_extension(b"A.Example."))))
    assert found == ClientHello("a.example")


def test_what_follows_is_not_looked_at() -> None:
    """Early data may come along."""
    assert read_client_hello(WIRE + b"\x17\x03\x03\0\1x") == FOUND

"""Field lines: strict, remembered, and secrets not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.protocol.http1 import fields


@given(st.binary(max_size=12))
def test_any_line_is_what_the_grammar_says(line: bytes) -> None:
    """RFC 9110 §5.1 and §5.5, with no leniency (RFC 9112 §5.1)."""
    is_valid = re.fullmatch(
        rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t ]*([\x21-\x7e\x80-\xff]([\t \x21-\x7e\x80-\xff]*"
        rb"[\x21-\x7e\x80-\xff])?)?[\t ]*",
        line,
    )
    try:
        header = fields.header(line)
    except RemoteProtocolError:
        assert not is_valid
    else:
        assert is_valid
        name, _, value = line.partition(b":")
        assert (header.name.encode(), header.value.encode("latin-1"), header.wire) == (
            name.lower(), value.strip(b" \t"), line + b"\r\n",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b" X: y", "starts with a blank"),
        (b"X", "no colon"),
        (b"X : y", "blank stands before the colon"),
        (b": y", "not a token"),
        (b"X: \x00", "control character"),
    ],
)
def test_the_refusal_says_what_is_wrong(line: bytes, reason: str) -> None:
    """So that who sent it can mend it."""
    with pytest.raises(RemoteProtocolError, match=reason):
        fields.header(line)


@pytest.mark.parametrize(
    "line",
    [
        b"Authorization: Basic x", b"Cookie: a=b", b"Set-Cookie: a=b", b"X-API-Key: x",
        b"Proxy-Authorization: x", b"X-Request-Id: x", b"X: " + b"a" * 300,
    ],
)  # fmt: skip
def test_secrets_and_long_lines_are_not_remembered(line: bytes) -> None:
    """Connections share what is remembered."""
    fields.header(line)
    assert fields.header(line) is not fields.header(line)


def test_other_lines_are() -> None:
    """They repeat, and parsing them costs."""
    assert fields.header(b"Accept: x") is fields.header(b"Accept: x")


@given(st.text(st.sampled_from("a\r\n"), max_size=12).map(str.encode))
def test_bare_line_ends(data: bytes) -> None:
    """A CR at the very end may still get its LF; every other one and every LF need their other."""
    expected = re.search(rb"(?<!\r)\n|\r(?!\n|\Z)", data) is not None
    assert fields.has_bare_line_end(data) is expected


def test_options_of_a_connection() -> None:
    """Lists in any number of fields; empty elements are none."""
    assert fields.connection_options(["Close, ,X-Hop", "TE"]) == ["close", "x-hop", "te"]
    for option in ("Host", "close, Content-Length", "transfer-encoding ", "Cookie"):
        with pytest.raises(RemoteProtocolError, match="nominates"):
            fields.connection_options(["keep-alive", option])


@pytest.mark.parametrize(
    "name",
    ["Authorization", "Cookie", "Set-Cookie", "X-API-Key", "X-Auth-Token", "X-Client-Secret"],
)
def test_credentials_are_not_kept_between_connections(name: str) -> None:
    """The cache of known lines is shared by all clients; a secret in it would outlive its own."""
    line = f"{name}: b7c1-unlikely".encode()
    fields.header(line)
    assert line not in fields.known_lines()


def test_ordinary_lines_are_known_the_second_time() -> None:
    """Otherwise there would be no use in a cache."""
    line = b"X-Ordinary: b7c1-unlikely"
    assert fields.known_lines().get(line) is None
    assert fields.header(line) is fields.header(line)

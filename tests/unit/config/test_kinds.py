from __future__ import annotations

import math
from contextlib import suppress
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.config.kinds import (
    COOKIE_NAME,
    FLAG,
    HEADER_NAME,
    HEADER_VALUE,
    METHOD,
    NETWORK,
    ORIGIN,
    PATH_PREFIX,
    REDIS_URL,
    STATUSES,
    TEXT,
    WORD,
    choice,
    duration,
    integer,
    number,
    size,
)
from a3s_gateway.config.schema import RejectedError, ScalarKind
from a3s_gateway.hcl.nodes import Plain

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ALL_KINDS = [
    COOKIE_NAME,
    FLAG,
    HEADER_NAME,
    HEADER_VALUE,
    METHOD,
    NETWORK,
    ORIGIN,
    PATH_PREFIX,
    REDIS_URL,
    STATUSES,
    TEXT,
    WORD,
    choice("a", "b"),
    duration(),
    duration(1, unit="ms"),
    integer(),
    number(),
    size(),
]


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.title)
@given(value=PLAIN)
def test_a_value_is_accepted_or_rejected(kind: ScalarKind[object], value: Plain) -> None:
    """Nothing that a file can hold crashes the reader."""
    with suppress(RejectedError):
        assert kind.parse(value) is not None


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("250ms", 0.25),
        ("10s", 10.0),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1.5s", 1.5),
        (" 5s ", 5.0),
        (10, 10.0),
        (2.5, 2.5),
        (0, 0.0),
    ],
)
def test_durations(written: Plain, seconds: float) -> None:
    """Text with units, in any combination, or a number of seconds."""
    assert duration().parse(written) == seconds


@pytest.mark.parametrize("written", ["", "s", "10", "1h30", "-1s", "1 s", "1e3s", True, -1, None])
def test_what_is_no_duration(written: Plain) -> None:
    """A typing error never becomes some duration."""
    with pytest.raises(RejectedError):
        duration().parse(written)


@pytest.mark.parametrize("written", [math.inf, math.nan])
def test_no_wait_is_endless_by_accident(written: float) -> None:
    """A number too large for the language is no limit at all."""
    with pytest.raises(RejectedError):
        duration().parse(written)


def test_a_key_in_milliseconds_counts_them() -> None:
    """A bare number in a key that ends in `_ms` is one of milliseconds, and so is the value."""
    kind = duration(0.001, unit="ms")
    assert [kind.parse(each) for each in (250, "2s", "250ms")] == [250.0, 2000.0, 250.0]
    with pytest.raises(RejectedError, match="at least"):
        kind.parse(0.5)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        (0, 0),
        (10.0, 10),
        ("10B", 10),
        ("10", 10),
        ("10MB", 10000000),
        ("1MiB", 1048576),
        ("1k", 1000),
        ("1.5KiB", 1536),
        ("2 GB", 2000000000),
        ("1Ki", 1024),
    ],
)
def test_sizes(written: Plain, count: int) -> None:
    """Powers of 1000 with a bare letter, of 1024 with an i."""
    assert size().parse(written) == count


@pytest.mark.parametrize("written", ["", "MB", "10 apples", "-1", -1, 1.5, True, None])
def test_what_is_no_size(written: Plain) -> None:
    """A typing error never becomes some size."""
    with pytest.raises(RejectedError):
        size().parse(written)


@given(st.integers(-20, 20))
def test_whole_numbers_keep_their_range(value: int) -> None:
    """The limits themselves are allowed."""
    kind = integer(-3, 7)
    if -3 <= value <= 7:
        assert kind.parse(value) == value
        return
    with pytest.raises(RejectedError, match="from -3 to 7"):
        kind.parse(value)


@pytest.mark.parametrize("written", [1.5, "1", True, None, math.inf, math.nan])
def test_what_is_no_whole_number(written: Plain) -> None:
    """Neither a part of one, nor a text, nor a truth value."""
    with pytest.raises(RejectedError):
        integer().parse(written)


def test_numbers_may_exclude_their_lower_limit() -> None:
    """A share above zero is more than zero."""
    kind = number(0, 1, above=True)
    assert kind.parse(1) == 1.0
    with pytest.raises(RejectedError, match="above 0 and up to 1"):
        kind.parse(0)


def test_networks_tolerate_host_bits_and_single_addresses() -> None:
    """`10.1.2.3/8` is what people write; a single address is a network of one."""
    assert NETWORK.parse("10.1.2.3/8") == ip_network("10.0.0.0/8")
    assert NETWORK.show(NETWORK.parse("2001:db8::1")) == "2001:db8::1"
    assert NETWORK.show(NETWORK.parse("10.0.0.0/8")) == "10.0.0.0/8"


@pytest.mark.parametrize("written", ["", "10.0.0", "10.0.0.0/33", "example.com", "::/129", 10])
def test_what_is_no_network(written: Plain) -> None:
    """Names are not looked up: they would mean something else tomorrow."""
    with pytest.raises(RejectedError):
        NETWORK.parse(written)


@pytest.mark.parametrize(
    ("written", "ranges"),
    [(200, ((200, 200),)), ("200-399", ((200, 399),)), ("200, 204", ((200, 200), (204, 204)))],
)
def test_status_codes(written: Plain, ranges: tuple[tuple[int, int], ...]) -> None:
    """One, a range, or several of both; shown as they were written."""
    assert STATUSES.parse(written) == ranges
    assert STATUSES.parse(STATUSES.show(ranges)) == ranges


@pytest.mark.parametrize("written", ["", "2xx", "99", "600", "399-200", "200-", True])
def test_what_is_no_status_code(written: Plain) -> None:
    """Three digits from 100 to 599, the smaller one first."""
    with pytest.raises(RejectedError):
        STATUSES.parse(written)


@pytest.mark.parametrize("name", ["X Bad", "", "a:b", "é", "a\r\nb", 'a"b'])
def test_what_could_break_a_header_line_is_no_name(name: str) -> None:
    """No name from a configuration can smuggle in a second line."""
    for kind in (HEADER_NAME, METHOD, COOKIE_NAME):
        with pytest.raises(RejectedError):
            kind.parse(name)


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "\x00", " a", "a "])
def test_what_could_break_a_header_line_is_no_value(text: str) -> None:
    """Nor can a value; blanks around it would not arrive."""
    with pytest.raises(RejectedError):
        HEADER_VALUE.parse(text)


def test_an_empty_header_value_is_one() -> None:
    """HTTP has them."""
    assert HEADER_VALUE.parse("") == ""


@pytest.mark.parametrize("origin", ["*", "null", "https://a.example", "http://localhost:3000"])
def test_origins(origin: str) -> None:
    """As browsers send them: scheme, host, and port if it is not the default."""
    assert ORIGIN.parse(origin) == origin


@pytest.mark.parametrize("origin", ["", "a.example", "https://a.example/", "https://", "//a"])
def test_what_no_browser_sends_is_no_origin(origin: str) -> None:
    """It could never match, so it is refused."""
    with pytest.raises(RejectedError):
        ORIGIN.parse(origin)


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1", "redis://:pw@host:6379/0", "rediss://u:p@h/1", "unix:///run/redis.sock"],
)
def test_redis_urls(url: str) -> None:
    """With and without user, port and database."""
    assert REDIS_URL.parse(url) == url


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "http://h", "redis://", "redis://h:x", 1])
def test_what_is_no_redis_url(url: Plain) -> None:
    """The message does not repeat it: it may hold a password."""
    with pytest.raises(RejectedError) as caught:
        REDIS_URL.parse(url)
    assert caught.value.hint == "" or "quotes" in caught.value.hint


def test_a_choice_suggests_what_was_meant() -> None:
    """A slip in a word leads to it; a number does not lead to another number."""
    with pytest.raises(RejectedError) as caught:
        choice("round-robin", "random").parse("round_robin")
    assert caught.value.hint == 'did you mean "round-robin"?'
    with pytest.raises(RejectedError) as caught:
        choice("1.2", "1.3").parse("1.1")
    assert caught.value.hint == ""

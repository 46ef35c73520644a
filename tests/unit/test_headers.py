"""Header lines and the lists of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.headers import EMPTY_HEADERS, FIELD_LINE, FORWARDED, PLAIN, Header, Headers

NAMES = st.from_regex(r"\A[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,20}\Z")
# RFC 9110 §5.5, written as it says it: no control character, no blank at an end.
VALUES = st.text(
    st.characters(max_codepoint=255, exclude_characters=[*map(chr, range(32)), "\x7f"])
    | st.just("\t")
).map(lambda text: text.strip(" \t"))
A, B = Header.of("A", "1"), Header.of("b", "2")


@given(NAMES, VALUES)
def test_what_may_stand_in_a_header_can_be_built(name: str, value: str) -> None:
    """The line is what was given, the name is found in lower case."""
    header = Header.of(name, value)
    assert header.wire == f"{name}: {value}\r\n".encode("latin-1")
    assert (header.name, header.value) == (name.lower(), value)


@given(st.text(max_size=4), st.text(max_size=8))
def test_nothing_else_can(name: str, value: str) -> None:
    """No header that we build can become two lines, or another message."""
    is_valid = bool(
        re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name)
        and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
        and all(ord(c) < 256 for c in value)
    )
    try:
        Header.of(name, value)
    except ValueError:
        assert not is_valid
    else:
        assert is_valid


@pytest.mark.parametrize(
    "blanks", ["a" + " " * 60_000 + "\x00", " " * 60_000 + "\x00", "a " * 30_000 + "\x00"]
)
def test_a_line_is_judged_in_linear_time(blanks: str) -> None:
    """Blanks without end are no way to keep us busy."""
    assert FIELD_LINE.fullmatch(b"X: " + blanks.encode()) is None


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded", "X-Forwarded-For", "X_Forwarded_For", "X-Forwarded_For", "x_forwarded-for",
        "X_Real_IP", "X-Real_IP", "X_Forwarded-Proto", "x-forwarded_host", "X_FORWARDED_PORT",
    ],
)  # fmt: skip
def test_claims_of_who_came_before_are_known_in_any_spelling(name: str) -> None:
    """A backend that folds `_` into `-` reads them all as ours."""
    assert Header.of(name, "x").kind == FORWARDED


def test_most_fields_just_travel() -> None:
    """They mean nothing to a hop."""
    assert {Header.of(name, "x").kind for name in ("Accept", "Cookie", "X-Foo_Bar")} == {PLAIN}


def test_values_are_not_shown() -> None:
    """They may be secrets, and logs are read by many."""
    header = Header.of("Authorization", "secret")
    assert "secret" not in repr(header) + repr(Headers([header]))


def test_a_list_is_looked_up_in_order() -> None:
    """Repeats are kept; names are asked for in lower case."""
    headers = Headers.of(("A", "1"), ("B", "2"), ("a", "3"))
    assert (headers.find("a"), headers.all("a"), headers.find("c")) == ("1", ["1", "3"], None)
    assert ("b" in headers, "c" in headers, len(headers)) == (True, False, 3)
    assert [header.value for header in headers] == ["1", "2", "3"]


def test_a_list_is_changed_by_building_another() -> None:
    """The first one is what it was: others hold it."""
    headers = Headers([A, B])
    changed = headers.without("a").plus(A).replaced("B", "3").joined(Headers([B]))
    assert changed.wire == b"A: 1\r\nB: 3\r\nb: 2\r\n"
    assert headers.wire == b"A: 1\r\nb: 2\r\n"


@given(st.lists(st.sampled_from([A, B]), max_size=4), st.lists(st.sampled_from([A, B]), max_size=4))
def test_joined_lists_have_joined_bytes(left: list[Header], right: list[Header]) -> None:
    """However a list came about, its bytes are those of its lines."""
    joined = Headers(left).joined(Headers(right))
    assert joined.wire == b"".join(header.wire for header in [*left, *right])
    assert joined == Headers([*left, *right])
    assert hash(joined) == hash(Headers([*left, *right]))


def test_no_headers() -> None:
    """An empty list has no bytes."""
    assert (EMPTY_HEADERS.wire, len(EMPTY_HEADERS)) == (b"", 0)

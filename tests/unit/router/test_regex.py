"""Go's regular expressions on Python's engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.router.regex import POSIX, RegexError, compile_regex


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", "b"),
        ("^b", "abc", None),
        ("c$", "abc", "c"),
        ("c$", "abc\n", None),
        ("(?m)b$", "ab\nc", "b"),
        ("(?m)a(?i)B$", "ab\nc", "ab"),
        ("(?m)(b$)", "ab\nc", "b"),
        ("(?m)a(?-m)b$", "ab\n", None),
        ("(?m:b$)|c$", "ab\nc\n", "b"),
        ("(?m:x)c$", "xc\n", None),
        (r"c\z", "abc\n", None),
        (r"\Aa", "abc", "a"),
        ("a(?i)b", "aB", "aB"),
        ("a(?i)b", "AB", None),
        ("a(?i)b|c", "C", "C"),
        ("(a(?i)b|c)d", "CD", None),
        ("(a(?i)b|c)d", "Cd", "Cd"),
        ("(?i)a(?-i)b", "Ab", "Ab"),
        ("(?i)a(?-i)b", "AB", None),
        ("(?i:a)b", "Ab", "Ab"),
        ("a(?)b", "ab", "ab"),
        (r"(?<year>\d+)-(?P<month>\d+)", "2024-05", "2024-05"),
        ("(?<!a)b", "ab", None),
        (r"\Qa.b*\E+", "a.b**", "a.b**"),
        (r"\Qa.b", "a.b", "a.b"),
        (r"\Qa.b", "axb", None),
        (r"\x{1F600}", "😀", "😀"),
        (r"[\x{41}-\x{43}]+", "xABCx", "ABC"),
        (r"\x41", "A", "A"),
        ("[[:alpha:]_]+", "1ab_2", "ab_"),
        ("[^[:digit:]]+", "1ab2", "ab"),
        ("[[:word:][:punct:]]+", " a_]!", "a_]!"),
        ("[]a]+", "]a", "]a"),
        ("[^]a]+", "]ab", "b"),
        ("[[a]+", "[a", "[a"),
        ("[a&&b||c~~d]+", "a&b|c~d", "a&b|c~d"),
        ("[+--]+", "+,-.", "+,-"),
        ("[.$|(]+", "$.|(", "$.|("),
        (r"[\]]", "]", "]"),
        ("a{2,3}", "aaaa", "aaa"),
        ("a{,2}", "a{,2}", "a{,2}"),
        ("a{,2}", "aa", None),
        ("a{x}", "a{x}", "a{x}"),
        (r"\d", "٣", None),
        (r"\w", "é", None),
        (".", "\n", None),
        ("(?s).", "\n", "\n"),
        ("a|b|", "", ""),
    ],
)
def test_an_expression_means_what_it_means_in_go(
    pattern: str, text: str, found: str | None
) -> None:
    """A rule from a Traefik configuration matches the same requests here."""
    match = compile_regex(pattern).search(text)
    assert (match[0] if match else None) == found


def test_groups_are_found_by_their_names() -> None:
    """Both of Go's spellings of a named group work."""
    match = compile_regex("(?<a>x)(?P<b>y)").search("xy")
    assert match is not None
    assert match.groupdict() == {"a": "x", "b": "y"}


def test_case_is_ignored_on_request() -> None:
    """Hosts have no case."""
    assert compile_regex("^A", ignore_case=True).search("ab")


@pytest.mark.parametrize(
    ("pattern", "position", "message"),
    [
        ("a(b", 1, "missing )"),
        ("a)b", 1, "never opened"),
        ("(?i)a)b", 5, "never opened"),
        ("a**", 2, "multiple repeat"),
        ("[[:alpha:]]+[[:word:]]**", 23, "multiple repeat"),
        (r"\Q..\E\Q..\E**", 13, "multiple repeat"),
        ("(?i)ab|(?i)[x", 11, "never closed"),
        ("[[:alpha:]", 0, "never closed"),
        ("[[:alfa:]]", 1, "unknown character class"),
        ("[[:^alpha:]]", 1, "unknown character class"),
        (r"x\pL", 1, "Unicode classes"),
        (r"x\p{Greek}", 1, "Unicode classes"),
        ("(?U)a*", 0, "flag U"),
        (r"[[:space:]]+\Q..\E+(?i)\y", 23, "bad escape"),
        (r"\x{110000}", 0, "no such character"),
        ("\\", 0, "bad escape"),
        ("a{3,2}", 2, "min repeat greater than max"),
        ("a{99999999999}", 0, "repeat count"),
        ("a{" + "9" * 5000 + "}", 0, "repeat count"),
        ("(" * 3000 + ")" * 3000, 0, "nest too deeply"),
    ],
)
def test_a_fault_has_its_place_in_what_was_written(
    pattern: str, position: int, message: str
) -> None:
    """The mark stands under the culprit, wherever the translation has moved it."""
    with pytest.raises(RegexError) as caught:
        compile_regex(pattern)
    assert message in caught.value.message
    assert caught.value.position == position


PIECES = st.sampled_from(
    [
        *("(", ")", "(?i)", "(?-i)", "(?m:", "(?:", "(?<a>", "(?P<b>", "(?=", "(?U)", "(?#"),
        *("[", "]", "[^", "-", "[[:alpha:]]", "[:word:]", "\\", r"\Q", r"\E", r"\x{41}", r"\z"),
        *("a", "b", "|", "*", "+", "?", "{2}", "{,2}", "{", "}", "$", "^", ".", "&&", "--", ","),
        *(r"\p", r"\d", r"\1", "(?P=b)", "(?(1)a|b)", ":", "9"),
    ]
)


@given(st.text() | st.lists(PIECES).map("".join))
def test_garbage_compiles_or_is_refused_with_a_place(pattern: str) -> None:
    """No pattern brings the loading of a configuration down."""
    try:
        compile_regex(pattern)
    except RegexError as fault:
        error = fault
    else:
        return
    assert 0 <= error.position <= len(pattern)


@pytest.mark.parametrize("name", POSIX)
def test_the_classes_of_posix_hold_what_they_should(name: str) -> None:
    """The names mean ASCII, as in Go."""
    tests = {
        "alnum": str.isalnum,
        "alpha": str.isalpha,
        "ascii": str.isascii,
        "blank": " \t".__contains__,
        "cntrl": lambda c: c < " " or c == "\x7f",
        "digit": str.isdigit,
        "graph": lambda c: " " < c < "\x7f",
        "lower": str.islower,
        "print": lambda c: " " <= c < "\x7f",
        "punct": lambda c: " " < c < "\x7f" and not c.isalnum(),
        "space": "\t\n\v\f\r ".__contains__,
        "upper": str.isupper,
        "word": lambda c: c.isalnum() or c == "_",
        "xdigit": "0123456789abcdefABCDEF".__contains__,
    }
    search = compile_regex(f"[[:{name}:]]").search
    ascii_chars = list(map(chr, range(128)))
    assert [c for c in ascii_chars if search(c)] == [c for c in ascii_chars if tests[name](c)]
    assert not search("é")

"""W3C Trace Context, level 1: the cases of its own test suite, and properties."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.observability.span_context import SpanContext
from a3s_gateway.observability.w3c import combine_tracestate, parse_traceparent, traceparent

TRACE, SPAN = "12345678901234567890123456789012", "1234567890123456"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("value", "is_sampled"),
    [
        (VALID, True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-fe", False),  # only the last bit means something
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
        (f"01-{TRACE}-{SPAN}-02-", False),
    ],
)
def test_a_valid_traceparent_is_gone_on_with(value: str, is_sampled: bool) -> None:  # noqa: FBT001
    """Its trace, its span and the one flag of level 1 are read, also from versions to come."""
    assert parse_traceparent(value) == SpanContext(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"{VALID}.",
        f"{VALID}-what-the-future-will-be-like",
        f"{VALID}-",
        f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
        f"cc-{TRACE}-{SPAN}-010",
        f"ff-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01-more",
        f".0-{TRACE}-{SPAN}-01",
        f"0.-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"0000-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"CC-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"cc-{'0' * 32}-{SPAN}-01",
        f"00-.{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE[:-1]}.-{SPAN}-01",
        f"00-{TRACE[:-1]}A-{SPAN}-01",
        f"00-{TRACE}3-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-.{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN[:-1]}.-01",
        f"00-{TRACE}-{SPAN[:-1]}B-01",
        f"00-{TRACE}-{SPAN}7-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{TRACE}-{SPAN}-.0",
        f"00-{TRACE}-{SPAN}-0.",
        f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-0A",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",  # a digit, but not one of ASCII's
        f"{VALID}\n",
    ],
)
def test_an_invalid_traceparent_is_none_at_all(value: str) -> None:
    """A new trace begins in its place."""
    assert parse_traceparent(value) is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_can_be_read(trace: int, span: int, is_sampled: bool) -> None:  # noqa: FBT001
    """Every context survives the wire."""
    context = SpanContext(f"{trace:032x}", f"{span:016x}", is_sampled)
    assert parse_traceparent(traceparent(context)) == context


@given(st.text() | st.text("0123456789abcdef-", min_size=50, max_size=60))
def test_whatever_comes_is_judged_and_never_raises(value: str) -> None:
    """What is accepted can be passed on as the version that this gateway speaks."""
    context = parse_traceparent(value)
    assert context is None or parse_traceparent(traceparent(context)) == context


KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
VALUE = "".join(map(chr, (*range(0x20, 0x2C), *range(0x2D, 0x3D), *range(0x3E, 0x7F))))
MEMBERS = [f"bar{number:02d}={number:02d}" for number in range(1, 34)]


@pytest.mark.parametrize(
    ("lines", "combined"),
    [
        ([], ""),
        ([""], ""),
        ([" , ,"], ""),
        (["foo=1"], "foo=1"),
        (["foo=1", ""], "foo=1"),
        (["", "foo=1"], "foo=1"),
        (["foo=1,,bar=2"], "foo=1,bar=2"),
        (["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3"),
        (["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
        (["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], "foo=1,bar=2,baz=3"),
        (["\t foo=1 \t"], "foo=1"),
        (["foo= 1"], "foo= 1"),  # blanks before a value are its own
        ([f"{KEY}={VALUE}"], f"{KEY}={VALUE}"),
        ([f"{KEY}@a-z0-9_-*/={VALUE}"], f"{KEY}@a-z0-9_-*/={VALUE}"),
        (["0tenant@vendor=1"], "0tenant@vendor=1"),
        (["foo=1", f"{'z' * 256}=1"], f"foo=1,{'z' * 256}=1"),
        (["foo=1", f"{'t' * 241}@{'v' * 14}=1"], f"foo=1,{'t' * 241}@{'v' * 14}=1"),
        (["foo=" + "v" * 256], "foo=" + "v" * 256),
        ([",".join(MEMBERS[:10]), ",".join(MEMBERS[10:32])], ",".join(MEMBERS[:32])),
    ],
)
def test_a_valid_tracestate_is_passed_on_in_its_order(lines: list[str], combined: str) -> None:
    """Several lines become one; empty members and blanks around members go."""
    assert combine_tracestate(lines) == combined


@pytest.mark.parametrize(
    "lines",
    [
        ["foo=1,foo=1"],
        ["foo=1,foo=2"],
        ["foo=1", "foo=1"],
        ["foo=1", "foo=2"],
        ["foo =1"],
        ["FOO=1"],
        ["foo.bar=1"],
        ["0foo=1"],
        ["foo@=1,bar=2"],
        ["@foo=1,bar=2"],
        ["foo@@bar=1,bar=2"],
        ["foo@bar@baz=1,bar=2"],
        ["foo@0bar=1"],
        ["foo=1", f"{'z' * 257}=1"],
        ["foo=1", f"{'t' * 242}@{'v' * 14}=1"],
        ["foo=1", f"{'t' * 241}@{'v' * 15}=1"],
        ["foo=bar=baz"],
        ["foo=,bar=3"],
        ["foo,bar=3"],
        ["foo=" + "v" * 257],
        ["foo=b\tar"],
        ["foo=bär"],
        [",".join(MEMBERS)],
        [",".join(MEMBERS[:20]), ",".join(MEMBERS[20:])],
    ],
)
def test_an_invalid_tracestate_is_dropped_whole(lines: list[str]) -> None:
    """Too many members, twice the same, or characters that are not allowed."""
    assert combine_tracestate(lines) == ""


def test_too_long_a_tracestate_loses_its_large_members_first() -> None:
    """512 characters go on, in whole members; the last of the large ones goes first."""
    large, small = "l=" + "v" * 200, "s=" + "v" * 98
    assert combine_tracestate([f"{large},a{large},b{large},{small}"]) == f"{large},a{large},{small}"


def test_then_it_loses_members_from_its_end() -> None:
    """The latest systems stand first, so the oldest go."""
    members = [f"{letter}={'v' * 98}" for letter in "abcdefg"]  # 100 characters each
    assert combine_tracestate(members) == ",".join(members[:5])


@given(st.lists(st.from_regex(r"[a-z]{1,3}=[!-+]{1,200}", fullmatch=True), max_size=40))
def test_nothing_is_invented_reordered_or_cut(members: list[str]) -> None:
    """What goes on is some of what came, in its order, and again valid."""
    combined = combine_tracestate(members)
    kept = combined.split(",") if combined else []
    assert len(combined) <= 512
    places = [members.index(member) for member in kept]
    assert all(one < other for one, other in pairwise(places))
    assert combine_tracestate([combined]) == combined

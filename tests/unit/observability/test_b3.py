# ruff: noqa: FBT003  # a context is its values in a row
"""B3 in one line and in several: what is valid, and what goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.observability.b3 import multi, parse_multi, parse_single, single
from a3s_gateway.observability.span_context import SpanContext

TRACE, SPAN, ABOVE = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1", "05e3ac9a4f6e3b90"
SHORT = TRACE[16:]


@pytest.mark.parametrize(
    ("value", "context"),
    [
        (f"{TRACE}-{SPAN}-1-{ABOVE}", SpanContext(TRACE, SPAN, True, False, ABOVE)),
        (f"{TRACE}-{SPAN}-1", SpanContext(TRACE, SPAN, True)),
        (f"{TRACE}-{SPAN}-0", SpanContext(TRACE, SPAN, False)),
        (f"{TRACE}-{SPAN}-d", SpanContext(TRACE, SPAN, True, True)),
        (f"{TRACE}-{SPAN}", SpanContext(TRACE, SPAN, None)),
        (f"{SHORT}-{SPAN}-1", SpanContext("0" * 16 + SHORT, SPAN, True)),
        ("0", SpanContext("", "", False)),
        ("1", SpanContext("", "", True)),
        ("d", SpanContext("", "", True, True)),
    ],
)
def test_a_valid_line(value: str, context: SpanContext) -> None:
    """Ids of 64 bits are padded; a decision may be left open, or stand alone."""
    assert parse_single(value) == context


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "true",
        "00",
        "0-",
        TRACE,
        f"{TRACE}-",
        f"{TRACE}-{SPAN}-",
        f"{TRACE}-{SPAN}-2",
        f"{TRACE}-{SPAN}-true",
        f"{TRACE}-{SPAN}-1-",
        f"{TRACE}-{SPAN}-1-{ABOVE}-1",
        f"{TRACE}-{SPAN}-{ABOVE}",
        f"{TRACE.upper()}-{SPAN}-1",
        f"{TRACE}0-{SPAN}-1",
        f"{TRACE[1:]}-{SPAN}-1",
        f"{SHORT[1:]}-{SPAN}-1",
        f"{TRACE}-{SPAN[1:]}-1",
        f"{'0' * 32}-{SPAN}-1",
        f"{'0' * 16}-{SPAN}-1",
        f"{TRACE}-{'0' * 16}-1",
        f"{TRACE}-{SPAN}-1-{'0' * 16}",
        f"{TRACE}-{SPAN}-1\n",
    ],
)
def test_an_invalid_line_is_none_at_all(value: str) -> None:
    """No part of it is believed."""
    assert parse_single(value) is None


def fields(**given: str) -> dict[str, str]:
    return {f"x-b3-{name}": value for name, value in given.items()}


IDS = {"traceid": TRACE, "spanid": SPAN}


@pytest.mark.parametrize(
    ("given", "context"),
    [
        (fields(**IDS, sampled="1"), SpanContext(TRACE, SPAN, True)),
        (fields(**IDS, sampled="0"), SpanContext(TRACE, SPAN, False)),
        (fields(**IDS, sampled="true"), SpanContext(TRACE, SPAN, True)),
        (fields(**IDS, sampled="False"), SpanContext(TRACE, SPAN, False)),
        (fields(**IDS), SpanContext(TRACE, SPAN, None)),
        (fields(**IDS, flags="0"), SpanContext(TRACE, SPAN, None)),
        (fields(**IDS, flags="1"), SpanContext(TRACE, SPAN, True, True)),
        (fields(**IDS, flags="1", sampled="0"), SpanContext(TRACE, SPAN, True, True)),
        (
            fields(**IDS, sampled="1", parentspanid=ABOVE),
            SpanContext(TRACE, SPAN, True, False, ABOVE),
        ),
        (fields(traceid=SHORT, spanid=SPAN), SpanContext("0" * 16 + SHORT, SPAN, None)),
        (fields(sampled="0"), SpanContext("", "", False)),
        (fields(sampled="1"), SpanContext("", "", True)),
        (fields(flags="1"), SpanContext("", "", True, True)),
    ],
)
def test_valid_lines(given: dict[str, str], context: SpanContext) -> None:
    """The flag of debugging implies the decision to record."""
    assert parse_multi(given) == context


@pytest.mark.parametrize(
    "given",
    [
        fields(),
        fields(traceid=TRACE),
        fields(spanid=SPAN),
        fields(parentspanid=ABOVE),
        fields(flags="0"),
        fields(**IDS, sampled="yes"),
        fields(**IDS, sampled="d"),
        fields(**IDS, flags="2"),
        fields(**IDS, parentspanid="1"),
        fields(traceid=TRACE.upper(), spanid=SPAN),
        fields(traceid="0" * 32, spanid=SPAN),
        fields(traceid=TRACE, spanid="0" * 16),
        fields(traceid="\r\n", spanid=SPAN),
    ],
)
def test_invalid_lines_are_none_at_all(given: dict[str, str]) -> None:
    """No part of them is believed."""
    assert parse_multi(given) is None


ids = st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}")
contexts = st.builds(
    lambda trace, span, decision, above: SpanContext(trace, span, *decision, above),
    st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}"),
    ids,
    st.sampled_from([(True, False), (False, False), (True, True)]),
    st.just("") | ids,
)


@given(contexts)
def test_what_is_written_can_be_read(context: SpanContext) -> None:
    """Every decided context survives the wire, either way."""
    assert parse_single(single(context)) == context
    assert parse_multi({name.lower(): value for name, value in multi(context)}) == context


@given(st.text() | st.text("0123456789abcdef-d", max_size=70))
def test_whatever_comes_is_judged_and_never_raises(value: str) -> None:
    """What is accepted has ids of the right length, or none."""
    for context in (parse_single(value), parse_multi(fields(traceid=value, spanid=SPAN))):
        assert context is None or len(context.trace_id) in (0, 32)

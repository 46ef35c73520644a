# ruff: noqa: FBT003  # a context is its values in a row
"""Trace context in headers: which one counts, and which go out."""

from __future__ import annotations

import pytest

from a3s_gateway.headers import Headers
from a3s_gateway.observability import trace
from a3s_gateway.observability.span_context import SpanContext, new_id
from a3s_gateway.observability.trace import extract, find_trace_id, injected

TRACE, OTHER, SPAN = "1" * 32, "2" * 32, "3" * 16
W3C = ("traceparent", f"00-{TRACE}-{SPAN}-01")
B3 = ("b3", f"{OTHER}-{SPAN}-0")
MULTI = (("X-B3-TraceId", OTHER), ("X-B3-SpanId", SPAN), ("X-B3-Sampled", "1"))
OURS = SpanContext(TRACE, "4" * 16, True, False, SPAN)
CALLER = SpanContext(TRACE, SPAN, True)


def sent(*fields: tuple[str, str]) -> list[tuple[str, str]]:
    """What goes out in place of these fields."""
    headers = Headers.of(*fields)
    onward = injected(headers, extract(headers), OURS)
    return [(header.name, header.value) for header in onward]


def test_w3c_goes_before_b3() -> None:
    """Of several contexts one counts, and every format that came in is answered."""
    incoming = extract(Headers.of(*MULTI, B3, W3C))
    assert incoming.context == CALLER
    assert incoming.formats == trace.W3C | trace.B3 | trace.B3_MULTI


def test_one_line_of_b3_goes_before_several() -> None:
    """Unless it is invalid."""
    assert extract(Headers.of(*MULTI, B3)).context == SpanContext(OTHER, SPAN, False)
    assert extract(Headers.of(*MULTI, ("b3", "?"))).context == SpanContext(OTHER, SPAN, True)


def test_b3_counts_where_w3c_is_invalid() -> None:
    """And the tracestate that came with it does not."""
    incoming = extract(Headers.of(("traceparent", "?"), ("tracestate", "foo=1"), B3))
    assert (incoming.context, incoming.tracestate) == (SpanContext(OTHER, SPAN, False), "")


@pytest.mark.parametrize("fields", [[W3C], [B3], [*MULTI]])
def test_a_line_that_is_there_twice_counts_as_invalid(fields: list[tuple[str, str]]) -> None:
    """Nobody can know which one is meant."""
    assert extract(Headers.of(*fields, fields[0])).context is None


@pytest.mark.parametrize("name", ["trace-parent", "trace.parent", "b4"])
def test_other_names_mean_nothing(name: str) -> None:
    """Only the names of the standards count, in any case."""
    assert extract(Headers.of((name, W3C[1]))).context is None
    assert extract(Headers.of(("TRACEPARENT", W3C[1]))).context == CALLER


def test_the_tracestate_of_all_lines_goes_on_in_one() -> None:
    """After a valid traceparent, in the order that it came in."""
    assert sent(("tracestate", "a=1"), W3C, ("accept", "*/*"), ("tracestate", "b=2, c=3")) == [
        ("accept", "*/*"),
        ("traceparent", f"00-{TRACE}-{'4' * 16}-01"),
        ("tracestate", "a=1,b=2,c=3"),
    ]


@pytest.mark.parametrize(
    "fields",
    [[], [("tracestate", "foo=1")], [("traceparent", "?"), ("tracestate", "foo=1")]],
)
def test_without_a_valid_traceparent_the_tracestate_is_dropped(
    fields: list[tuple[str, str]],
) -> None:
    """Where nothing valid came in, W3C goes out."""
    assert sent(*fields) == [("traceparent", f"00-{TRACE}-{'4' * 16}-01")]


def test_an_answer_goes_out_in_the_format_that_came_in() -> None:
    """And in no other."""
    assert sent(B3) == [("b3", f"{TRACE}-{'4' * 16}-1-{SPAN}")]
    assert sent(*MULTI) == [
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", "4" * 16),
        ("x-b3-parentspanid", SPAN),
        ("x-b3-sampled", "1"),
    ]
    assert [name for name, _ in sent(W3C, B3)] == ["traceparent", "b3"]


@pytest.mark.parametrize(
    ("fields", "trace_id"),
    [
        ([W3C], TRACE),
        ([B3], OTHER),
        ([*MULTI], OTHER),
        ([("b3", "0")], None),
        ([("traceparent", "?")], None),
        ([("tracestate", "foo=1")], None),
        ([], None),
    ],
)
def test_the_trace_that_a_request_belongs_to(
    fields: list[tuple[str, str]], trace_id: str | None
) -> None:
    """It is what the access log shows; None where nothing valid is said."""
    assert find_trace_id(Headers.of(*fields)) == trace_id


def test_an_id_is_never_zero() -> None:
    """Zero is not an id, however unlikely it is to be drawn."""
    numbers = iter([0, 0, 10])
    assert new_id(64, lambda _bits: next(numbers)) == "000000000000000a"

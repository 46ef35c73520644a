# ruff: noqa: FBT003  # a context is its values in a row
"""Spans in the JSON of OTLP/HTTP, and what a collector answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.headers import Headers
from a3s_gateway.observability.otlp import Delivery, export_request, judge, render
from a3s_gateway.observability.span_context import SpanContext
from a3s_gateway.observability.tracer import Span

CHILD = Span(
    SpanContext("1" * 32, "2" * 16, True, False, "3" * 16),
    "foo=1",
    "GET api",
    1_700_000_000_000_000_000,
    1_700_000_000_001_000_000,
    (("url.path", "/ä"), ("http.response.status_code", 200)),
    True,
)
ROOT = Span(SpanContext("1" * 32, "4" * 16, True), "", "GET", 1, 2, (), False)


def test_the_body_of_a_post() -> None:
    """Ids in hexadecimal, numbers of 64 bits as strings; nothing where there is nothing."""
    assert json.loads(export_request([render(CHILD), render(ROOT)], "1.2.3")) == {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [
                        {"key": "service.name", "value": {"stringValue": "a3s-gateway"}},
                        {"key": "service.version", "value": {"stringValue": "1.2.3"}},
                    ]
                },
                "scopeSpans": [
                    {
                        "scope": {"name": "a3s_gateway", "version": "1.2.3"},
                        "spans": [
                            {
                                "traceId": "1" * 32,
                                "spanId": "2" * 16,
                                "parentSpanId": "3" * 16,
                                "traceState": "foo=1",
                                "flags": 0x301,
                                "name": "GET api",
                                "kind": 2,
                                "startTimeUnixNano": "1700000000000000000",
                                "endTimeUnixNano": "1700000000001000000",
                                "attributes": [
                                    {"key": "url.path", "value": {"stringValue": "/ä"}},
                                    {
                                        "key": "http.response.status_code",
                                        "value": {"intValue": "200"},
                                    },
                                ],
                                "status": {"code": 2},
                            },
                            {
                                "traceId": "1" * 32,
                                "spanId": "4" * 16,
                                "flags": 0x101,
                                "name": "GET",
                                "kind": 2,
                                "startTimeUnixNano": "1",
                                "endTimeUnixNano": "2",
                                "attributes": [],
                                "status": {},
                            },
                        ],
                    }
                ],
            }
        ]
    }


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_answers_after_which_to_try_again(status: int) -> None:
    """With the pause that the collector asks for, if it is a number."""
    delivery = judge(status, Headers.of(("Retry-After", "7")), b"")
    assert delivery == Delivery(f"it answered {status}", 0, True, 7.0)
    assert judge(status, Headers.of(("Retry-After", "Fri, 31 Dec 1999")), b"").wait == 0.0


@pytest.mark.parametrize("status", [301, 400, 401, 404, 413, 500, 501])
def test_answers_after_which_not_to(status: int) -> None:
    """The same spans would get the same answer."""
    assert judge(status, Headers(), b"") == Delivery(f"it answered {status}")


@pytest.mark.parametrize(
    ("body", "rejected"),
    [
        (b"", 0),
        (b"{}", 0),
        (b'{"partialSuccess":{}}', 0),
        (b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}', 3),
        (b'{"partialSuccess":{"rejectedSpans":3}}', 3),
        (b'{"partialSuccess":{"rejectedSpans":-3}}', 0),
        (b'{"partialSuccess":[]}', 0),
        (b"[" * 100_000, 0),
        (b"\xff", 0),
        (b"1", 0),
    ],
)
def test_a_collector_may_take_some_and_not_others(body: bytes, rejected: int) -> None:
    """It says how many, in either way to write a number."""
    assert judge(200, Headers(), body) == Delivery(rejected=rejected)


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda x: str(x).encode()))
def test_whatever_it_answers_is_read_and_never_raises(body: bytes) -> None:
    """A collector can be anything."""
    assert judge(200, Headers(), body).fault == ""

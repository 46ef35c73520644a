# ruff: noqa: FBT003  # a context is its values in a row
"""Which exchanges are recorded, and what their spans say."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.body import NO_BODY
from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Request
from a3s_gateway.observability.span_context import SpanContext
from a3s_gateway.observability.trace import extract
from a3s_gateway.observability.tracer import MAX_TEXT, Span, Tracer

TRACE, SPAN = "1" * 32, "2" * 16


@define
class World:
    """A tracer, its clock, and what it recorded."""

    ratio: float = 1.0
    now: float = 100.0
    getrandbits: Callable[[int], int] = field(factory=lambda: Random(1).getrandbits)
    spans: list[Span] = field(factory=list)

    def ask(self, *fields: tuple[str, str], **facts: Any) -> Headers:
        """Let an exchange begin and end; returns the headers that went on."""
        tracer = Tracer(
            self.ratio, self.spans.append, lambda: 10**18, lambda: self.now, self.getrandbits
        )
        exchange = Exchange("web", "192.0.2.1", self.now, "203.0.113.9", "id")
        head = {"method": "GET", "path": "/a", "host": "a.example", "version": 11}
        head.update({name: facts.pop(name) for name in list(facts) if name in head})
        request = Request(
            **head, query="secret=1", authority="a.example", scheme="https",
            headers=Headers.of(*fields), body=NO_BODY, client="203.0.113.9", exchange=exchange,
        )  # fmt: skip
        onward, span = tracer.begin(request)
        self.now += 1.5
        for name, value in {"status": 200, "first_byte_at": 101.0, **facts}.items():
            setattr(exchange, name, value)
        if span is not None:
            tracer.end(span, request, exchange)
        return onward.headers

    def attributes(self, **facts: Any) -> dict[str, str | int]:
        """Return what the span of an exchange says."""
        self.ask(**facts)
        return dict(self.spans[-1].attributes)


def w3c(flags: str) -> tuple[str, str]:
    return ("traceparent", f"00-{TRACE}-{SPAN}-{flags}")


def test_a_span_is_the_child_of_its_callers() -> None:
    """In the same trace, under an id of its own, for as long as the exchange took."""
    world = World()
    headers = world.ask(w3c("01"), ("tracestate", "foo=1"))
    (span,) = world.spans
    assert (span.context.trace_id, span.context.above) == (TRACE, SPAN)
    assert span.context.span_id not in (SPAN, "0" * 16)
    assert span.tracestate == "foo=1"
    assert (span.started_at, span.ended_at) == (10**18, 10**18 + 1_500_000_000)
    assert headers.find("traceparent") == f"00-{TRACE}-{span.context.span_id}-01"


@pytest.mark.parametrize(("ratio", "recorded"), [(0.0, 0), (0.25, 250), (1.0, 1000)])
def test_the_ratio_is_that_of_new_traces(ratio: float, recorded: int) -> None:
    """About; all or none at the ends. The backend hears of the decision either way."""
    world = World(ratio)
    told = [str(world.ask().find("traceparent"))[-2:] for _ in range(1000)]
    assert abs(len(world.spans) - recorded) <= 40 * (0 < ratio < 1)
    assert told.count("01") == len(world.spans)


def test_the_choice_depends_on_the_trace_alone() -> None:
    """Two gateways with the same ratio record the same traces."""
    for number in range(50):
        trace_id = Random(number).getrandbits(128) | 1
        chosen = []
        for seed in (1, 2):
            world = World(0.5, getrandbits=Random(seed).getrandbits)
            world.ask(("b3", f"{trace_id:032x}-{SPAN}"))
            chosen.append(len(world.spans))
        assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("ratio", "fields", "is_recorded"),
    [
        (0.0, [w3c("01")], True),
        (1.0, [w3c("00")], False),
        (0.0, [("b3", "1")], True),
        (0.0, [("b3", "d")], True),
        (1.0, [("b3", "0")], False),
        (1.0, [("x-b3-sampled", "0")], False),
        (1.0, [("traceparent", "?")], True),
        (0.0, [("b3", f"{TRACE}-{SPAN}")], False),
        (1.0, [("b3", f"{TRACE}-{SPAN}")], True),
    ],
)
def test_the_callers_decision_goes_before_the_ratio(
    ratio: float, fields: list[tuple[str, str]], *, is_recorded: bool
) -> None:
    """The ratio decides only where nobody has."""
    world = World(ratio)
    world.ask(*fields)
    assert len(world.spans) == is_recorded


def test_no_parent_is_invented_where_nothing_is_recorded() -> None:
    """The caller's span stays the parent, and B3's parent of that stays told."""
    world = World(0.0)
    assert world.ask(w3c("00")).find("traceparent") == f"00-{TRACE}-{SPAN}-00"
    line = f"{TRACE}-{SPAN}-0-{'3' * 16}"
    assert world.ask(("b3", line)).find("b3") == line


def test_a_mere_wish_begins_a_trace() -> None:
    """`b3: d` has no ids; the trace that begins here carries the flag on."""
    world = World(0.0)
    told = world.ask(("b3", "d")).find("b3")
    context = world.spans[0].context
    assert context == SpanContext(context.trace_id, context.span_id, True, True, "")
    assert told == f"{context.trace_id}-{context.span_id}-d"


names = st.sampled_from(
    ["traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"]
)
values = st.text("0123456789abcdefd-=, ?", max_size=60).map(str.strip) | st.sampled_from(
    ["0", "1", "d", f"00-{TRACE}-{SPAN}-01", f"{TRACE}-{SPAN}", TRACE, SPAN, "foo=1"]
)


@given(st.lists(st.tuples(names, values), max_size=8), st.sampled_from([0.0, 1.0]))
def test_whatever_comes_what_goes_on_is_valid(fields: list[tuple[str, str]], ratio: float) -> None:
    """And every format names the same span: the recorded one, where one is."""
    world = World(ratio)
    headers = world.ask(*fields)
    if headers == Headers.of(*fields):
        assert world.spans == []  # `b3: 0`, or what is not recorded
        return
    formats = [["traceparent"], ["b3"], ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled"]]
    named = {
        (context.trace_id, context.span_id)
        for names in formats
        if (lines := [h for h in headers if h.name in names])
        and (context := extract(Headers(lines)).context)
    }
    assert len(named) == 1
    recorded = {(span.context.trace_id, span.context.span_id) for span in world.spans}
    assert recorded in (named, set())


def test_what_a_span_says() -> None:
    """What is unknown is left out; of the query and of headers there is nothing."""
    said = World().attributes(router="api", service="users", backend="http://b")
    assert said == {
        "http.request.method": "GET",
        "url.path": "/a",
        "url.scheme": "https",
        "http.response.status_code": 200,
        "http.route": "api",
        "server.address": "a.example",
        "client.address": "203.0.113.9",
        "network.peer.address": "192.0.2.1",
        "network.protocol.version": "1.1",
        "a3s.entrypoint": "web",
        "a3s.service": "users",
        "a3s.backend": "http://b",
        "a3s.request_id": "id",
    }


def test_methods_that_nobody_knows_do_not_make_names() -> None:
    """Names and methods are few, whatever clients send."""
    world = World()
    said = world.attributes(method="BREW", router="api")
    assert world.spans[0].name == "HTTP api"
    assert said["http.request.method"] == "_OTHER"
    assert said["http.request.method_original"] == "BREW"


def test_a_long_path_is_cut() -> None:
    """So that spans that wait are not many megabytes."""
    assert World().attributes(path="/" + "a" * 5000)["url.path"] == "/" + "a" * (MAX_TEXT - 1)


@pytest.mark.parametrize(
    ("facts", "error", "has_failed"),
    [
        ({"status": 200}, None, False),
        ({"status": 404, "code": "NO_ROUTE"}, None, False),
        ({"status": 500}, "500", True),
        ({"status": 504, "code": "UPSTREAM_TIMEOUT"}, "UPSTREAM_TIMEOUT", True),
        ({"status": 200, "code": "UPSTREAM_RESET"}, "UPSTREAM_RESET", True),  # after its head
        ({"status": 200, "code": "CLIENT_GONE"}, "CLIENT_GONE", False),
        ({"status": 499, "code": "CLIENT_GONE", "first_byte_at": 0.0}, "CLIENT_GONE", False),
    ],
)
def test_what_counts_as_an_error(
    facts: dict[str, Any], error: str | None, *, has_failed: bool
) -> None:
    """What the gateway or a backend is to blame for; not what clients do."""
    world = World()
    said = world.attributes(**facts)
    assert said.get("error.type") == error
    assert world.spans[0].has_failed == has_failed
    assert ("http.response.status_code" in said) == (facts.get("first_byte_at") != 0.0)

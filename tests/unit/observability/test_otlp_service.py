# ruff: noqa: FBT003  # a context is its values in a row
"""Delivering spans: batches, attempts, losses, and the end; on a clock, without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.headers import Headers
from a3s_gateway.observability.otlp_service import (
    ATTEMPTS,
    BATCH,
    FLUSH_AFTER,
    MAX_BACKOFF,
    MAX_QUEUE,
    PATIENCE,
    REPORT_EVERY,
    STOP_WITHIN,
    OtlpExporter,
)
from a3s_gateway.observability.span_context import SpanContext
from a3s_gateway.observability.tracer import Span
from a3s_gateway.task import Waiter
from a3s_gateway.transport.timers import timers_for

LATE = 0.2  # seconds that a timer of ours may be late
Answer = tuple[int, Headers, bytes]


class FakeCollector:
    """
    Notes each post.

    Attributes:
        status: Answered at once; None: not at all; 0: it cannot be connected to.

    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.status: int | None = 200
        self.headers = Headers()
        self.body = b"{}"
        self.posts: list[tuple[float, list[str]]] = []
        self.running = 0
        self.closed = 0

    async def post(self, body: bytes, content_type: str) -> Answer:
        assert content_type == "application/json"
        spans = json.loads(body)["resourceSpans"][0]["scopeSpans"][0]["spans"]
        self.posts.append((self.clock.seconds(), [span["name"] for span in spans]))
        self.running += 1
        try:
            if self.status is None:
                await Waiter[None]()
            if self.status == 0:
                raise UpstreamConnectError("UPSTREAM_CONNECT", "refused")
            assert self.status
            return self.status, self.headers, self.body
        finally:
            self.running -= 1

    def close(self) -> None:
        self.closed += 1

    @property
    def sizes(self) -> list[int]:
        return [len(names) for _, names in self.posts]

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.posts]


class World:
    """A clock, an exporter, a collector, and what was logged."""

    def __init__(self, events: Any) -> None:
        self.clock = Clock()
        self.events = events
        self.collector = FakeCollector(self.clock)
        self.timers: Any = timers_for(self.clock)  # type: ignore[arg-type]
        self.it = OtlpExporter(
            "1", "collector:4318", self.collector, self.timers, lambda: 0.5, lambda _: None
        )
        self.it.startService()
        self.recorded = 0

    def record(self, count: int = 1) -> None:
        for _ in range(count):
            context = SpanContext("1" * 32, "2" * 16, True)
            self.it.record(Span(context, "", str(self.recorded), 1, 2, (), False))
            self.recorded += 1

    def advance(self, seconds: float) -> None:
        """Let time pass in small steps, as it does."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)

    @property
    def log(self) -> list[str]:
        return [str(formatEvent(event)) for event in self.events]

    def stop(self) -> list[float]:
        """Begin to stop; the list gets the time at which that is done."""
        done: list[float] = []
        stopped = self.it.stopService() or Deferred[None]()
        stopped.addCallback(lambda _: done.append(self.clock.seconds()))
        return done


@pytest.fixture
def world() -> Iterator[World]:
    with capturedLogs() as events:
        yield World(events)


def test_spans_wait_for_company(world: World) -> None:
    """For a moment; then they go together, in their order."""
    world.record()
    world.advance(1)
    world.record(2)
    assert world.collector.posts == []
    world.advance(FLUSH_AFTER - 1 + LATE)
    assert [names for _, names in world.collector.posts] == [["0", "1", "2"]]
    world.record()
    world.advance(FLUSH_AFTER + LATE)
    assert world.collector.sizes == [3, 1]
    assert (world.it.lost, world.log) == (0, [])


def test_a_full_batch_does_not_wait(world: World) -> None:
    """And what comes after it is the beginning of the next one."""
    world.record(BATCH + 1)
    assert world.collector.sizes == [BATCH]
    world.advance(FLUSH_AFTER + LATE)
    assert world.collector.sizes == [BATCH, 1]


@pytest.mark.parametrize("status", [0, 429, 503])
def test_a_batch_is_tried_again_at_growing_intervals(world: World, status: int) -> None:
    """Not for ever: then it is lost, which is said once, and the next one has its turn."""
    world.collector.status = status
    world.record(3)
    world.advance(60)
    pauses = [later - when for when, later in pairwise(world.collector.times)]
    assert len(world.collector.posts) == ATTEMPTS
    for pause, expected in zip(pauses, (1, 2, 4, 8), strict=True):
        assert expected <= pause <= expected + LATE
    assert world.it.lost == 3
    (line,) = world.log
    assert line.startswith("lost 3 spans for collector:4318: ")
    world.collector.status = 200
    world.record()
    world.advance(FLUSH_AFTER + LATE)
    assert world.collector.posts[-1][1] == ["3"]


def test_a_collector_may_ask_for_a_pause(world: World) -> None:
    """It gets one, though not as long as it likes."""
    world.collector.status, world.collector.headers = 503, Headers.of(("Retry-After", "86400"))
    world.record()
    world.advance(FLUSH_AFTER + MAX_BACKOFF + 3 * LATE)
    first, second = world.collector.times
    assert MAX_BACKOFF <= second - first <= MAX_BACKOFF + LATE


def test_what_a_collector_does_not_want_is_not_sent_again(world: World) -> None:
    """Neither a batch that it refuses, nor the spans of a batch that it rejects."""
    world.collector.status = 400
    world.record(2)
    world.advance(FLUSH_AFTER + LATE)
    world.collector.status = 200
    world.collector.body = b'{"partialSuccess":{"rejectedSpans":"1"}}'
    world.record(5)
    world.advance(FLUSH_AFTER + LATE)
    assert world.collector.sizes == [2, 5]
    assert world.it.lost == 3


def test_no_answer_is_waited_for_for_ever(world: World) -> None:
    """The attempt is given up, and another one made."""
    world.collector.status = None
    world.record()
    world.advance(FLUSH_AFTER + PATIENCE + 2 * LATE)
    assert (len(world.collector.posts), world.collector.running) == (1, 0)
    world.advance(1 + LATE)
    assert (len(world.collector.posts), world.collector.running) == (2, 1)


def test_what_waits_is_bounded(world: World) -> None:
    """Meanwhile spans are lost, and that is said once per interval."""
    world.collector.status = None
    world.record(BATCH + MAX_QUEUE)
    assert world.it.lost == 0
    world.record(10)
    assert world.it.lost == 10
    assert world.log == ["lost 1 spans for collector:4318: too many at once"]
    world.collector.status = 200
    world.advance(REPORT_EVERY + LATE)
    assert world.log[1:] == ["lost 9 spans for collector:4318: too many at once"]
    world.advance(3 * REPORT_EVERY)
    assert len(world.log) == 2
    assert sum(world.collector.sizes[1:]) == BATCH + MAX_QUEUE


def test_the_end_delivers_what_is_there(world: World) -> None:
    """All of it, at once."""
    world.record(3)
    world.it.stopService()
    assert world.collector.sizes == [3]
    assert world.collector.closed == 1
    assert world.clock.getDelayedCalls() == []


def test_the_end_does_not_wait_for_a_collector_that_does_not_answer(world: World) -> None:
    """A few seconds; what it has not taken by then is lost, and that is said."""
    world.collector.status = None
    world.record(BATCH + 1)
    done = world.stop()
    world.advance(STOP_WITHIN - LATE)
    assert done == []
    world.advance(2 * LATE)
    assert len(done) == 1
    assert (world.it.lost, world.collector.running, world.collector.closed) == (BATCH + 1, 0, 1)
    assert len(world.log) == 1
    assert world.clock.getDelayedCalls() == []


def test_the_end_does_not_wait_to_try_again(world: World) -> None:
    """One more attempt is made at once."""
    world.collector.status = 503
    world.record()
    world.advance(FLUSH_AFTER + LATE)
    world.collector.status = 200
    done = world.stop()
    assert (len(done), len(world.collector.posts), world.it.lost) == (1, 2, 0)


def test_after_the_end_nothing_is_taken(world: World) -> None:
    """It counts as lost."""
    world.it.stopService()
    world.record()
    world.advance(FLUSH_AFTER + LATE)
    assert (world.collector.posts, world.it.lost) == ([], 1)


def test_an_end_without_spans_is_no_post(world: World) -> None:
    """Nothing is sent where there is nothing to send."""
    assert world.it.stopService() is None
    assert (world.collector.posts, world.collector.closed, world.log) == ([], 1, [])

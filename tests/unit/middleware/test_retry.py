"""`retry`: what is asked again, when, and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from a3s_gateway.body import Body
from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.http import Request, Response
from a3s_gateway.middleware.retry import Budget, Retry, RetryConfig, build
from a3s_gateway.task import Task, Waiter
from a3s_gateway.testing import Answer, Clock, ask, effects, request, response

Reply = Response | int | str  # an answer, its status, or the code of the gateway's own


class World:
    """A backend that answers what it is told, one after the other, the last one again and again."""

    def __init__(self, *replies: Reply, random: float = 1.0, **config: Any) -> None:
        self.clock = Clock()
        self.replies = list(replies)
        self.retry: Retry = build(RetryConfig(**config), effects(self.clock, random))
        self.avoided: list[tuple[str, ...]] = []
        self.bodies: list[bytes] = []

    def backend(self, onward: Request) -> Response:
        self.avoided.append(onward.exchange.avoid)
        self.bodies.append(onward.body.take())
        onward.exchange.backend = f"http://b{len(self.avoided)}"
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, str):
            return to_response(GatewayError(reply), onward)
        return response(reply) if isinstance(reply, int) else reply

    def ask(self, method: str = "GET", data: bytes = b"", **changes: Any) -> Answer:
        return ask(self.retry, evolve(request(method=method, body=data), **changes), self.backend)

    @property
    def tries(self) -> int:
        return len(self.avoided)


@pytest.mark.parametrize(
    "failure",
    [
        "UPSTREAM_CONNECT", "UPSTREAM_RESET", "UPSTREAM_TIMEOUT", "UPSTREAM_BUSY",
        "NO_HEALTHY_BACKEND", 502, 503, 504,
    ],
)  # fmt: skip
def test_what_is_tried_again(failure: Reply) -> None:
    """The original tried nothing again; and its header fields for that reached backends."""
    world = World(failure, 200)
    answer = world.ask()
    assert (answer.status, world.tries) == (200, 2)
    assert answer.forwarded is not None
    assert not [each for each in answer.forwarded.headers if "retry" in each.name]


@pytest.mark.parametrize("reply", [500, 404, "UPSTREAM_PROTOCOL"])
def test_what_is_not(reply: Reply) -> None:
    """It would be no better the next time."""
    world = World(reply)
    world.ask()
    assert world.tries == 1


def test_the_last_answer_is_the_answer() -> None:
    """After so many tries, with pauses that double."""
    world = World(503, max_retries=4, retry_interval_ms=100, max_interval_ms=300)
    assert world.ask().status == 503
    assert world.tries == 5
    assert world.clock.naps == pytest.approx([0.1, 0.2, 0.3, 0.3])


def test_pauses_are_shortened_by_chance() -> None:
    """So that those who failed together do not come back together."""
    world = World(503, max_retries=1, random=0.0)
    world.ask()
    assert world.clock.naps == pytest.approx([0.05])


def test_another_server_each_time() -> None:
    """Those that failed are named to who chooses."""
    world = World(503, max_retries=2)
    world.ask()
    assert world.avoided == [(), ("http://b1",), ("http://b1", "http://b2")]


def test_methods_that_are_not_done_twice() -> None:
    """A POST may have had its effect; it is repeated only if no server has heard of it."""
    world = World("UPSTREAM_RESET")
    assert world.ask("POST").status == 502
    assert world.tries == 1
    world = World("UPSTREAM_CONNECT", 200)
    assert world.ask("POST").status == 200
    world = World(503, 200, methods=("POST",))
    assert (world.ask("POST", b"x").status, world.bodies) == (200, [b"x", b"x"])


def test_bodies_are_sent_again() -> None:
    """The same bytes each time."""
    world = World(503, max_retries=2)
    world.ask("PUT", b"hello")
    assert world.bodies == [b"hello"] * 3


def test_bodies_that_are_too_long() -> None:
    """They are sent once, whole, whether their length was known or not."""
    world = World(503, max_body_bytes=4)
    assert world.ask("PUT", b"hello").status == 503
    assert world.bodies == [b"hello"]
    chunked = Body()
    chunked.feed(b"hello")
    chunked.feed(b" world")
    chunked.end()
    world = World(503, max_body_bytes=4)
    world.ask("PUT", body=chunked)
    assert world.bodies == [b"hello world"]


def test_the_rest_of_a_long_body_follows_as_it_comes() -> None:
    """Nothing waits for its end, and the client is held back as ever."""

    class Source:
        def __init__(self) -> None:
            self.log: list[str] = []

        def pause(self) -> None:
            self.log.append("pause")

        def resume(self) -> None:
            self.log.append("resume")

        def cancel(self) -> None:
            self.log.append("cancel")

    source = Source()
    body = Body(source)
    seen: list[bytes] = []

    async def backend(onward: Request) -> Response:
        async for chunk in onward.body:
            seen.append(chunk)  # noqa: PERF401 - as it comes
        return response()

    world = World(200)
    world.retry = build(RetryConfig(max_body_bytes=3), effects())
    done: list[Response] = []
    errors: list[BaseException] = []
    asked = evolve(request(method="PUT"), body=body)
    task = Task(world.retry(asked, backend), done.append, errors.append)
    task.start()
    body.feed(b"ab")
    assert seen == []
    body.feed(b"cd")
    assert seen == [b"abcd"]
    body.feed(b"ef")
    assert (seen, done) == ([b"abcd", b"ef"], [])
    body.end()
    assert (len(done), errors) == (1, [])


def test_upgrades_are_never_repeated() -> None:
    """Nor is anything of theirs read."""
    world = World(503)
    world.ask(upgrade="websocket")
    assert world.tries == 1


@pytest.mark.parametrize(
    ("asked", "naps"),
    [("2", [2.0]), ("0", [0.1]), ("6", []), ("Wed, 21 Oct 2026 07:28:00 GMT", []), ("9" * 50, [])],
)
def test_a_server_that_says_when(asked: str, naps: list[float]) -> None:
    """It is waited for, unless that is longer than a client should wait."""
    world = World(response(503, Retry_After=asked), max_retries=1)
    world.ask()
    assert world.clock.naps == pytest.approx(naps)


def test_answers_that_are_dropped_are_closed() -> None:
    """Their connections go back."""
    closed = []
    failed = response(503)
    failed.body.owns(lambda: closed.append(1))
    world = World(failed, 200)
    assert world.ask().status == 200
    assert closed == [1]


def test_a_service_that_fails_as_a_whole() -> None:
    """It gets little more than its ordinary traffic, once the reserve is used up."""
    world = World(503, max_retries=3, retry_interval_ms=0, budget_percent=20)
    for _ in range(1000):
        world.ask()
    assert world.tries <= 1000 * 1.2 + 11


def test_the_reserve_comes_back() -> None:
    """A try per second, for who has little traffic."""
    budget = Budget(0.0)
    budget.request(0.0)
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]
    budget.request(1.0)
    assert [budget.take(), budget.take()] == [True, False]
    budget.request(1000.0)
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]


def test_a_client_that_goes_while_it_waits() -> None:
    """Nobody is asked a second time."""
    world = World(503)
    waiting: list[Waiter[None]] = []

    async def sleep(_: float) -> None:
        waiting.append(Waiter())
        await waiting[-1]

    world.retry = build(RetryConfig(), effects(world.clock, sleep=sleep))

    async def backend(onward: Request) -> Response:
        return world.backend(onward)

    ignore: Callable[[object], None] = lambda _: None  # noqa: E731
    task: Task[Response] = Task(world.retry(request(), backend), ignore, ignore)
    task.start()
    task.cancel()
    waiting[0].resolve(None)
    assert world.tries == 1

"""`circuit-breaker`: what it counts, and what it answers."""

from __future__ import annotations

from typing import Any

import pytest

from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.http import Request, Response
from a3s_gateway.middleware.circuit_breaker import CircuitBreaker, CircuitBreakerConfig, build
from a3s_gateway.task import Task, Waiter
from a3s_gateway.testing import Answer, Clock, ask, effects, request, response


class World:
    def __init__(self, **config: Any) -> None:
        self.clock = Clock()
        given = {"failure_threshold": 2, **config}
        self.breaker: CircuitBreaker = build(CircuitBreakerConfig(**given), effects(self.clock))

    def ask(self, status: int = 200, service: str = "s", code: str = "") -> Answer:
        asked = request()
        asked.exchange.service = service

        def backend(onward: Request) -> Response:
            return to_response(GatewayError(code), onward) if code else response(status)

        return ask(self.breaker, asked, backend)


def test_a_service_that_fails_is_given_a_rest() -> None:
    """Its requests are answered at once, with when to come again."""
    world = World()
    assert [world.ask(500).status for _ in range(2)] == [500, 500]
    world.clock.advance(10)
    answer = world.ask()
    assert (answer.status, answer.code, answer.forwarded) == (503, "CIRCUIT_OPEN", None)
    assert b"Service unavailable (circuit breaker open)" in answer.body
    assert answer.headers.find("content-type") == "application/json"
    assert answer.headers.find("retry-after") == "20"
    world.clock.advance(20)
    assert [world.ask().status for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize(
    "code", ["UPSTREAM_CONNECT", "UPSTREAM_TIMEOUT", "UPSTREAM_RESET", "NO_HEALTHY_BACKEND"]
)
def test_it_sees_what_the_gateway_answers_for_the_service(code: str) -> None:
    """The original did not count a service that had no server left."""
    world = World()
    for _ in range(2):
        world.ask(code=code)
    assert world.ask().code == "CIRCUIT_OPEN"


def test_each_service_has_its_own() -> None:
    """Whatever routers lead there: the original had one for each router."""
    world = World()
    for _ in range(2):
        world.ask(500, "a")
    assert world.ask(200, "a").status == 503
    assert world.ask(200, "b").status == 200
    assert sorted(world.breaker.breakers) == ["a", "b"]


def test_what_counts_as_a_failure_can_be_chosen() -> None:
    """Answers below 500 do not, unless they are listed."""
    world = World()
    for _ in range(5):
        assert world.ask(429).status == 429
    world = World(statuses=((429, 429),))
    for _ in range(2):
        world.ask(429)
    assert world.ask().status == 503


def test_what_is_raised_counts_where_the_service_is_at_fault() -> None:
    """A fault of the gateway's own says nothing of it."""

    def refuse(_: Request) -> Response:
        raise GatewayError("UPSTREAM_TIMEOUT")

    def break_down(_: Request) -> Response:
        raise ZeroDivisionError

    world = World(failure_threshold=1)
    with pytest.raises(ZeroDivisionError):
        ask(world.breaker, request(), break_down)
    assert ask(world.breaker, request(), refuse).code == "UPSTREAM_TIMEOUT"
    assert ask(world.breaker, request()).code == "CIRCUIT_OPEN"


def test_a_client_that_goes_away_while_it_is_the_probe() -> None:
    """The next one is the probe."""
    world = World(failure_threshold=1)
    world.ask(500)
    world.clock.advance(30)
    asked = request()
    asked.exchange.service = "s"

    async def wait(_: Request) -> Response:
        answer: Response = await Waiter()
        return answer

    task: Task[Response] = Task(world.breaker(asked, wait), lambda _: None, lambda _: None)
    task.start()
    assert world.ask().code == "CIRCUIT_OPEN"
    task.cancel()
    assert world.ask().status == 200


def test_it_sees_faults_that_grpc_clients_are_told() -> None:
    """Their status is 200, with what went wrong in `grpc-status`."""
    world = World(failure_threshold=1)

    def fail(onward: Request) -> Response:
        return to_response(GatewayError("UPSTREAM_CONNECT"), onward)

    asked = request(method="POST", Content_Type="application/grpc")
    assert ask(world.breaker, asked, fail).headers.find("grpc-status") == "14"
    assert ask(world.breaker, request()).code == "CIRCUIT_OPEN"

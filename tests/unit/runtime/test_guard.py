"""Middlewares of others that fail, or take too long."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field

from a3s_gateway.body import Body
from a3s_gateway.config.middleware import PluginSettings
from a3s_gateway.errors import GatewayError
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.runtime.guard import Guard, TooSlowError
from a3s_gateway.task import Task, Waiter
from a3s_gateway.testing import ask, request, response


@define(eq=False)
class World:
    """A guard around a step that a test drives, and what it complained about."""

    complaints: list[tuple[str, Exception]] = field(factory=list)
    naps: list[Waiter[None]] = field(factory=list)
    task: Task[Response] | None = None

    async def sleep(self, _: float) -> None:
        self.naps.append(Waiter())
        await self.naps[-1]

    def guard(self, step: Any, **settings: Any) -> Guard:
        def complain(name: str, error: Exception) -> None:
            self.complaints.append((name, error))

        return Guard(step, "m", PluginSettings(**settings), self.sleep, complain)

    def begin(self, guard: Guard, backend: Handler) -> list[Any]:
        """Start a request that has to wait; its answer or its fault will be in the list."""
        results: list[Any] = []
        self.task = Task(guard(request(), backend), results.append, results.append)  # type: ignore[arg-type]
        self.task.start()
        return results


async def fails(request: Request, next: Handler) -> Response:
    raise ValueError("a fault of the middleware")


async def fails_late(request: Request, next: Handler) -> Response:
    await next(request)
    raise ValueError("a fault on the way back")


async def refuses(request: Request, next: Handler) -> Response:
    raise GatewayError("BAD_REQUEST")


async def waits(request: Request, next: Handler) -> Response:
    await Waiter()
    return await next(request)


async def passes(request: Request, next: Handler) -> Response:
    return await next(request)


async def backend(_: Request) -> Response:
    return response()


def test_what_works_is_left_alone() -> None:
    """Its answers, and the faults that it means."""
    world = World()
    assert ask(world.guard(passes), request()).body == b"ok"
    assert ask(world.guard(refuses), request()).code == "BAD_REQUEST"
    assert world.complaints == []


def test_a_failure_refuses_the_request() -> None:
    """By default; and the log hears whose it was."""
    world = World()
    answer = ask(world.guard(fails), request())
    assert (answer.status, answer.code, answer.forwarded) == (500, "MIDDLEWARE_FAILED", None)
    assert b"fault of the middleware" not in answer.body
    ((name, error),) = world.complaints
    assert (name, str(error)) == ("m", "a fault of the middleware")


def test_a_failure_may_let_the_request_pass() -> None:
    """Where the operator prefers that."""
    world = World()
    assert ask(world.guard(fails, on_error="open"), request()).body == b"ok"
    assert len(world.complaints) == 1


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_a_request_is_never_sent_twice(policy: str) -> None:
    """Who fails after it passed the request on has failed for good."""
    seen = []

    def once(onward: Request) -> Response:
        seen.append(onward)
        return response()

    answer = ask(World().guard(fails_late, on_error=policy), request(), once)
    assert (answer.code, len(seen)) == ("MIDDLEWARE_FAILED", 1)


def test_a_body_that_was_read_cannot_pass() -> None:
    """Half a request would be worse than none."""

    async def reads(request: Request, next: Handler) -> Response:
        await request.body.read(100)
        raise ValueError

    asked = request(method="POST", body=b"x")
    assert ask(World().guard(reads, on_error="open"), asked).code == "MIDDLEWARE_FAILED"


@pytest.mark.parametrize(("policy", "status"), [("closed", 500), ("open", 200)])
def test_who_takes_too_long_is_stopped(policy: str, status: int) -> None:
    """And treated like one that failed."""
    world = World()
    results = world.begin(world.guard(waits, on_error=policy), backend)
    assert results == []
    world.naps[0].resolve(None)
    found = results[0].fault if isinstance(results[0], GatewayError) else results[0]
    assert found.status == status
    ((_, error),) = world.complaints
    assert isinstance(error, TooSlowError)


def test_the_backends_time_is_not_the_middlewares() -> None:
    """Nobody watches once the request was passed on."""
    world = World()
    answer: Waiter[Response] = Waiter()

    async def slow(_: Request) -> Response:
        return await answer

    results = world.begin(world.guard(passes), slow)
    assert (results, world.naps) == ([], [])
    answer.resolve(Response(204, response().headers, Body.of(b"")))
    assert results[0].status == 204


def test_a_client_that_goes_ends_it() -> None:
    """The middleware is stopped where it waits, and so is the watch."""
    world = World()
    stopped = []

    async def notices(request: Request, next: Handler) -> Response:
        try:
            await Waiter()
        finally:
            stopped.append(True)
        raise AssertionError

    results = world.begin(world.guard(notices), backend)
    assert world.task is not None
    world.task.cancel()
    world.naps[0].resolve(None)
    assert (results, stopped, world.complaints) == ([], [True], [])

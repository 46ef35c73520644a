"""The kit for those who write middlewares."""

from __future__ import annotations

import pytest

from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.task import Waiter
from a3s_gateway.testing import Clock, ask, effects, request, response


async def passes(asked: Request, next: Handler) -> Response:
    return await next(asked)


def test_a_request_is_as_an_entrypoint_makes_it() -> None:
    """Path and query apart, names of fields as written in Python."""
    made = request("/a?b=c", method="POST", body=b"x", X_Tenant="a", fields=[("A_b", "1")])
    assert (made.path, made.query, made.target) == ("/a", "b=c", "/a?b=c")
    assert [(each.name, each.value) for each in made.headers] == [("a_b", "1"), ("x-tenant", "a")]
    assert made.body.take() == b"x"


def test_an_answer_tells_what_either_side_got() -> None:
    """The client's answer, and the backend's request."""
    asked = request()
    answer = ask(passes, asked, lambda _: response(201, b"made", X_A="1"))
    assert (answer.status, answer.body, answer.code) == (201, b"made", "")
    assert answer.headers.find("x-a") == "1"
    assert answer.forwarded is asked


def test_a_refusal_reaches_no_backend() -> None:
    """There is nothing that was forwarded."""

    async def refuses(asked: Request, next: Handler) -> Response:
        return response(403, b"no")

    assert ask(refuses, request()).forwarded is None


def test_what_it_raises_is_raised() -> None:
    """A bug in a middleware is seen where it is."""

    async def fails(asked: Request, next: Handler) -> Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(fails, request())


def test_time_passes_by_sleeping() -> None:
    """And the naps are counted."""
    clock = Clock()
    world = effects(clock)

    async def naps(asked: Request, next: Handler) -> Response:
        begin = world.now()
        await world.sleep(2)
        assert world.now() - begin == 2
        assert world.random() == 0.5
        return await next(asked)

    assert ask(naps, request()).status == 200
    assert clock.naps == [2]


def test_a_wait_for_ever_fails_the_test() -> None:
    """It does not hang."""

    async def waits(asked: Request, next: Handler) -> Response:
        await Waiter()
        raise AssertionError

    with pytest.raises(AssertionError, match="waits for something"):
        ask(waits, request())

"""`rate-limit-redis` without a Redis."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from attrs import define, field

from a3s_gateway.effects import RedisUnavailableError
from a3s_gateway.middleware.rate_limit_redis import SCRIPT, RateLimitRedisConfig, build
from a3s_gateway.testing import Answer, ask, effects, request

URL = "redis://127.0.0.1:6379/0"


@define(eq=False)
class Redis:
    """Answers as it is told, and notes what it was asked."""

    answers: list[Any]
    asked: list[tuple[Any, ...]] = field(factory=list)
    within: float = 0.0
    is_closed: bool = False

    def execute(self, *command: Any, within: float) -> Awaitable[Any]:
        self.asked.append(command)
        self.within = within
        return self._answer()

    async def _answer(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.is_closed = True


def through(redis: Redis, **config: Any) -> Answer:
    made = RateLimitRedisConfig(redis_url=URL, **{"rate": 2, **config})
    return ask(build(made, effects(redis=lambda url: redis, name="api")), request())


def test_one_call_decides() -> None:
    """By the name of the block, so that two blocks do not share a limit by accident."""
    redis = Redis([500_000])
    answer = through(redis, burst=3, timeout=0.25)
    assert (answer.status, answer.headers.find("ratelimit-remaining")) == (200, "2")
    (command,) = redis.asked
    assert command[0] == "EVALSHA"
    assert command[2:] == (1, b"a3s:ratelimit:api:192.0.2.1", "500000.000", "1500000.000")
    assert redis.within == 0.25


def test_what_is_refused() -> None:
    """With the original's words, and when there is a token."""
    answer = through(Redis([-1_200_000]))
    assert (answer.status, answer.code, answer.forwarded) == (429, "RATE_LIMITED", None)
    assert b"Rate limit exceeded (distributed)" in answer.body
    assert answer.headers.find("retry-after") == "2"


def test_a_redis_that_does_not_know_the_script() -> None:
    """It is told once."""
    redis = Redis([RedisUnavailableError("NOSCRIPT No matching script"), 1000])
    assert through(redis).status == 200
    assert [command[:2] for command in redis.asked[1:]] == [("EVAL", SCRIPT)]


def test_a_redis_that_does_not_answer() -> None:
    """The policy decides."""
    answer = through(Redis([RedisUnavailableError("away")]))
    assert (answer.status, answer.code) == (200, "")
    answer = through(Redis([RedisUnavailableError("away")]), on_error="closed")
    assert (answer.status, answer.code) == (503, "RATE_LIMIT_UNAVAILABLE")
    assert answer.forwarded is None


def test_it_leaves_redis_with_its_configuration() -> None:
    """No connection stays behind."""
    redis = Redis([])
    build(RateLimitRedisConfig(redis_url=URL, rate=1), effects(redis=lambda url: redis)).close()
    assert redis.is_closed

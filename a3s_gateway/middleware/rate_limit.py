"""`type = "rate-limit"`: so many requests per second and client."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, frozen

from a3s_gateway.config.kinds import integer
from a3s_gateway.config.schema import key
from a3s_gateway.effects import Effects
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._limits import LimitConfig, Told, source_of
from a3s_gateway.middleware._token_bucket import Buckets
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class RateLimitConfig(LimitConfig):
    """A token bucket in memory for each client."""

    max_keys: int = key(
        integer(1),
        "Clients that are remembered; those not seen for longest are forgotten.",
        default=100_000,
    )


@define(eq=False)
class RateLimit:
    """Answer 429 to a client that has emptied its bucket."""

    source: Callable[[Request], str]
    buckets: Buckets
    told: Told
    now: Callable[[], float]

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Let a request pass that has a token, and say how many are left."""
        ahead = self.buckets.take(self.source(request), self.now())
        if ahead < 0:
            return self.told.refused(request, -ahead)
        return self.told.passed(await next(request), ahead)


def build(config: RateLimitConfig, effects: Effects) -> RateLimit:
    """Make one with all buckets full."""
    buckets = Buckets(config.interval, config.burst, config.max_keys)
    return RateLimit(source_of(config), buckets, Told(config), effects.now)


PLUGIN = Plugin("middleware", "rate-limit", RateLimitConfig, build)

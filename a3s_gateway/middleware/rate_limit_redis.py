"""`type = "rate-limit-redis"`: a rate limit shared by several gateways."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import Final, Literal

from attrs import define, frozen

from a3s_gateway.config.kinds import REDIS_URL, TEXT, choice, duration
from a3s_gateway.config.schema import key
from a3s_gateway.effects import Effects, Redis, RedisUnavailableError
from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._limits import LimitConfig, Told, source_of
from a3s_gateway.plugin import Plugin

# One call, which nothing comes between, by the clock that all gateways share. As in
# `_token_bucket.py` a bucket is the time at which it is full, here in microseconds; a full one
# is gone by itself. ARGV: the interval of a token, and what a bucket takes to fill.
SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
local ahead = math.max(full_at - now, 0) + tonumber(ARGV[1])
local beyond = ahead - tonumber(ARGV[2])
if beyond > 1 then
  return -math.ceil(beyond)
end
redis.call('SET', KEYS[1], string.format('%.3f', now + ahead), 'PX', math.ceil(ahead / 1000))
return math.ceil(ahead)
"""
_DIGEST: Final = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


@frozen(kw_only=True)
class RateLimitRedisConfig(LimitConfig):
    """A token bucket in Redis for each client, which all gateways share."""

    redis_url: str = key(
        REDIS_URL,
        "Where the buckets are: `redis://`, `rediss://` or `unix://`.",
        secret=True,
        example='"redis://127.0.0.1:6379/0"',
    )
    redis_prefix: str = key(
        TEXT,
        "Stands before the block's name and the client in Redis; those who share it share limits.",
        default="a3s:ratelimit:",
    )
    timeout: float = key(
        duration(0.001), "How long Redis may take before `on_error` decides.", default=0.1
    )
    on_error: Literal["open", "closed"] = key(
        choice("open", "closed"),
        "What happens while Redis does not answer: requests pass, or are refused with 503.",
        default="open",
    )


@define(eq=False)
class RateLimitRedis:
    """Answer 429 to a client that has emptied its bucket at any of the gateways."""

    config: RateLimitRedisConfig
    source: Callable[[Request], str]
    redis: Redis
    prefix: str
    told: Told

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Let a request pass that has a token; where nobody knows, as configured."""
        try:
            ahead = await self._take(self.prefix + self.source(request))
        except RedisUnavailableError:
            if self.config.on_error == "open":
                return await next(request)
            return to_response(GatewayError("RATE_LIMIT_UNAVAILABLE"), request)
        if ahead < 0:
            return self.told.refused(request, -ahead)
        return self.told.passed(await next(request), ahead)

    async def _take(self, key: str) -> float:
        """Take a token; returns what `Buckets.take` does."""
        interval = self.config.interval * 1e6
        numbers = f"{interval:.3f}", f"{interval * self.config.burst:.3f}"
        rest = (1, key.encode("utf-8", "surrogatepass"), *numbers)
        within = self.config.timeout
        try:
            answer = await self.redis.execute("EVALSHA", _DIGEST, *rest, within=within)
        except RedisUnavailableError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            answer = await self.redis.execute("EVAL", SCRIPT, *rest, within=within)
        return int(answer) / 1e6

    def close(self) -> None:
        """Leave Redis: no configuration has this limit any more."""
        self.redis.close()


def build(config: RateLimitRedisConfig, effects: Effects) -> RateLimitRedis:
    """Make one that connects at once."""
    told = Told(config, "Rate limit exceeded (distributed)")
    prefix = f"{config.redis_prefix}{effects.name}:"
    return RateLimitRedis(config, source_of(config), effects.redis(config.redis_url), prefix, told)


PLUGIN = Plugin("middleware", "rate-limit-redis", RateLimitRedisConfig, build)

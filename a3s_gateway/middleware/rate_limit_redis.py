"""`type = "rate-limit-redis"`: a rate limit shared by several gateways."""

from __future__ import annotations

import math

from attrs import Factory, frozen

from a3s_gateway.config.kinds import REDIS_URL, integer, number
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class RateLimitRedisConfig(Settings):
    """A token bucket in Redis."""

    redis_url: str = key(
        REDIS_URL,
        "Where the buckets are: `redis://`, `rediss://` or `unix://`.",
        secret=True,
        example='"redis://127.0.0.1:6379/0"',
    )
    rate: float = key(number(0, above=True), "Requests per second.", example="100")
    burst: int = key(
        integer(1),
        "Requests at once after a pause.",
        default=Factory(lambda self: math.ceil(self.rate), takes_self=True),
        default_doc="`rate`",
    )


PLUGIN = Plugin("middleware", "rate-limit-redis", RateLimitRedisConfig)

"""`type = "rate-limit"`: so many requests per second and client."""

from __future__ import annotations

import math

from attrs import Factory, frozen

from a3s_gateway.config.kinds import integer, number
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class RateLimitConfig(Settings):
    """A token bucket in memory."""

    rate: float = key(number(0, above=True), "Requests per second.", example="100")
    burst: int = key(
        integer(1),
        "Requests at once after a pause.",
        default=Factory(lambda self: math.ceil(self.rate), takes_self=True),
        default_doc="`rate`",
    )


PLUGIN = Plugin("middleware", "rate-limit", RateLimitConfig)

"""`type = "body-limit"`: refuse large requests."""

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.kinds import size
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class BodyLimitConfig(Settings):
    """Answers 413 to a request whose body is too large."""

    max_body_bytes: int = key(size(1), "The largest body that passes.", example='"10MB"')


PLUGIN = Plugin("middleware", "body-limit", BodyLimitConfig)

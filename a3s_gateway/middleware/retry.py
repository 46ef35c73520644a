"""`type = "retry"`: try again when a backend fails."""

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.kinds import duration, integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class RetryConfig(Settings):
    """Repeats a request that failed, as far as that is safe."""

    max_retries: int = key(integer(1, 100), "Attempts after the first.", default=3)
    retry_interval_ms: float = key(
        duration(unit="ms"), "Pause between two attempts.", default=100.0
    )


PLUGIN = Plugin("middleware", "retry", RetryConfig)

"""`type = "circuit-breaker"`: give a failing service a rest."""

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.kinds import duration, integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class CircuitBreakerConfig(Settings):
    """Refuses at once while a service fails."""

    failure_threshold: int = key(integer(1), "Failures in a row that open the circuit.", default=5)
    cooldown_secs: float = key(duration(0.001), "Rest before it is tried again.", default=30.0)
    success_threshold: int = key(integer(1), "Successes that close it again.", default=1)


PLUGIN = Plugin("middleware", "circuit-breaker", CircuitBreakerConfig)

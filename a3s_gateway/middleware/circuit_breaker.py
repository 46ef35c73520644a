"""`type = "circuit-breaker"`: give a failing service a rest."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import define, field, frozen

from a3s_gateway.config.kinds import STATUSES, duration, integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key
from a3s_gateway.effects import Effects
from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.headers import Header
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._breaker import NOBODY, Breaker
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class CircuitBreakerConfig(Settings):
    """Refuses at once while a service fails."""

    failure_threshold: int = key(integer(1), "Failures in a row that open the circuit.", default=5)
    cooldown_secs: float = key(duration(0.001), "Rest before it is tried again.", default=30.0)
    success_threshold: int = key(integer(1), "Successes that close it again.", default=1)
    max_probes: int = key(
        integer(1), "Requests at a time that try whether it may be closed.", default=1
    )
    statuses: tuple[tuple[int, int], ...] = key(
        STATUSES,
        "Answers that are failures; the gateway's own are among them (502 to 504).",
        default=((500, 599),),
        default_doc='`"500-599"`',
    )


@define(eq=False)
class CircuitBreaker:
    """
    Answer 503 while a service rests that has failed too often in a row.

    Attributes:
        breakers: One for each service that a route through here leads to.

    """

    config: CircuitBreakerConfig
    now: Callable[[], float]
    breakers: dict[str, Breaker] = field(factory=dict, init=False)

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Let a request pass if its service may be asked, and see how it goes."""
        breaker = self.breakers.get(request.exchange.service)
        if breaker is None:
            breaker = self._open_for(request.exchange.service)
        epoch = breaker.admit(self.now())
        if epoch == NOBODY:
            return self._refuse(request, breaker)
        try:
            response = await next(request)
        except GatewayError:
            breaker.failed(epoch, self.now())
            raise
        except BaseException:  # the client is gone, or we are at fault: the service is not
            breaker.abandoned(epoch)
            raise
        fault = response.fault  # to gRPC clients it is told with status 200
        if self._is_failure(response.status if fault is None else fault.status):
            breaker.failed(epoch, self.now())
        else:
            breaker.succeeded(epoch)
        return response

    def _is_failure(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self.config.statuses)

    def _open_for(self, service: str) -> Breaker:
        config = self.config
        breaker = self.breakers[service] = Breaker(
            config.failure_threshold,
            config.cooldown_secs,
            config.success_threshold,
            config.max_probes,
        )
        return breaker

    def _refuse(self, request: Request, breaker: Breaker) -> Response:
        response = to_response(GatewayError("CIRCUIT_OPEN"), request)
        wait = max(math.ceil(breaker.wait(self.now())), 1)
        headers = response.headers.plus(Header.of("Retry-After", str(wait)))
        return response.with_headers(headers)


def build(config: CircuitBreakerConfig, effects: Effects) -> CircuitBreaker:
    """Make one whose circuits are closed."""
    return CircuitBreaker(config, effects.now)


PLUGIN = Plugin("middleware", "circuit-breaker", CircuitBreakerConfig, build)

"""`type = "retry"`: try again when a backend fails."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from typing import Final

from attrs import define, evolve, field, frozen

from a3s_gateway.body import NO_BODY, Body
from a3s_gateway.config.kinds import METHOD, STATUSES, duration, integer, number, size
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key, keys
from a3s_gateway.effects import Effects
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._replay import keep
from a3s_gateway.plugin import Plugin

# RFC 9110 §9.2.2: doing these twice is doing them once.
_IDEMPOTENT: Final = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
# No server has heard of the request: again is for the first time, whatever the method.
_NEVER_SENT: Final = frozenset({"UPSTREAM_CONNECT", "UPSTREAM_BUSY", "NO_HEALTHY_BACKEND"})
# The server may have acted on it, and no byte of an answer has come.
_UNANSWERED: Final = frozenset({"UPSTREAM_RESET", "UPSTREAM_TIMEOUT"})
_RESERVE: Final = 10.0  # tries that are there for who has little traffic


@frozen(kw_only=True)
class RetryConfig(Settings):
    """Repeats a request that failed, as far as that is safe, at another server if there is one."""

    max_retries: int = key(integer(1, 100), "Attempts after the first.", default=3)
    retry_interval_ms: float = key(
        duration(unit="ms"),
        "Pause before the second attempt; it doubles from one to the next, less a random part.",
        default=100.0,
    )
    max_interval_ms: float = key(
        duration(unit="ms"),
        "Longest pause; also the longest that a server may ask for by `Retry-After`.",
        default=5000.0,
    )
    methods: tuple[str, ...] = keys(
        METHOD,
        "Methods that may be repeated though a server may have acted on them.",
        default=_IDEMPOTENT,
    )
    statuses: tuple[tuple[int, int], ...] = key(
        STATUSES,
        "Answers of servers after which it is tried again.",
        default=((502, 504),),
        default_doc='`"502-504"`',
    )
    max_body_bytes: int = key(
        size(), "A request with a longer body is not repeated.", default=64 * 1024
    )
    budget_percent: float = key(
        number(0, 1000), "Tries again that there may be for 100 requests.", default=20.0
    )


@define(eq=False)
class Budget:
    """
    How many tries again there may be: so much for each request, and one per second in reserve.

    So a service that fails as a whole gets little more than its ordinary traffic.
    """

    share: float  # for each request
    _left: float = field(default=_RESERVE, init=False)
    _seen_at: float = field(default=0.0, init=False)

    def request(self, now: float) -> None:
        """Count a request."""
        passed, self._seen_at = now - self._seen_at, now
        if self._left < _RESERVE:
            self._left = min(self._left + max(passed, 0.0), _RESERVE)
        self._left = min(self._left + self.share, _RESERVE + 100 * self.share)

    def take(self) -> bool:
        """Take one try again, if there is one."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


@define(eq=False)
class Retry:
    """Ask again, a little later, where that does no harm."""

    config: RetryConfig
    effects: Effects
    budget: Budget

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Return the first answer that is no failure, or the last one."""
        self.budget.request(self.effects.now())
        if request.upgrade:
            return await next(request)
        data: bytes | None = None
        if request.body is NO_BODY:
            data = b""
        elif request.method in self.config.methods:
            body, data = await keep(request.body, self.config.max_body_bytes)
            request = evolve(request, body=body)
        for attempt in range(self.config.max_retries):
            response = await next(request)
            pause = self._pause(request, response, attempt, data)
            if pause is None or not self.budget.take():
                return response
            response.body.close()
            exchange = request.exchange
            if exchange.backend not in exchange.avoid:
                exchange.avoid += (exchange.backend,)
            if pause:
                await self.effects.sleep(pause)
            if data:
                request = evolve(request, body=Body.of(data))
        return await next(request)

    def _pause(
        self, request: Request, response: Response, attempt: int, data: bytes | None
    ) -> float | None:
        """Return for how long to wait before the next try; None if there is to be none."""
        if not self._may_be_repeated(request, response, data):
            return None
        config = self.config
        longest = config.max_interval_ms / 1000
        pause = min(config.retry_interval_ms / 1000 * 2.0**attempt, longest)
        pause *= 0.5 + self.effects.random() / 2  # or all who failed together come back together
        asked = response.headers.find("retry-after")
        if asked is None:
            return pause
        if not asked.isascii() or not asked.isdigit() or int(asked[:9]) > longest:
            return None
        return max(pause, float(asked))

    def _may_be_repeated(self, request: Request, response: Response, data: bytes | None) -> bool:
        fault = response.fault
        if fault is not None and fault.code in _NEVER_SENT:
            return data is not None or not request.body.begun
        if data is None or request.method not in self.config.methods:
            return False
        if fault is not None:
            return fault.code in _UNANSWERED
        return any(low <= response.status <= high for low, high in self.config.statuses)


def build(config: RetryConfig, effects: Effects) -> Retry:
    """Make one with its reserve untouched."""
    return Retry(config, effects, Budget(config.budget_percent / 100))


PLUGIN = Plugin("middleware", "retry", RetryConfig, build)

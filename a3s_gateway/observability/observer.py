"""What happens when an exchange is over: it is counted and logged, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from attrs import define, field

from a3s_gateway.http import Exchange, Request
from a3s_gateway.observability.access_log import Line
from a3s_gateway.observability.counters import RouteCounters

BATCH: Final = 64  # exchanges
FLUSH_AFTER: Final = 0.1  # seconds that an exchange waits for others


class Alarm(Protocol):
    """What calls `flush` later; a `transport.timers.Timer` is one."""

    def set(self, delay: float) -> None:
        """Call in `delay` seconds."""

    def cancel(self) -> None:
        """Do not call."""


@define(eq=False)
class ExchangeObserver:
    """
    Counts and logs the exchanges of one entrypoint.

    It does so for a batch at a time: with its code and its tables in the processor's
    caches, that costs half of what it does for each exchange between all else.

    Args:
        unrouted: Counts those that no route matched.
        line: Renders the access log's line; None when there is no log.
        write: Takes the line.
        monotonic: The clock of `Exchange.started_at`.
        wall: Seconds since 1970.

    Attributes:
        alarm: Set when a batch begins; whoever makes the observer makes it call `flush`.

    """

    unrouted: RouteCounters
    line: Line | None
    write: Callable[[str], None]
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    alarm: Alarm = field(init=False)
    _batch: list[tuple[Request | None, Exchange, float, float]] = field(factory=list, init=False)

    def observe(self, request: Request | None, exchange: Exchange) -> None:
        """Take note of one exchange; `request` is None if none could be parsed."""
        batch = self._batch
        batch.append((request, exchange, self.wall(), self.monotonic() - exchange.started_at))
        if len(batch) == 1:
            self.alarm.set(FLUSH_AFTER)
        elif len(batch) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Count and log what has been noted; whoever reads the counters calls this first."""
        batch, self._batch = self._batch, []
        self.alarm.cancel()
        unrouted, line, write = self.unrouted, self.line, self.write
        for request, exchange, wall, duration in batch:
            (exchange.counters or unrouted).record(exchange, duration)
            step = exchange.step
            if step is not None and exchange.first_byte_at:
                step.answered(exchange.first_byte_at - exchange.step_at)
            if line is not None:
                text = line(request, exchange, wall, duration)
                if text is not None:
                    write(text)

"""What happens when an exchange is over: it is counted and logged, once."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from a3s_gateway.http import Exchange, Request
from a3s_gateway.observability.access_log import Line
from a3s_gateway.observability.counters import RouteCounters


@define(eq=False)
class ExchangeObserver:
    """
    Counts and logs the exchanges of one entrypoint.

    Args:
        unrouted: Counts those that no route matched.
        line: Renders the access log's line; None when there is no log.
        write: Takes the line.
        monotonic: The clock of `Exchange.started_at`.
        wall: Seconds since 1970.

    """

    unrouted: RouteCounters
    line: Line | None
    write: Callable[[str], None]
    monotonic: Callable[[], float]
    wall: Callable[[], float]

    def observe(self, request: Request | None, exchange: Exchange) -> None:
        """Take note of one exchange; `request` is None if none could be parsed."""
        duration = self.monotonic() - exchange.started_at
        (exchange.counters or self.unrouted).record(exchange, duration)
        if self.line is not None:
            text = self.line(request, exchange, self.wall(), duration)
            if text is not None:
                self.write(text)

"""A route's middlewares around its service, each with its counters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from a3s_gateway.http import Handler, Middleware, Request, Response
from a3s_gateway.observability.counters import Invocations

BATCH: Final = 512  # times that are noted before they are sorted into a histogram


def chain(
    steps: Iterable[tuple[Middleware, Invocations]],
    endpoint: Handler,
    now: Callable[[], float],
) -> Handler:
    """
    Wrap `endpoint` so that the first middleware listed sees a request first.

    Built once per snapshot, never per request. Each step is timed on the way in, and not on the
    way back, where it waits for the backend mostly. One that answers itself is found when the
    exchange is over: its step was never left.

    Args:
        steps: In the order in which a request passes them.
        endpoint: What comes after the last.
        now: The clock of `Exchange.started_at`.

    """
    listed = tuple(steps)
    if not listed:
        return endpoint
    handler = _left(listed[-1][1], endpoint, now)
    for index in range(len(listed) - 1, -1, -1):
        middleware, invocations = listed[index]
        before = listed[index - 1][1] if index else None
        handler = _entered(middleware, invocations, before, handler, now)
    return handler


def _entered(
    middleware: Middleware,
    invocations: Invocations,
    before: Invocations | None,
    next: Handler,
    now: Callable[[], float],
) -> Handler:
    def entered(request: Request) -> Awaitable[Response]:
        exchange = request.exchange
        at = now()
        if before is not None and exchange.step is before:
            before.noted.append(at - exchange.step_at)
        exchange.step = invocations
        exchange.step_at = at
        invocations.count += 1
        if not invocations.count % BATCH:
            invocations.settle()
        return middleware(request, next)

    return entered


def _left(last: Invocations, endpoint: Handler, now: Callable[[], float]) -> Handler:
    def left(request: Request) -> Awaitable[Response]:
        exchange = request.exchange
        if exchange.step is last:
            last.noted.append(now() - exchange.step_at)
        exchange.step = None
        return endpoint(request)

    return left

"""
Life of a request: from an entrypoint to a backend and back, in reading order.

An entrypoint's connection parses a request, and asks the entrypoint's resource. Of what
follows, nothing is looked up by name: `runtime/compile.py` has put it together before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from attrs import define, field, frozen

from .errors import GatewayError, UnansweredError, UpstreamConnectError, UpstreamError, to_response
from .http import Exchange, Handler, Request, Response
from .observability.counters import RouteCounters
from .observability.facts import Connections
from .observability.tracer import OpenSpan, Tracer
from .router.table import RouteTable
from .service.backend import Backend, Watch
from .service.balancer import Balancer

if TYPE_CHECKING:
    from .tunnels import TcpResource


class Generation(Protocol):
    """The life of what was compiled together: it lasts while an exchange is in it."""

    def hold(self) -> None:
        """Count one exchange."""

    def unhold(self) -> None:
        """Count it no longer."""


class Observer(Protocol):
    """Who hears of every exchange, once, when it is over."""

    def observe(self, request: Request | None, exchange: Exchange) -> None:
        """Count and log one exchange; `request` is None if none could be parsed."""


@frozen(eq=False)
class Route:
    """One router, compiled: its handler is its middlewares around its service."""

    name: str
    service: str
    handler: Handler
    counters: RouteCounters


@define(eq=False)
class EntrypointResource:
    """The root of one entrypoint's tree; a reload puts another in its place."""

    name: str
    generation: Generation
    observer: Observer
    routes: RouteTable[Route]
    # The TCP routers that are asked first, where both speak TLS on one port.
    tunnels: TcpResource | None = field(default=None, init=False)

    async def handle(self, request: Request) -> Response:
        """Answer one request, within one generation."""
        exchange = request.exchange
        # 1  The generation lives until this exchange is over, whatever is reloaded meanwhile.
        self.generation.hold()
        # 2  It is observed when it is over, however it ends.
        exchange.on_close(partial(self._over, request, exchange))
        # 3  One route, or 404.
        route = self.routes.find(request)
        if route is None:
            return to_response(GatewayError("NO_ROUTE"), request)
        exchange.router = route.name
        exchange.service = route.service
        exchange.counters = route.counters
        # 4  Its middlewares in the order written; the innermost handler is an `Upstream`.
        return await route.handler(request)

    def refuse(self, exchange: Exchange) -> None:
        """Let an exchange be observed whose request was not fit to be handled."""
        self.generation.hold()
        exchange.on_close(partial(self._over, None, exchange))

    def _over(self, request: Request | None, exchange: Exchange) -> None:
        self.observer.observe(request, exchange)
        self.generation.unhold()


@define(eq=False)
class TracedResource(EntrypointResource):
    """The same with a span around every exchange; made only where spans are exported."""

    tracer: Tracer

    async def handle(self, request: Request) -> Response:
        """Answer one request, whose span is the parent of what the backend does."""
        onward, span = self.tracer.begin(request)
        if span is not None:
            # It is recorded after all else; the exporter lives as long as the generation.
            self.generation.hold()
            request.exchange.on_close(partial(self._record, span, request, request.exchange))
        return await super().handle(onward)

    def _record(self, span: OpenSpan, request: Request, exchange: Exchange) -> None:
        self.tracer.end(span, request, exchange)
        self.generation.unhold()


class Origin(Protocol):
    """One backend as something to forward to."""

    @property
    def pool(self) -> Connections:
        """Its connections, to be counted."""

    def forward(self, request: Request) -> Awaitable[Response]:
        """Send a request and return the response's head, its body to follow."""


_NO_BACKEND = GatewayError("NO_HEALTHY_BACKEND")


@define(eq=False)
class Upstream:
    """The last step of a route: choose a backend, forward, hand the answer up."""

    balancer: Balancer
    origins: dict[Backend, Origin]
    report: Callable[[Backend, UpstreamError], None]
    watch: Watch

    async def handle(self, request: Request) -> Response:
        """Answer from a backend, or say why there is no answer."""
        exchange = request.exchange
        tried = self._avoided(exchange.avoid) if exchange.avoid else ()
        fault = _NO_BACKEND
        while True:
            # 7  The balancer chooses among those that are well and have not been tried.
            backend = self.balancer.pick(tried)
            # 8  None is left: as a last resort one that its requests speak against.
            if backend is None:
                backend = self.watch.find_last_resort(tried)
                if backend is None:
                    return to_response(fault, request)
            exchange.backend = backend.url
            exchange.attempts += 1
            # 9  It counts as busy until the last byte of the answer is out.
            lease = backend.acquire(self.watch)
            try:
                # 10  Forward.
                response = await self.origins[backend].forward(request)
            except UpstreamError as error:
                lease.failed(error)
                lease.release()
                self.report(backend, error)
                # 11  Above here a fault is an answer like any other. But first another is tried, if
                # that does no harm.
                if not _may_go_on(request, error):
                    return to_response(error, request)
                tried += (backend,)
                fault = error.with_traceback(None)  # which would hold this frame, and it the fault
                continue
            except BaseException:
                lease.release()
                raise
            # The answer speaks for or against the backend; so does an end before its time.
            lease.answered(response.status)
            body = response.body
            if not body.is_complete:
                body.on_failure = lease.broke
            body.owns(lease.release)
            exchange.on_close(body.close)
            return response

    def _avoided(self, urls: tuple[str, ...]) -> tuple[Backend, ...]:
        """Leave out whom a former try of the request speaks against, if another is there."""
        avoided = tuple(each for each in self.origins if each.url in urls)
        is_left = any(each.available for each in self.origins if each not in avoided)
        return avoided if is_left else ()


def _may_go_on(request: Request, error: UpstreamError) -> bool:
    """Tell whether another backend may be asked: once more does no harm."""
    if isinstance(error, UpstreamConnectError):
        return True
    return isinstance(error, UnansweredError) and request.may_be_repeated

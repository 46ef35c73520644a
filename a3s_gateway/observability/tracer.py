"""Spans of exchanges: which ones are recorded, what they say, and what goes on to backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, evolve, frozen

from a3s_gateway.http import Exchange, Request

from .span_context import SpanContext, new_id
from .trace import extract, injected

MAX_TEXT: Final = 1024  # characters of one attribute, so that a queue of spans stays small
_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
_VERSIONS: Final = {10: "1.0", 11: "1.1", 20: "2"}
_CHANCE_BITS: Final = 56  # of a trace id: those that level 2 of Trace Context wants random


@frozen(eq=False)
class Span:
    """
    One exchange, after it is over.

    Attributes:
        context: Its ids; `above` is the caller's span.
        started_at: In nanoseconds since 1970.
        ended_at: Likewise.
        attributes: By the semantic conventions of OpenTelemetry for HTTP servers.
        has_failed: The gateway or a backend is to blame for how it ended.

    """

    context: SpanContext
    tracestate: str
    name: str
    started_at: int
    ended_at: int
    attributes: tuple[tuple[str, str | int], ...]
    has_failed: bool


@frozen(eq=False)
class OpenSpan:
    """One exchange while it lasts."""

    context: SpanContext
    tracestate: str
    started_at: int


@define(eq=False)
class Tracer:
    """
    Decides what is recorded, and hands spans on.

    Args:
        ratio: Share of the traces begun here that is recorded.
        record: Takes a span that is over.
        now: Nanoseconds since 1970.
        monotonic: The clock of `Exchange.started_at`.
        getrandbits: Makes so many random bits.

    """

    ratio: float
    record: Callable[[Span], None]
    now: Callable[[], int]
    monotonic: Callable[[], float]
    getrandbits: Callable[[int], int]

    def begin(self, request: Request) -> tuple[Request, OpenSpan | None]:
        """
        Return the request as it goes on, and its span if that is recorded.

        Where it is not, the caller's span stays the parent of what the backend does.
        """
        incoming = extract(request.headers)
        caller = incoming.context
        if caller is not None and not caller.trace_id and not caller.is_sampled:
            return request, None  # `b3: 0` goes on as it is
        context = self._ours(caller)
        headers = injected(request.headers, incoming, context)
        onward = request.with_headers(headers)
        if not context.is_sampled:
            return onward, None
        return onward, OpenSpan(context, incoming.tracestate, self.now())

    def _ours(self, caller: SpanContext | None) -> SpanContext:
        if caller is None:
            trace_id, is_sampled, is_debug = "", None, False
        else:
            trace_id, is_sampled, is_debug = caller.trace_id, caller.is_sampled, caller.is_debug
        trace_id = trace_id or new_id(128, self.getrandbits)
        if is_sampled is None:
            is_sampled = self._is_chosen(trace_id)
        if caller is not None and caller.trace_id and not is_sampled:
            return evolve(caller, is_sampled=False)
        above = caller.span_id if caller is not None else ""
        return SpanContext(trace_id, new_id(64, self.getrandbits), is_sampled, is_debug, above)

    def _is_chosen(self, trace_id: str) -> bool:
        """Choose by the id, so that another gateway with this ratio chooses the same traces."""
        return int(trace_id[-_CHANCE_BITS // 4 :], 16) < self.ratio * (1 << _CHANCE_BITS)

    def end(self, span: OpenSpan, request: Request, exchange: Exchange) -> None:
        """Record an exchange that is over."""
        lasted = max(0, int((self.monotonic() - exchange.started_at) * 1e9))
        method = request.method if request.method in _METHODS else "HTTP"
        self.record(
            Span(
                span.context,
                span.tracestate,
                f"{method} {exchange.router}" if exchange.router else method,
                span.started_at,
                span.started_at + lasted,
                attributes_of(request, exchange),
                _has_failed(exchange),
            )
        )


def _has_failed(exchange: Exchange) -> bool:
    """Tell whether it ended as it should not: what a client does wrong is no failure here."""
    if exchange.code == "CLIENT_GONE":
        return False
    return exchange.status >= 500 or (bool(exchange.code) and exchange.status < 400)


def attributes_of(request: Request, exchange: Exchange) -> tuple[tuple[str, str | int], ...]:
    """Describe an exchange; neither headers nor the query, where secrets travel."""
    is_known = request.method in _METHODS
    has_answer = exchange.first_byte_at > 0
    error = ""
    if _has_failed(exchange) or exchange.code == "CLIENT_GONE":
        error = exchange.code or str(exchange.status)
    attributes: tuple[tuple[str, str | int], ...] = (
        ("http.request.method", request.method if is_known else "_OTHER"),
        ("http.request.method_original", "" if is_known else request.method),
        ("url.path", request.path),
        ("url.scheme", request.scheme),
        ("http.response.status_code", exchange.status if has_answer else ""),
        ("http.route", exchange.router),
        ("server.address", request.host),
        ("client.address", exchange.client or exchange.peer),
        ("network.peer.address", exchange.peer),
        ("network.protocol.version", _VERSIONS[request.version]),
        ("error.type", error),
        ("a3s.entrypoint", exchange.entrypoint),
        ("a3s.service", exchange.service),
        ("a3s.backend", exchange.backend),
        ("a3s.request_id", exchange.request_id),
    )
    return tuple(
        (name, value[:MAX_TEXT] if isinstance(value, str) else value)
        for name, value in attributes
        if value != ""
    )

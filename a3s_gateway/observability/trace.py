"""Trace context in the headers of a request: what came in, and what goes out in its place."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from a3s_gateway.headers import Header, Headers

from . import b3
from .span_context import SpanContext
from .w3c import combine_tracestate, parse_traceparent, traceparent

_MULTI: Final = (b3.TRACE, b3.SPAN, b3.PARENT, b3.SAMPLED, b3.FLAGS)
_NAMES: Final = frozenset({"traceparent", "tracestate", "b3", *_MULTI})


# Headers that carry a trace context; not an enum, whose `|` costs as much as reading the headers.
W3C: Final = 1
B3: Final = 2
B3_MULTI: Final = 4


@frozen
class Incoming:
    """
    What a request says of the trace it belongs to.

    Attributes:
        context: Its caller's span; None if nothing valid is said.
        formats: `W3C | B3 | B3_MULTI`: where something is said, valid or not. It goes on there.
        tracestate: What other systems attached to a context of W3C.

    """

    context: SpanContext | None
    formats: int
    tracestate: str = ""


def extract(headers: Headers) -> Incoming:
    """
    Read the trace context of a request.

    W3C goes before B3 in one line, and that before B3 in several. What is invalid counts as
    absent, and a line that is there twice as invalid.
    """
    find = headers.find
    formats, context, tracestate = 0, None, ""
    if find("traceparent") is not None:
        formats |= W3C
        context = parse_traceparent(_only(headers, "traceparent"))
        if context is not None:
            tracestate = combine_tracestate(headers.all("tracestate"))
    if find("b3") is not None:
        formats |= B3
        context = context or b3.parse_single(_only(headers, "b3"))
    if find(b3.TRACE) is not None or find(b3.SAMPLED) is not None or find(b3.FLAGS) is not None:
        formats |= B3_MULTI
        context = context or _multi(headers)
    return Incoming(context, formats, tracestate)


def _multi(headers: Headers) -> SpanContext | None:
    fields = {name: headers.all(name) for name in _MULTI}
    if any(len(values) > 1 for values in fields.values()):
        return None
    return b3.parse_multi({name: values[0] for name, values in fields.items() if values})


def _only(headers: Headers, name: str) -> str:
    """Return the value of a field that may stand once; an invalid one if it does not."""
    first, *others = headers.all(name)
    return "" if others else first


def injected(headers: Headers, incoming: Incoming, context: SpanContext) -> Headers:
    """Say `context` in place of all that came in, in the formats that did; in W3C's if none did."""
    formats = incoming.formats or W3C
    fields: list[tuple[str, str]] = []
    if formats & W3C:
        fields.append(("traceparent", traceparent(context)))
        if incoming.tracestate:
            fields.append(("tracestate", incoming.tracestate))
    if formats & B3:
        fields.append(("b3", b3.single(context)))
    if formats & B3_MULTI:
        fields += b3.multi(context)
    kept = [header for header in headers if header.name not in _NAMES]
    return Headers([*kept, *(_line(name, value) for name, value in fields)])


def _line(name: str, value: str) -> Header:
    """Build a line without a check, the dearest part of it: ids and members were checked."""
    return Header(name.lower(), value, f"{name}: {value}\r\n".encode("ascii"))


def find_trace_id(headers: Headers) -> str | None:
    """Return the id of the trace that a request belongs to; None if it says nothing valid."""
    find = headers.find
    if find("traceparent") is not None:
        context = parse_traceparent(_only(headers, "traceparent"))
        if context is not None:
            return context.trace_id
    elif find("b3") is None and find(b3.TRACE) is None:
        return None
    context = extract(headers).context
    return context.trace_id or None if context is not None else None

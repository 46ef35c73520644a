"""B3, Zipkin's headers: one line `b3`, or several `X-B3-…` (https://github.com/openzipkin/b3-propagation)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .span_context import SPAN_ID, TRACE_ID, SpanContext

_SHORT_ID: Final = SPAN_ID  # trace ids of 64 bits look like those of spans
_SINGLE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]{16})(?:-([01d])(?:-([0-9a-f]{16}))?)?")
_DECISIONS: Final = {"0": False, "1": True, "d": True}
# Old implementations send words.
_SAMPLED: Final = {"": None, "0": False, "1": True, "false": False, "true": True}
_FLAGS: Final = {"": False, "0": False, "1": True}

TRACE, SPAN, PARENT, SAMPLED, FLAGS = (
    "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
)  # fmt: skip


def parse_single(value: str) -> SpanContext | None:
    """Read the value of `b3`; None: it is invalid. A mere decision has no ids."""
    if value in _DECISIONS:
        return SpanContext("", "", _DECISIONS[value], value == "d")
    match = _SINGLE.fullmatch(value)
    if match is None:
        return None
    trace_id, span_id, decision, above = match.groups(default="")
    return _checked(trace_id, span_id, _DECISIONS.get(decision), decision == "d", above)


def parse_multi(fields: Mapping[str, str]) -> SpanContext | None:
    """Read `X-B3-…` by lower-case name; None: they are invalid. A mere decision has no ids."""
    trace_id, span_id = fields.get(TRACE, ""), fields.get(SPAN, "")
    sampled, flags = fields.get(SAMPLED, "").lower(), fields.get(FLAGS, "")
    if sampled not in _SAMPLED or flags not in _FLAGS:
        return None
    is_debug = _FLAGS[flags]
    is_sampled = True if is_debug else _SAMPLED[sampled]
    if trace_id or span_id:
        return _checked(trace_id, span_id, is_sampled, is_debug, fields.get(PARENT, ""))
    return None if is_sampled is None else SpanContext("", "", is_sampled, is_debug)


def _checked(
    trace_id: str,
    span_id: str,
    is_sampled: bool | None,  # noqa: FBT001 - a value among values
    is_debug: bool,  # noqa: FBT001 - likewise
    above: str,
) -> SpanContext | None:
    if _SHORT_ID.fullmatch(trace_id):
        trace_id = trace_id.rjust(32, "0")
    if not TRACE_ID.fullmatch(trace_id) or not SPAN_ID.fullmatch(span_id):
        return None
    if above and not SPAN_ID.fullmatch(above):
        return None
    return SpanContext(trace_id, span_id, is_sampled, is_debug, above)


def single(context: SpanContext) -> str:
    """Write the value of `b3` for a context with ids, whose sampling is decided."""
    state = "d" if context.is_debug else "1" if context.is_sampled else "0"
    above = f"-{context.above}" if context.above else ""
    return f"{context.trace_id}-{context.span_id}-{state}{above}"


def multi(context: SpanContext) -> list[tuple[str, str]]:
    """Write the several fields for a context with ids, whose sampling is decided."""
    decision = ("X-B3-Sampled", "1" if context.is_sampled else "0")
    return [
        ("X-B3-TraceId", context.trace_id),
        ("X-B3-SpanId", context.span_id),
        *([("X-B3-ParentSpanId", context.above)] if context.above else []),
        ("X-B3-Flags", "1") if context.is_debug else decision,
    ]

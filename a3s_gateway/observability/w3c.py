"""W3C Trace Context, level 1: `traceparent` and `tracestate` (https://www.w3.org/TR/trace-context-1/)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from .span_context import SPAN_ID, TRACE_ID, SpanContext

MAX_MEMBERS: Final = 32  # of a tracestate; §3.3.1.1
MAX_STATE: Final = 512  # characters that are passed on; §3.3.1.5 asks for no more
LARGE_MEMBER: Final = 128  # characters; such members go first when there are too many characters

# §3.2.2. What versions to come add stands behind one more dash; ff is forbidden.
_TRACEPARENT: Final = re.compile(
    rf"(?!ff)([0-9a-f]{{2}})-({TRACE_ID.pattern})-({SPAN_ID.pattern})-([0-9a-f]{{2}})(-.*)?"
)
_SAMPLED: Final = 1  # the only flag of level 1

# §3.3.1.3: the key of a system, or of a tenant of one; then what it says, not ending in a blank.
_KEY: Final = r"[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
_MEMBER: Final = re.compile(rf"({_KEY})=[ -+\--<>-~]{{0,255}}[!-+\--<>-~]")


def parse_traceparent(value: str) -> SpanContext | None:
    """Read the value of `traceparent`; None: it is invalid, and a new trace begins here."""
    match = _TRACEPARENT.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "00" and rest is not None:
        return None
    return SpanContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def traceparent(context: SpanContext) -> str:
    """Write the value of `traceparent`, in the only version there is."""
    return f"00-{context.trace_id}-{context.span_id}-{'01' if context.is_sampled else '00'}"


def combine_tracestate(lines: Iterable[str]) -> str:
    """
    Join the values of all `tracestate` lines, in their order.

    Returns:
        At most `MAX_STATE` characters, whole members. Empty if there is none, or if anything in
        the lines is invalid: then no member can be trusted to be what its owner wrote.

    """
    texts = [text.strip(" \t") for line in lines for text in line.split(",")]
    members = [text for text in texts if text]  # §3.3.1.1 allows empty ones
    matches = [match for text in members if (match := _MEMBER.fullmatch(text)) is not None]
    keys = {match[1] for match in matches}
    if len(members) > MAX_MEMBERS or len(keys) != len(members):
        return ""
    return ",".join(_shortened(members))


def _shortened(members: list[str]) -> list[str]:
    """Leave members out, the large ones first and then from the end, until the rest fits."""
    excess = sum(map(len, members)) + len(members) - 1 - MAX_STATE
    kept = list(members)
    large = [index for index, member in enumerate(members) if len(member) > LARGE_MEMBER]
    small = [index for index, member in enumerate(members) if len(member) <= LARGE_MEMBER]
    for index in [*reversed(large), *reversed(small)]:
        if excess <= 0:
            break
        excess -= len(members[index]) + 1
        kept[index] = ""
    return [member for member in kept if member]

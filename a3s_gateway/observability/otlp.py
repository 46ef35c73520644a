"""Spans as a collector reads them: OTLP/HTTP in JSON (https://opentelemetry.io/docs/specs/otlp/)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from attrs import frozen

from a3s_gateway.headers import Headers

from .tracer import Span

CONTENT_TYPE: Final = "application/json"
_json: Final = json.JSONEncoder(separators=(",", ":")).encode  # to ASCII
_SERVER: Final = 2  # SPAN_KIND_SERVER
_ERROR: Final = 2  # STATUS_CODE_ERROR
_SAMPLED: Final = 0x001
_KNOWS_IF_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200  # the parent is in another process
_PASSING: Final = frozenset({429, 502, 503, 504})  # answers after which OTLP allows to try again


def export_request(spans: Iterable[str], version: str) -> bytes:
    """Render the body of one `POST`: spans from `render`; `version` is the gateway's."""
    resource = [_attribute("service.name", "a3s-gateway"), _attribute("service.version", version)]
    scope = {"name": "a3s_gateway", "version": version}
    # Spans are rendered one by one, when they end: hundreds at once would hold all else up.
    text = (
        f'{{"resourceSpans":[{{"resource":{{"attributes":{_json(resource)}}},'
        f'"scopeSpans":[{{"scope":{_json(scope)},"spans":[{",".join(spans)}]}}]}}]}}'
    )
    return text.encode("ascii")


def render(span: Span) -> str:
    """Render one span."""
    context = span.context
    flags = _SAMPLED | _KNOWS_IF_REMOTE | (_IS_REMOTE if context.above else 0)
    shown: dict[str, Any] = {
        "traceId": context.trace_id,
        "spanId": context.span_id,
        "flags": flags,
        "name": span.name,
        "kind": _SERVER,
        # 64-bit numbers are strings in the JSON of Protocol Buffers.
        "startTimeUnixNano": str(span.started_at),
        "endTimeUnixNano": str(span.ended_at),
        "attributes": [_attribute(name, value) for name, value in span.attributes],
        "status": {"code": _ERROR} if span.has_failed else {},
    }
    if context.above:
        shown["parentSpanId"] = context.above
    if span.tracestate:
        shown["traceState"] = span.tracestate
    return _json(shown)


def _attribute(name: str, value: str | int) -> dict[str, Any]:
    if isinstance(value, int):
        return {"key": name, "value": {"intValue": str(value)}}
    return {"key": name, "value": {"stringValue": value}}


@frozen
class Delivery:
    """
    What became of an attempt to deliver a batch.

    Attributes:
        fault: Why the collector does not have it; empty if it does.
        rejected: How many of its spans the collector did not want.
        may_retry: The same batch may be taken another time.
        wait: Seconds that the collector asks to be left alone.

    """

    fault: str = ""
    rejected: int = 0
    may_retry: bool = False
    wait: float = 0.0


def judge(status: int, headers: Headers, body: bytes) -> Delivery:
    """Read a collector's answer."""
    if 200 <= status < 300:
        return Delivery(rejected=_rejected(body))
    asked = headers.find("retry-after") or ""
    wait = float(asked) if re.fullmatch("[0-9]{1,9}", asked) else 0.0
    return Delivery(f"it answered {status}", 0, status in _PASSING, wait)


def _rejected(body: bytes) -> int:
    """Read how many spans were not wanted; whatever else an answer says is of no interest."""
    try:
        return max(0, int(json.loads(body)["partialSuccess"]["rejectedSpans"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0

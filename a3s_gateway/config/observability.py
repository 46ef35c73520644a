"""`access_log` and `tracing`: what is told about each request."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import frozen

from a3s_gateway.config.address import HTTP_URL, ServerUrl
from a3s_gateway.config.kinds import FLAG, PATH_OR_STDOUT, choice, number
from a3s_gateway.config.schema import Mistake, Section, key, keys

ACCESS_LOG_FIELDS = (
    "timestamp",
    "client_ip",
    "method",
    "path",
    "host",
    "status",
    "response_bytes",
    "duration_ms",
    "backend",
    "router",
    "entrypoint",
    "user_agent",
    "request_id",
    "trace_id",
    "protocol",
    "request_bytes",
    "first_byte_ms",
    "service",
    "attempts",
    "code",
    "user",
    "tls",
)


@frozen(kw_only=True)
class AccessLogConfig(Section):
    """One line for every request that ends."""

    enabled: bool = key(FLAG, "Whether it is written.", default=True)
    path: str = key(PATH_OR_STDOUT, "File to append to; empty: standard output.", default="")
    format: Literal["json", "common", "combined"] = key(
        choice("json", "common", "combined"), "What a line looks like.", default="json"
    )
    fields: tuple[str, ...] = keys(
        choice(*ACCESS_LOG_FIELDS),
        "Which fields a JSON line has, in this order; empty: all.",
        example='["timestamp", "method", "path", "status"]',
    )
    sample: float = key(
        number(0, 1), "Share of the requests that is logged; errors always are.", default=1.0
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse `fields` for a format whose fields are fixed."""
        if self.fields and self.format != "json":
            hint = 'leave "fields" out, or use format = "json"'
            yield Mistake("fields", f'the fields of format "{self.format}" are fixed', hint)


@frozen(kw_only=True)
class TracingConfig(Section):
    """Where spans are sent."""

    endpoint: ServerUrl | None = key(
        HTTP_URL,
        "OTLP/HTTP collector; none: trace ids are passed on, and no spans are sent.",
        default=None,
        example='"http://127.0.0.1:4318/v1/traces"',
    )
    sample_ratio: float = key(
        number(0, 1), "Share of the traces begun here that is sampled.", default=1.0
    )

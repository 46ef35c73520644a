"""What the gateway itself answers: the faults, their codes, and the one table of both."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from .body import Body
from .headers import Headers
from .http import Request, Response
from .protocol.grpc import encode_message, status_of


@frozen
class Fault:
    """
    Why the gateway, not a backend, wrote an answer.

    `code` is stable: it stands in the answer, in the log, in metrics and in the docs.
    """

    code: str
    status: int
    text: str
    meaning: str  # for the docs: when it happens and what to look at


FAULTS: Final = {
    fault.code: fault
    for fault in (
        Fault(
            "BAD_REQUEST",
            400,
            "Bad request",
            "The request breaks a rule of HTTP; the text says which. The connection is closed.",
        ),
        Fault(
            "REQUEST_TIMEOUT",
            408,
            "Request timed out",
            "The client began a request and did not go on: see `timeouts` of the entrypoint.",
        ),
        Fault(
            "URI_TOO_LONG",
            414,
            "Request target too long",
            "The request target is longer than `limits.max_target_bytes` of the entrypoint.",
        ),
        Fault(
            "EXPECTATION_FAILED",
            417,
            "Expectation failed",
            "`Expect` asks for something other than `100-continue`.",
        ),
        Fault(
            "UPGRADE_REQUIRED",
            426,
            "Upgrade required",
            "A WebSocket is opened with another `Sec-WebSocket-Version` than 13.",
        ),
        Fault(
            "HEADERS_TOO_LARGE",
            431,
            "Request header fields too large",
            "The head, its number of lines or the trailers are above the entrypoint's `limits`.",
        ),
        Fault(
            "ENHANCE_YOUR_CALM",
            429,
            "Too many HTTP/2 frames",
            "Only in logs and metrics: an HTTP/2 client cost more than it may, by resets, frames "
            "that carry nothing, or endless heads; its connection was closed. See `http2` of the "
            "entrypoint.",
        ),
        Fault(
            "NOT_IMPLEMENTED",
            501,
            "Not implemented",
            "The request uses a transfer coding other than `chunked`.",
        ),
        Fault(
            "VERSION_NOT_SUPPORTED",
            505,
            "HTTP version not supported",
            "The request's version is neither HTTP/1.0 nor HTTP/1.1.",
        ),
        Fault(
            "ORIGIN_NOT_ALLOWED",
            403,
            "Origin not allowed",
            "A page that is not among `ws_mux.allowed_origins` opens a WebSocket, or one that no "
            "origin of a `cors` middleware stands for asks what it may do.",
        ),
        Fault(
            "FORBIDDEN",
            403,
            "Forbidden",
            "The client's address is not one that an `ip-allow` middleware lets in.",
        ),
        Fault(
            "BODY_TOO_LARGE",
            413,
            "Request body too large",
            "The body is larger than `max_body_bytes` of a `body-limit` middleware.",
        ),
        Fault(
            "NO_ROUTE",
            404,
            "No route matched",
            "No router of this entrypoint has a rule that matches: see `rule` and `entrypoints`.",
        ),
        Fault(
            "CLIENT_HELLO",
            400,
            "Malformed ClientHello",
            "On TCP: the client began as TLS does, and broke its rules before it was routed.",
        ),
        Fault(
            "PROXY_HEADER",
            400,
            "Malformed PROXY header",
            "A peer in `proxy_protocol.trusted_ips` did not begin with a header of that protocol.",
        ),
        Fault(
            "CONNECTION_NOT_ALLOWED",
            403,
            "Connection not allowed",
            "On TCP: the client is not in `tcp_allowed_ips` of the entrypoint, or in `allowed_ips` "
            "of a `tcp-filter`. It was closed at once.",
        ),
        Fault(
            "TOO_MANY_CONNECTIONS",
            503,
            "Too many connections",
            "On TCP: `max_connections` of the entrypoint or of a `tcp-filter` was reached. "
            "The connection was closed at once.",
        ),
        Fault(
            "IDLE_TIMEOUT",
            504,
            "Connection idle",
            "On TCP: nobody sent anything for `stream_idle_timeout` of the load balancer, or "
            "`stream_total_timeout` was over.",
        ),
        Fault(
            "NO_HEALTHY_BACKEND",
            503,
            "No healthy backends",
            "The service has no server that may be used, or every server has been tried.",
        ),
        Fault(
            "UPSTREAM_CONNECT",
            502,
            "Upstream connection failed",
            "No server of the service could be connected to; the log says why.",
        ),
        Fault(
            "UPSTREAM_PROTOCOL",
            502,
            "Upstream sent an invalid response",
            "The backend's answer breaks a rule of HTTP; the log says which.",
        ),
        Fault(
            "UPSTREAM_NO_UPGRADE",
            502,
            "Upstream takes no upgrades",
            "A WebSocket or another upgrade is for a backend of HTTP/2 whose settings do not allow "
            'extended CONNECT (RFC 8441); `protocol = "http1"` of the load balancer or a server '
            "by `http` reaches it otherwise.",
        ),
        Fault(
            "UPSTREAM_RESET",
            502,
            "Upstream closed the connection",
            "The backend closed the connection before its answer was complete.",
        ),
        Fault(
            "UPSTREAM_TIMEOUT",
            504,
            "Upstream timed out",
            "The backend did not answer in time: `connect_timeout`, `request_timeout`, "
            "`stream_idle_timeout` and `stream_total_timeout` of the load balancer.",
        ),
        Fault(
            "TUNNEL_IDLE",
            504,
            "Nothing was said for too long",
            "Only in logs and metrics: a WebSocket or another tunnel was closed since nothing "
            "had come from either side for `stream_idle_timeout` of the load balancer.",
        ),
        Fault(
            "RATE_LIMITED",
            429,
            "Rate limit exceeded",
            "A `rate-limit` or `rate-limit-redis` has no token left for the client; `Retry-After` "
            "says when there is one.",
        ),
        Fault(
            "RATE_LIMIT_UNAVAILABLE",
            503,
            "Rate limit unavailable",
            'Redis does not answer, and `rate-limit-redis` has `on_error = "closed"`.',
        ),
        Fault(
            "CIRCUIT_OPEN",
            503,
            "Service unavailable (circuit breaker open)",
            "A `circuit-breaker` gives the service a rest since it failed too often in a row; "
            "`Retry-After` says for how long.",
        ),
        Fault(
            "UPSTREAM_BUSY",
            503,
            "Upstream has no free connection",
            "Every server is at `pool.max_connections`, and none came free in time.",
        ),
        Fault(
            "CLIENT_GONE",
            499,
            "Client closed the request",
            "Only in logs and metrics: the client went away before it had the whole answer.",
        ),
        Fault(
            "SESSION_EVICTED",
            503,
            "Session evicted",
            "Only in logs and metrics: `udp_max_sessions` of the entrypoint was reached, and this "
            "session had been silent for longest.",
        ),
        Fault(
            "SHUTTING_DOWN",
            503,
            "Gateway is shutting down",
            "The gateway stops, and the request was not answered within `shutdown_timeout_secs`.",
        ),
        Fault(
            "MIDDLEWARE_FAILED",
            500,
            "Middleware failed",
            "A middleware that does not come with the gateway failed, or took too long, and has "
            '`on_error = "closed"`; the application log has its name and why.',
        ),
        Fault(
            "INTERNAL",
            500,
            "Internal error",
            "A fault of the gateway itself; the application log has the details.",
        ),
    )
}


class GatewayError(Exception):
    """
    A request could not be served; `detail` is for the log and never leaves the gateway.

    `message`, when given, replaces the fault's text in the answer.
    """

    def __init__(self, code: str, detail: str = "", message: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.fault = FAULTS[code]
        self.detail = detail
        self.message = message


class UpstreamError(GatewayError):
    """No complete answer could be had from a backend."""


class UpstreamConnectError(UpstreamError):
    """The backend never heard of the request: another one may be tried."""


class UnansweredError(UpstreamError):
    """The backend went without a byte of an answer; it may have acted on the request."""


class ProtocolError(Exception):
    """A rule of the wire format was broken; `code` is that of a fault of this table."""

    def __init__(self, reason: str, code: str = "BAD_REQUEST") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class RemoteProtocolError(ProtocolError):
    """The peer broke it."""


class LocalProtocolError(ProtocolError):
    """We would break it: an error in the gateway."""


_FIT_FOR_AN_UPGRADE: Final = Headers.of(("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
_STANDARD: Final = frozenset(int(status) for status in HTTPStatus)
_JSON_TYPE: Final = ("Content-Type", "application/json")


def to_response(error: GatewayError, request: Request) -> Response:
    """Say to the client what went wrong, in its protocol; nothing of the inside is told."""
    fault = error.fault
    text = error.message or fault.text
    if is_grpc(request):
        return _grpc_answer(fault, text)
    return _answer(fault, text, request.exchange.request_id)


def refusal(error: ProtocolError, request_id: str) -> Response:
    """Answer bytes that are not an acceptable request."""
    fault = FAULTS[error.code]
    text = f"{fault.text}: {error.reason}" if error.reason else fault.text
    answer = _answer(fault, text, request_id)
    if fault.status == 426:  # RFC 6455 §4.4
        return evolve(answer, headers=answer.headers.joined(_FIT_FOR_AN_UPGRADE))
    return answer


def is_grpc(request: Request) -> bool:
    """Whether the client speaks gRPC, and so reads `grpc-status` instead of a body."""
    kind = request.headers.find("content-type")
    if kind is None or not kind.startswith("application/grpc"):
        return False
    return kind[16:17] in ("", "+", ";")  # not application/grpc-web


def _grpc_answer(fault: Fault, text: str) -> Response:
    """Say it as a trailers-only answer (gRPC over HTTP/2, `Trailers-Only`)."""
    headers = Headers.of(
        ("Content-Type", "application/grpc"),
        ("grpc-status", str(status_of(fault.status))),
        ("grpc-message", encode_message(text)),
        ("X-Gateway-Error", fault.code),
    )
    return Response(200, headers, Body.of(b""), fault=fault)


def _answer(fault: Fault, text: str, request_id: str) -> Response:
    body = json.dumps({"error": text, "code": fault.code, "request_id": request_id}).encode()
    headers = Headers.of(_JSON_TYPE, ("X-Gateway-Error", fault.code))
    reason = "" if fault.status in _STANDARD else fault.text
    return Response(fault.status, headers, Body.of(body), reason, fault)


_PAGE: Final = """\
# Errors

What the gateway answers itself, when no backend does. This page is generated from the table that
the answers are made of.

The code stands in the answer's `X-Gateway-Error` field and in its body, in the access log as
`code`, and in the metric `gateway_errors_total`. The `request_id` is the one that the access log
and the backends have, too. What went wrong inside is told in the application log only.

```json
{"error": "No route matched", "code": "NO_ROUTE", "request_id": "0f3c9d1e5b7a48d2a6c1e4f708b92d35"}
```

A gRPC client gets status 200 with the fields `grpc-status` and `grpc-message` instead, and no body.

| code | status | gRPC | text | meaning |
|---|---|---|---|---|
"""


def page() -> str:
    """Write the table for people: `docs/errors.md`."""
    rows = [
        f"| `{each.code}` | {each.status} | {status_of(each.status)} | {each.text} "
        f"| {each.meaning} |\n"
        for each in sorted(FAULTS.values(), key=lambda each: each.status)
    ]
    return _PAGE + "".join(rows)


def main() -> None:
    """Write the page where the command line says."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()

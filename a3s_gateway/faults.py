"""Why the gateway itself answers: every fault, its code, its status and its text, in one table."""

from __future__ import annotations

from typing import Final

from attrs import frozen


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
            "The body is larger than `max_body_bytes` of a `body-limit` middleware, or of "
            "`forward-auth` with `forward_body`.",
        ),
        Fault(
            "INVALID_API_KEY",
            401,
            "Invalid or missing API key",
            "A middleware of type `api-key` knows no such key.",
        ),
        Fault(
            "INVALID_CREDENTIALS",
            401,
            "Invalid credentials",
            "A middleware of type `basic-auth` got no user name and password that belong together.",
        ),
        Fault(
            "INVALID_TOKEN",
            401,
            "JWT validation failed",
            "A middleware of type `jwt` got no valid token; the text, and `WWW-Authenticate`, say "
            "what is wrong with it.",
        ),
        Fault(
            "AUTH_UNAVAILABLE",
            502,
            "Auth service unavailable",
            "The service that a middleware of type `forward-auth` asks does not answer, or the "
            "keys that one of type `jwt` needs cannot be had, or not in time.",
        ),
        Fault(
            "AUTH_BUSY",
            503,
            "Too many passwords to verify",
            "Verifying takes long by design, and a middleware of type `basic-auth` has more to do "
            "than it may.",
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

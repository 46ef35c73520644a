"""Requests for the tests of routing."""

from __future__ import annotations

from a3s_gateway.body import Body
from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Request
from a3s_gateway.protocol.target import host_of, parse_target


def request(
    authority: str = "example.com",
    target: str = "/",
    *headers: tuple[str, str],
    method: str = "GET",
    client: str = "192.0.2.1",
) -> Request:
    """Build a request as a connection would, from the authority and target on the wire."""
    path, query, _ = parse_target(method, target.encode())
    return Request(
        method, path, query, host_of(authority), authority, 11, "http",
        Headers.of(*headers), Body.of(b""), client, Exchange("web", client, 0.0),
    )  # fmt: skip

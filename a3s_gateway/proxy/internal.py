"""Services that the gateway itself provides: what a router may name as `…@internal`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from a3s_gateway.body import Body
from a3s_gateway.headers import Headers
from a3s_gateway.http import Handler, Request, Response

Wall = Callable[[], float]


def ping(wall: Wall) -> Handler:
    """Answer that the gateway is there."""

    async def answer(request: Request) -> Response:  # noqa: ARG001
        return _text(wall, "OK\n")

    return answer


def whoami(wall: Wall) -> Handler:
    """Answer with what was received, as a backend would have received it."""
    host = socket.gethostname()

    async def answer(request: Request) -> Response:
        exchange = request.exchange
        lines = [
            f"Hostname: {host}",
            f"RemoteAddr: {exchange.peer}",
            f"Client: {request.client}",
            f"Router: {exchange.router}",
            f"{request.method} {request.target} HTTP/1.1",
            f"Host: {request.authority}",
        ]
        fields = request.headers.wire.decode("latin-1").splitlines()
        return _text(wall, "\n".join([*lines, *fields, f"X-Request-Id: {exchange.request_id}", ""]))

    return answer


INTERNAL: Final[dict[str, Callable[[Wall], Handler]]] = {
    "ping@internal": ping,
    "whoami@internal": whoami,
}


def _text(wall: Wall, text: str) -> Response:
    headers = Headers.of(
        ("Content-Type", "text/plain; charset=utf-8"), ("Date", formatdate(wall(), usegmt=True))
    )
    return Response(200, headers, Body.of(text.encode("utf-8", "surrogateescape")))

"""Services that the gateway itself provides: what a router may name as `…@internal`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from a3s_gateway.body import Body
from a3s_gateway.headers import Headers, date
from a3s_gateway.http import Handler, Request, Response

if TYPE_CHECKING:
    from a3s_gateway.config.ws_mux import WsMuxConfig

    from .ws_mux import Multiplexer

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


def mux_on(reactor: Any) -> Callable[[WsMuxConfig, Callable[..., Any]], Multiplexer]:
    """Prepare to make what takes WebSockets in; the code comes with the first router to it."""

    def make(config: WsMuxConfig, lease: Callable[..., Any]) -> Multiplexer:
        from .ws_mux import multiplexer  # noqa: PLC0415 - a megabyte that few need

        return multiplexer(reactor, config, lease)

    return make


INTERNAL: Final[dict[str, Callable[[Wall], Handler]]] = {
    "ping@internal": ping,
    "whoami@internal": whoami,
}


def _text(wall: Wall, text: str) -> Response:
    headers = Headers.of(("Content-Type", "text/plain; charset=utf-8")).plus(date(wall()))
    return Response(200, headers, Body.of(text.encode("utf-8", "surrogateescape")))

"""Answers that last: what proxies before this gateway have to know of them."""

from __future__ import annotations

from typing import Final

from a3s_gateway.headers import Header
from a3s_gateway.http import Response

EVENTS: Final = "text/event-stream"
_UNBUFFERED: Final = Header.of("X-Accel-Buffering", "no")


def unbuffered(response: Response) -> Response:
    """
    Ask who is before us to hand a stream of events on as it comes, as we do.

    nginx, and what has learned from it, would keep the events until a buffer is full; what
    the backend says of it itself stays.
    """
    headers = response.headers
    kind = headers.find("content-type")
    if kind is None or not kind.lower().startswith(EVENTS) or "x-accel-buffering" in headers:
        return response
    return response.with_headers(headers.plus(_UNBUFFERED))

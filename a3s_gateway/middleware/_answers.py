"""Answers as middlewares need them: faults as answers, and the date of those that are ours."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.headers import Header
from a3s_gateway.http import Handler, Request, Response


async def answered(next: Handler, request: Request) -> Response:
    """Let `next` answer; a fault that it raises is an answer like others, to be changed."""
    try:
        return await next(request)
    except GatewayError as error:
        return to_response(error, request)


def date(wall: Callable[[], float]) -> Header:
    """Return the Date of an answer that is neither a backend's nor a fault."""
    return Header.of("Date", formatdate(wall(), usegmt=True))

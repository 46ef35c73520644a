"""What a client is told whose request is not fit to be answered, before its connection closes."""

from __future__ import annotations

from email.utils import formatdate
from time import time

from a3s_gateway.errors import RemoteProtocolError, refusal
from a3s_gateway.headers import Header, Headers


def last_words(error: RemoteProtocolError, request_id: str) -> tuple[int, Headers, bytes]:
    """Return status, fields and body of the refusal."""
    response = refusal(error, request_id)
    headers = response.headers.plus(date(), Header.of("X-Request-Id", request_id))
    return response.status, headers, response.body.take()


def date() -> Header:
    """Return the Date of an answer that no backend gave."""
    return Header.of("Date", formatdate(time(), usegmt=True))

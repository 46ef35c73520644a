"""What a client is told where there is no answer: of a request not fit for one, or of ours."""

from __future__ import annotations

from time import time

from twisted.logger import Logger

from a3s_gateway.errors import GatewayError, RemoteProtocolError, refusal
from a3s_gateway.headers import Header, Headers, date
from a3s_gateway.http import Request

_log = Logger()


def last_words(error: RemoteProtocolError, request_id: str) -> tuple[int, Headers, bytes]:
    """Return status, fields and body of the refusal."""
    response = refusal(error, request_id)
    headers = response.headers.plus(date(time()), Header.of("X-Request-Id", request_id))
    return response.status, headers, response.body.take()


def fault_of(error: BaseException, request: Request) -> GatewayError:
    """Return what a handler meant by what it raised; what it did not mean is ours, and logged."""
    if isinstance(error, GatewayError):
        return error
    _log.failure("{method} {path} failed", method=request.method, path=request.path)
    return GatewayError("INTERNAL", repr(error))

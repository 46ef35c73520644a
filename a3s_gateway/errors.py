"""What the gateway itself answers: exceptions, and how each becomes an answer."""

from __future__ import annotations

import json
import sys
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from attrs import evolve

from .body import Body
from .faults import FAULTS, Fault
from .headers import Headers
from .http import Request, Response
from .protocol.grpc import encode_message, status_of


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


def refuse(request: Request, code: str, *fields: tuple[str, str], message: str = "") -> Response:
    """
    Answer a request that a middleware does not let pass.

    Args:
        request: It.
        code: Of the table.
        fields: Header fields that belong to the answer.
        message: In place of the fault's text.

    """
    answer = to_response(GatewayError(code, message=message), request)
    return evolve(answer, headers=answer.headers.joined(Headers.of(*fields)))


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
    reason = "" if fault.status in _STANDARD else fault.text
    return Response(fault.status, _headers_of(fault), Body.of(body), reason, fault)


@cache
def _headers_of(fault: Fault) -> Headers:
    """Make them once: refusals may come by the thousand, and the faults are those of a table."""
    return Headers.of(_JSON_TYPE, ("X-Gateway-Error", fault.code))


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

"""From the fields of a block to the head of a response (RFC 9113 §8.3.2)."""

from __future__ import annotations

import re
from typing import Final

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import CONTENT_LENGTH, PLAIN, REQUEST_ID, TE, Header, Headers
from a3s_gateway.protocol.codec import CHUNKED, Informational, ResponseHead

from .hpack import Field
from .request_head import header

MAX_FIELDS: Final = 256
_STATUS: Final = re.compile(rb"[1-9][0-9][0-9]")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_STRIPPED: Final = frozenset({REQUEST_ID, TE})  # that id is ours to send back


def parse_response(
    fields: list[Field], *, method: str, number: int
) -> ResponseHead | Informational:
    """
    Parse a head.

    Args:
        fields: Of one block.
        method: Of the request.
        number: Of the stream.

    Raises:
        RemoteProtocolError: It is malformed (§8.1.1).

    """
    if not fields or fields[0][0] != b":status" or not _STATUS.fullmatch(fields[0][1]):
        raise RemoteProtocolError("the response has no valid status")
    status = int(fields[0][1])
    headers, announced = _split(fields)
    if status < 200:
        if status == 101:  # §8.6
            raise RemoteProtocolError("the response switches protocols, which HTTP/2 cannot")
        return Informational(status, "", headers, number)
    if method == "CONNECT" and status < 300:
        announced = None  # RFC 9110 §8.6: what follows is a tunnel
    has_body = method != "HEAD" and status not in (204, 304)
    length = (CHUNKED if announced is None else announced) if has_body else 0
    return ResponseHead(status, "", headers, length, True, announced, number)  # noqa: FBT003


def _split(fields: list[Field]) -> tuple[Headers, int | None]:
    """Return the end-to-end fields, and what Content-Length says."""
    if len(fields) > MAX_FIELDS:
        raise RemoteProtocolError("the response head has too many fields")
    plain: list[Header] = []
    announced = None
    for field in fields[1:]:
        line = header(field)
        kind = line.kind
        if kind == PLAIN:
            plain.append(line)
        elif kind == CONTENT_LENGTH:
            if announced is not None or _LENGTH.fullmatch(line.value) is None:
                raise RemoteProtocolError("the response's Content-Length is bad or repeated")
            announced = int(line.value)
        elif kind not in _STRIPPED:
            plain.append(line)
    return Headers(plain), announced

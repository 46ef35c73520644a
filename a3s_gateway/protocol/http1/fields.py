"""Field lines: validated once, then known (RFC 9110 §5, RFC 9112 §5)."""

from __future__ import annotations

from typing import Final

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import FIELD_LINE, PLAIN, REQUEST_ID, SECRET_NAME, Header, Headers
from a3s_gateway.protocol.cache import TwoGenerations

CACHED_LINES: Final = 4096  # per generation; with 256 bytes a line, 2 MiB at the most
CACHED_LINE_SIZE: Final = 256  # bytes; longer ones seldom repeat

# RFC 9110 §6.5.1: fields that frame, route, authenticate or describe cannot come late.
NOT_IN_TRAILERS: Final = frozenset(
    {
        "authorization", "cache-control", "content-encoding", "content-range", "content-type",
        "cookie", "max-forwards", "proxy-authenticate", "set-cookie", "trailer",
        "www-authenticate",
    }
)  # fmt: skip

_known: Final[TwoGenerations[bytes, Header]] = TwoGenerations(CACHED_LINES)


def header(line: bytes) -> Header:
    """
    Return the field that `line` (without CRLF) is.

    Raises:
        RemoteProtocolError: It is not one: a blank before the colon, an obsolete fold, a
            control character, an empty name.

    """
    found = _known.get(line)
    return found if found is not None else _learn(line)


def known_lines() -> dict[bytes, Header]:
    """Return the young generation, for a look-up that costs no call."""
    return _known.young


def _learn(line: bytes) -> Header:
    match = FIELD_LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError(_what_is_wrong(line))
    name = match[1].decode("ascii").lower()
    made = Header(name, match[2].decode("latin-1"), line + b"\r\n")
    if len(line) <= CACHED_LINE_SIZE and made.kind != REQUEST_ID and not SECRET_NAME.search(name):
        _known.put(line, made)
    return made


def _what_is_wrong(line: bytes) -> str:
    name, colon, _ = line.partition(b":")
    if line[:1] in (b" ", b"\t"):
        return "a header line starts with a blank"
    if not colon:
        return "a header line has no colon"
    if name.rstrip(b" \t") != name:
        return "a blank stands before the colon of a header"
    if FIELD_LINE.fullmatch(name + b":") is None:
        return "a header name is not a token"
    return "a header value has a control character"


def has_bare_line_end(data: bytes) -> bool:
    """Whether a CR or a LF stands alone; a CR at the very end may still get its LF."""
    # Counting is ten times as fast as a pattern, and a client may send a head byte by byte.
    pairs = data.count(b"\r\n")
    return data.count(b"\n") != pairs or data.count(b"\r") - data.endswith(b"\r") != pairs


def trailers(lines: list[bytes]) -> Headers:
    """Parse trailer fields; those that may not come so late are left out."""
    fields = [header(line) for line in lines]
    return Headers(f for f in fields if f.kind == PLAIN and f.name not in NOT_IN_TRAILERS)


def connection_options(values: list[str]) -> list[str]:
    """
    Return the options of the Connection fields, in lower case.

    Raises:
        RemoteProtocolError: One nominates a field that frames or routes the message, which
            would make it vanish on the way (RFC 9110 §7.6.1).

    """
    options = [option.strip().lower() for value in values for option in value.split(",")]
    for option in options:
        if option in _NEVER_HOP_BY_HOP:
            raise RemoteProtocolError(f"Connection nominates {option}")
    return [option for option in options if option]


_NEVER_HOP_BY_HOP: Final = frozenset(
    {
        "authorization", "cache-control", "content-length", "content-type", "cookie", "date",
        "expect", "host", "max-forwards", "pragma", "range", "set-cookie", "transfer-encoding",
        "trailer",
    }
)  # fmt: skip

"""Request targets and authorities: one canonical form (RFC 3986 §6.2.2, RFC 9112 §3.2)."""

from __future__ import annotations

import re
from typing import Final

from a3s_gateway.errors import RemoteProtocolError

from .cache import TwoGenerations

_PLAIN_TARGET: Final = re.compile(
    rb"(/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*+)(?:\?([\x21\x22\x24-\x7e\x80-\xff]*+))?"
)
_ANY_TARGET: Final = re.compile(
    rb"(/[^\x00-\x20\x7f?#\\]*+)(?:\?([\x21\x22\x24-\x7e\x80-\xff]*+))?"
)
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# A name or an IPv4 address, or an IPv6 literal; then perhaps a port (RFC 3986 §3.2.2, without
# the sub-delimiters, which no name has and lists of forwarded hosts would split at).
_AUTHORITY: Final = re.compile(
    r"([A-Za-z0-9._~\-]++|\[[0-9A-Fa-f:.]++(?:%25[A-Za-z0-9._~\-]++)?\])(?::([0-9]{0,5}))?"
)
MAX_PORT: Final = 65535
_CACHED_AUTHORITY: Final = 260  # characters: the longest DNS name with a port

_hosts: Final[TwoGenerations[str, str]] = TwoGenerations(2048)


def parse_target(method: str, target: bytes) -> tuple[str, str | None, str | None]:
    """
    Split a request target into canonical path, query, and authority (absolute form only).

    Raises:
        RemoteProtocolError: It is of no form that this method may have, or cannot be
            made canonical (a backslash, a NUL, a broken escape).

    """
    match = _PLAIN_TARGET.fullmatch(target)
    if match is not None:
        path, query = match.groups()
        if b"/." not in path:
            return path.decode("ascii"), None if query is None else query.decode("latin-1"), None
    return _parse_other(method, target)


def _parse_other(method: str, target: bytes) -> tuple[str, str | None, str | None]:
    if method == "CONNECT":
        raise RemoteProtocolError("no route takes CONNECT")
    if target == b"*":
        if method != "OPTIONS":
            raise RemoteProtocolError("only OPTIONS may ask for *")
        return "*", None, None
    authority = None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        authority = absolute[1].decode("latin-1")
        rest = absolute[2]
        if not rest and method == "OPTIONS":
            return "*", None, authority
        target = rest if rest.startswith(b"/") else b"/" + rest
    match = _ANY_TARGET.fullmatch(target)
    if match is None:
        raise RemoteProtocolError("the request target is malformed")
    path, query = match.groups()
    return canonical_path(path), None if query is None else query.decode("latin-1"), authority


def canonical_path(path: bytes) -> str:
    """
    Decode unreserved characters, upper-case the other escapes, remove dot segments.

    `%2F` stays an escape, and repeated slashes stay.

    Raises:
        RemoteProtocolError: An escape is broken, or is that of a NUL.

    """
    text = path.decode("latin-1")
    if not text.isascii():
        text = "".join(c if c < "\x80" else f"%{ord(c):02X}" for c in text)
    return _without_dot_segments(_ESCAPE.sub(_canonical_escape, text))


def _canonical_escape(match: re.Match[str]) -> str:
    digits = match[1]
    if digits is None:
        raise RemoteProtocolError("the path has a broken percent escape")
    if digits == "00":
        raise RemoteProtocolError("the path has an encoded NUL")
    character = chr(int(digits, 16))
    return character if character in _UNRESERVED else f"%{digits.upper()}"


def _without_dot_segments(path: str) -> str:
    """Apply RFC 3986 §5.2.4; what would leave the root stays at the root."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def host_of(authority: str) -> str:
    """
    Return the host of an authority for matching: lower case, no port, no trailing dot.

    Raises:
        RemoteProtocolError: It is empty or malformed.

    """
    known = _hosts.get(authority)
    if known is not None:
        return known
    match = _AUTHORITY.fullmatch(authority)
    if match is None or int(match[2] or 0) > MAX_PORT:
        raise RemoteProtocolError("the host is malformed")
    host = match[1].lower()
    if host.endswith(".") and host != ".":
        host = host[:-1]
    if len(authority) <= _CACHED_AUTHORITY:
        _hosts.put(authority, host)
    return host

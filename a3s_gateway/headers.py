"""Header fields: one validated line each, in an immutable list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from typing import Final, Self

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
# RFC 9110 §5.5: visible characters, obs-text, and blanks that are not at an end.
FIELD_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+"
    rb"((?:[\x21-\x7e\x80-\xff]++(?:[ \t]++(?=[\x21-\x7e\x80-\xff]))?+)*+)[ \t]*+"
)

# What is, or by its name may be, a credential: never in a cache that connections share. The name
# of an API key's field is the user's choice.
SECRET_NAME: Final = re.compile(
    "auth|cookie|key|token|secret|session|password|credential|signature"
)

# What a field means to a hop (RFC 9110 §7.6.1 and §7.8, RFC 9112); PLAIN fields just travel.
PLAIN: Final = 0
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
EXPECT: Final = 5
UPGRADE: Final = 6
TE: Final = 7
HOP_BY_HOP: Final = 8
FORWARDED: Final = 9
REQUEST_ID: Final = 10
HTTP2_SETTINGS: Final = 11

_FORWARDED_NAMES: Final = (
    "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
    "x-forwarded-port", "x-real-ip",
    # What we say of a client's certificate (`entrypoint/client_certificate.py`), and RFC 9440.
    "x-client-cert-verified", "x-client-cert-subject", "x-client-cert-issuer",
    "x-client-cert-serial", "x-client-cert-fingerprint", "x-client-cert-not-after",
    "x-client-cert-names", "client-cert", "client-cert-chain",
)  # fmt: skip


def _spellings(name: str) -> set[str]:
    """Return `name` with `_` in place of none, some or all of its `-`."""
    first, *others = name.split("-")
    spellings = {first}
    for part in others:
        spellings = {f"{start}{dash}{part}" for start in spellings for dash in "-_"}
    return spellings


_KINDS: Final = {
    "host": HOST,
    "content-length": CONTENT_LENGTH,
    "transfer-encoding": TRANSFER_ENCODING,
    "connection": CONNECTION,
    "expect": EXPECT,
    "upgrade": UPGRADE,
    "te": TE,
    "keep-alive": HOP_BY_HOP,
    "proxy-connection": HOP_BY_HOP,
    "proxy-authenticate": HOP_BY_HOP,
    "proxy-authorization": HOP_BY_HOP,
    "x-request-id": REQUEST_ID,
    "http2-settings": HTTP2_SETTINGS,
    # Backends that fold `-` into `_` (CGI, WSGI) would take every spelling for ours.
    **{spelling: FORWARDED for name in _FORWARDED_NAMES for spelling in _spellings(name)},
}


def folded(name: str) -> str:
    """Return a name (lower case) as those see it who take `_` for `-`: CGI, WSGI and their like."""
    return name.replace("_", "-")


class Header:
    """
    One validated field line.

    Immutable and shared between requests, so that the parser's cache of known lines
    is a cache of these.

    Attributes:
        name: In lower case.
        value: Without blanks around it.
        wire: The line as it is sent, with its CRLF.
        kind: What the field means to a hop: `PLAIN` or one of the constants beside it.

    """

    __slots__ = ("kind", "name", "value", "wire")

    def __init__(self, name: str, value: str, wire: bytes) -> None:
        self.name = name
        self.value = value
        self.wire = wire
        self.kind = _KINDS.get(name, PLAIN)

    @classmethod
    def of(cls, name: str, value: str) -> Self:
        """Build the line; raises `ValueError` for what may not stand in a header."""
        line = f"{name}: {value}".encode("latin-1")
        if FIELD_LINE.fullmatch(line) is None:
            raise ValueError(f"not a valid header field: {name!r}")
        return cls(name.lower(), value.strip(" \t"), line + b"\r\n")

    def __repr__(self) -> str:
        return f"Header({self.name}: …)"  # a value may be a secret

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and self.wire == other.wire

    def __hash__(self) -> int:
        return hash(self.wire)


class Headers:
    """
    The end-to-end fields of one head, in order, repeats kept; changed by building another.

    Host, Content-Length and the hop-by-hop fields are not among them: those live in
    `Request.authority`, in `Body.length` and in the codec.
    """

    __slots__ = ("_first", "_items", "_joined", "_wire", "_without")

    def __init__(self, items: Iterable[Header] = ()) -> None:
        self._items = tuple(items)
        self._wire: bytes | None = None
        self._first: dict[str, str] | None = None  # the first value of each name
        # What was derived last, and how: a head that comes again (they are remembered) gives the
        # same objects again, whose bytes are joined already.
        self._without: tuple[tuple[str, ...], Headers] | None = None
        self._joined: tuple[Headers, Headers] | None = None

    @classmethod
    def of(cls, *pairs: tuple[str, str]) -> Self:
        """Build from (name, value) pairs; raises `ValueError` as `Header.of` does."""
        return cls(Header.of(name, value) for name, value in pairs)

    @property
    def wire(self) -> bytes:
        """All lines as they are sent, each with its CRLF; joined once."""
        wire = self._wire
        if wire is None:
            wire = self._wire = b"".join([header.wire for header in self._items])
        return wire

    def __iter__(self) -> Iterator[Header]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Headers({', '.join(header.name for header in self._items)})"

    def find(self, name: str) -> str | None:
        """Return the first value of `name` (lower case), or None."""
        first = self._first
        if first is None:
            first = self._first = {h.name: h.value for h in reversed(self._items)}
        return first.get(name)

    def all(self, name: str) -> list[str]:
        """Return every value of `name` (lower case), in order."""
        return [header.value for header in self._items if header.name == name]

    def without(self, *names: str) -> Headers:
        """Leave out every line of these names (lower case)."""
        last = self._without
        if last is not None and last[0] == names:
            return last[1]
        headers = Headers([header for header in self._items if header.name not in names])
        self._without = (names, headers)
        return headers

    def plus(self, *headers: Header) -> Headers:
        """Append lines."""
        return Headers(self._items + headers)

    def joined(self, others: Headers) -> Headers:
        """Append another head's lines; their bytes are joined already."""
        last = self._joined
        if last is not None and last[0] is others:
            return last[1]
        headers = Headers(self._items + others._items)
        headers._wire = self.wire + others.wire
        self._joined = (others, headers)
        return headers

    def replaced(self, name: str, value: str) -> Headers:
        """Put one line in place of all lines of this name."""
        return self.without(name.lower()).plus(Header.of(name, value))


EMPTY_HEADERS: Final = Headers()


def date(seconds: float) -> Header:
    """Return the Date of an answer that no backend gave (RFC 9110 §6.6.1); since 1970."""
    return Header.of("Date", formatdate(seconds, usegmt=True))

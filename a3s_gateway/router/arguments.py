"""
The matchers there are, how many arguments each takes, and what may stand in one.

Every check also gives the canonical form that requests are compared with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal
from urllib.parse import quote

import idna
from attrs import frozen

from .regex import RegexError, compile_regex

Network = IPv4Network | IPv6Network
Protocol = Literal["http", "tcp"]

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
HOST: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
MAX_HOST: Final = 253  # characters; RFC 1035 §2.3.4 without the root's dot
IPV6: Final = re.compile(r"\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?")
PLACEHOLDER: Final = re.compile(r"\{[A-Za-z_][^{}]*\}")  # Traefik 2's {name} and {name:regex}
ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))
MAPPED: Final = ip_network("::ffff:0:0/96")


class ArgumentError(ValueError):
    """What is wrong with one argument; `start` and `end` are half-open offsets into it."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint


def canonical_host(host: str) -> str:
    """
    Return the host as `Request.host` has it: lower case, punycode, no trailing dot.

    `*.` in front stands for one label, `**.` for one or more, as in Traefik since 3.7.
    An IPv6 address loses its brackets.
    """
    if not host:
        raise ArgumentError("the host is empty", 0, 0, "leave Host out to match every host")
    if IPV6.fullmatch(host):
        return str(_network(host.strip("[]")).network_address)
    _refuse_more_than_a_host(host)
    stars, name = _wildcard(host)
    if "*" in name:
        hint = r"use HostRegexp, e.g. HostRegexp(`^.+\.example\.com$`)"
        if host == "*":
            hint = "leave Host out to match every host"
        star = len(stars) + name.index("*")
        raise ArgumentError("* may only stand for the first labels of a host", star, star + 1, hint)
    ascii_name = _punycode(name, host).removesuffix(".")
    if len(ascii_name) > MAX_HOST or HOST.fullmatch(ascii_name) is None:
        raise ArgumentError(f'"{host}" is not a host name', 0, len(host))
    return stars + ascii_name


def _refuse_more_than_a_host(host: str) -> None:
    bare = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", host)
    if placeholder := PLACEHOLDER.search(host):
        hint = r"use HostRegexp with a Go regular expression, e.g. HostRegexp(`^.+\.example\.com$`)"
        raise ArgumentError("Host takes no placeholder", *placeholder.span(), hint)
    if len(bare) < len(host):
        rest = re.split(r"[/:]", bare, maxsplit=1)[0]
        raise ArgumentError(
            "a host has no scheme", 0, len(host) - len(bare), f"write Host(`{rest}`)"
        )
    if "/" in host:
        cut = host.index("/")
        hint = f"write Host(`{host[:cut]}`) && PathPrefix(`{host[cut:]}`)"
        raise ArgumentError("a host has no path", cut, len(host), hint)
    if port := re.search(r":\d*$", host):
        hint = f"the port of a request is ignored: write Host(`{host[: port.start()]}`)"
        raise ArgumentError("a host has no port", port.start(), len(host), hint)


def _wildcard(host: str) -> tuple[str, str]:
    for stars in ("**.", "*."):
        if host.startswith(stars):
            return stars, host[len(stars) :]
    return "", host


def _punycode(name: str, host: str) -> str:
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ArgumentError(f'"{host}" is not a host name', 0, len(host)) from None


def canonical_sni(host: str) -> str:
    """Return a server name in the form of `canonical_host`, or `*` for any and for none."""
    return host if host == "*" else canonical_host(host)


def canonical_path(path: str, *, prefix: bool = False) -> str:
    """
    Return the path as `Request.path` has it.

    Escapes of unreserved characters are decoded, the hex of others is in upper case;
    white space, control and non-ASCII characters become escapes.
    """
    if not path.startswith("/"):
        raise ArgumentError("a path begins with /", 0, len(path), f"write `/{path}`")
    for char, what in (("?", "query"), ("#", "fragment")):
        if char in path:
            hint = "use Query for the query" if char == "?" else "browsers never send it"
            raise ArgumentError(f"a path has no {what}", path.index(char), len(path), hint)
    if placeholder := PLACEHOLDER.search(path):
        hint = "use PathRegexp, e.g. PathRegexp(`^/users/[0-9]+$`); a literal brace is %7B"
        raise ArgumentError("a path takes no placeholder", *placeholder.span(), hint)
    canonical = quote(ESCAPE.sub(_decode_unreserved, path), safe=VISIBLE)
    if re.search(r"/\.\.?/" if prefix else r"/\.\.?(?:/|$)", canonical):
        raise ArgumentError(
            "no request has . or .. in its path when it is matched", 0, len(path),
            "write the path that they lead to",
        )  # fmt: skip
    return canonical


def _decode_unreserved(escape: re.Match[str]) -> str:
    char = chr(int(escape[1], 16))
    return char if char in UNRESERVED else escape[0].upper()


def canonical_prefix(prefix: str) -> str:
    """Return what `canonical_path` does; `/a/.` is a prefix of `/a/.git`, so it may stand."""
    return canonical_path(prefix, prefix=True)


def canonical_method(method: str) -> str:
    """Return the method in upper case, as Traefik takes it; requests are compared exactly."""
    _token("method", method)
    return method.upper()


def canonical_field(name: str) -> str:
    """Return the name of a header field in lower case."""
    _token("header name", name)
    return name.lower()


def _token(what: str, text: str) -> None:
    end = match.end() if (match := TOKEN.match(text)) else 0
    if end < len(text):
        raise ArgumentError(f"{text[end]!r} may not stand in a {what}", end, end + 1)
    if not text:
        raise ArgumentError(f"the {what} is empty", 0, 0)


def canonical_network(text: str) -> Network:
    """Return an address or a CIDR as a network; IPv4 written as IPv6 becomes IPv4."""
    network = _network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):  # type: ignore[arg-type]
        address = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((address, network.prefixlen - 96))
    return network


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        hint = "e.g. `10.0.0.0/8`, `192.0.2.7` or `2001:db8::/32`"
        raise ArgumentError(
            f'"{text}" is not an IP address or a CIDR', 0, len(text), hint
        ) from None


def check_regex(pattern: str) -> None:
    """Refuse what does not compile."""
    try:
        compile_regex(pattern)
    except RegexError as error:
        start = min(error.position, len(pattern))
        raise ArgumentError(
            f"in the regular expression: {error.message}",
            start, min(start + 1, len(pattern)), error.hint,
        ) from None  # fmt: skip


def check_host_regex(pattern: str) -> None:
    """Refuse what does not compile, or cannot match a host in the form of `canonical_host`."""
    if placeholder := PLACEHOLDER.search(pattern):
        hint = r"write a Go regular expression, e.g. HostRegexp(`^.+\.example\.com$`)"
        raise ArgumentError("a regular expression has no placeholder", *placeholder.span(), hint)
    if not pattern.isascii():
        start = next(at for at, char in enumerate(pattern) if not char.isascii())
        hint = "hosts are matched in punycode: write xn--..."
        raise ArgumentError(f'no host has "{pattern[start]}" in it', start, start + 1, hint)
    check_regex(pattern)


def check_query_key(text: str) -> None:
    """Refuse an empty key, and Traefik 2's `key=value` where the value is an argument of its own."""
    check_query_parameter(text)
    if "=" in text:
        key, value = text.split("=", 1)
        hint = f"write Query(`{key}`, `{value}`), and join several with &&"
        raise ArgumentError("this is both the key and the value", 0, len(text), hint)


def check_query_parameter(text: str) -> None:
    """Refuse an empty key; `key=value` may stand here for both."""
    if not text or text.startswith("="):
        raise ArgumentError("the key of a query parameter is empty", 0, len(text))


def check_text(_text: str) -> None:
    """Accept anything."""


Check = Callable[[str], object]


@frozen
class Signature:
    """
    What a matcher takes.

    Attributes:
        checks: One for each argument; raises `ArgumentError`.
        least: How many of them must be there.
        repeats: Whether more arguments like the last may follow; any one of them matches.
        alone: The check of an argument that is the only one, where that differs.

    """

    checks: tuple[Check, ...]
    least: int
    repeats: bool = False
    alone: Check | None = None

    @classmethod
    def any_of(cls, check: Check) -> Signature:
        """One argument or more, of one kind."""
        return cls((check,), 1, repeats=True)

    @property
    def wanted(self) -> str:
        """How many arguments, in words."""
        most = len(self.checks)
        if self.repeats:
            return f"at least {self.least} argument{'s'[: self.least > 1]}"
        if self.least < most:
            return f"{self.least} or {most} arguments"
        return f"{most} argument{'s'[: most > 1]}"

    def allows(self, count: int) -> bool:
        """Whether there may be so many arguments."""
        return self.least <= count and (self.repeats or count <= len(self.checks))

    def check(self, index: int, count: int) -> Check:
        """Return the check of one argument out of `count`."""
        if count == 1 and self.alone is not None:
            return self.alone
        return self.checks[min(index, len(self.checks) - 1)]


SIGNATURES: Final[Mapping[Protocol, Mapping[str, Signature]]] = {
    "http": {
        "Host": Signature.any_of(canonical_host),
        "HostRegexp": Signature.any_of(check_host_regex),
        "Path": Signature.any_of(canonical_path),
        "PathPrefix": Signature.any_of(canonical_prefix),
        "PathRegexp": Signature.any_of(check_regex),
        "Method": Signature.any_of(canonical_method),
        "Header": Signature((canonical_field, check_text), 2),
        "HeaderRegexp": Signature((canonical_field, check_regex), 2),
        "Query": Signature((check_query_key, check_text), 1, alone=check_query_parameter),
        "QueryRegexp": Signature((check_query_key, check_regex), 1, alone=check_query_parameter),
        "ClientIP": Signature.any_of(canonical_network),
    },
    "tcp": {
        "HostSNI": Signature.any_of(canonical_sni),
        "HostSNIRegexp": Signature.any_of(check_host_regex),
        "ALPN": Signature.any_of(check_text),
        "ClientIP": Signature.any_of(canonical_network),
    },
}
ALIASES: Final = {"headers": "Header", "headersregexp": "HeaderRegexp"}  # Traefik 2's names
COUNTERPARTS: Final = {  # what to use in a rule of the other protocol
    "Host": "HostSNI",
    "HostRegexp": "HostSNIRegexp",
    "HostSNI": "Host",
    "HostSNIRegexp": "HostRegexp",
}


def find_matcher(name: str, protocol: Protocol) -> str | None:
    """Return the proper spelling of a matcher's name; case does not count, as in Traefik."""
    known = {matcher.lower(): matcher for matcher in SIGNATURES[protocol]}
    lower = name.lower()
    if protocol == "http":
        known |= ALIASES
    return known.get(lower)


def explain_unknown(name: str, protocol: Protocol) -> tuple[str, str]:
    """Say what is wrong with a name that `find_matcher` does not know: message and hint."""
    other: Protocol = "tcp" if protocol == "http" else "http"
    allowed = f"there are: {', '.join(SIGNATURES[protocol])}"
    elsewhere = find_matcher(name, other)
    if elsewhere is not None:
        counterpart = COUNTERPARTS.get(elsewhere)
        hint = f"use {counterpart}" if counterpart else allowed
        return f"{elsewhere} cannot stand in the rule of a router for {protocol.upper()}", hint
    known = {matcher.lower(): matcher for matcher in SIGNATURES[protocol]}
    near = get_close_matches(name.lower(), known, n=1)
    hint = f'did you mean "{known[near[0]]}"?' if near else allowed
    return f'unknown matcher "{name}"', hint

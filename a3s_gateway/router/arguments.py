"""
What may stand in the arguments of matchers.

A check raises `ArgumentError`; `canonical_...` also returns the form in which requests have it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final
from urllib.parse import quote

import idna

from .regex import RegexError, compile_regex

Network = IPv4Network | IPv6Network

TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
HOST: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
MAX_HOST: Final = 253  # characters; RFC 1035 §2.3.4 without the root's dot
IPV6: Final = re.compile(r"\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?")
URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?P<host>\[[^\]]*\]|[^/:]*)"
    r"(?P<port>:[0-9]*(?=/|$))?(?P<path>/.*)?",
    re.DOTALL,
)
HOST_REGEX: Final = r"^.+\.example\.com$"
IPV4: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
PLACEHOLDER: Final = re.compile(r"\{[A-Za-z_][^{}]*\}")  # Traefik 2's {name} and {name:regex}
ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
NOT_IN_PATH: Final = (
    ("?", "query", "use Query"),
    ("#", "fragment", "clients never send it"),
    ("\\", "backslash", "a request that has one is refused"),
    ("\0", "NUL", "a request that has one is refused"),
    ("%00", "NUL", "a request that has one is refused"),
)
UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))
MAPPED: Final = ip_network("::ffff:0:0/96")


class PlacedError(ValueError):
    """
    A text that does not parse.

    Attributes:
        message: What is wrong.
        start: Where it begins, as an offset into the text.
        end: Where it ends; half-open.
        hint: What to try; may be empty.

    """

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint


class ArgumentError(PlacedError):
    """What is wrong with one argument; its place is one within that."""


def canonical_host(host: str, matcher: str = "Host") -> str:
    """
    Return the host as `Request.host` has it: lower case, punycode, no trailing dot.

    `*.` in front stands for one label, `**.` for one or more, as in Traefik since 3.7.
    An IPv6 address stands in brackets. `matcher` is for the texts of faults.
    """
    if not host:
        raise ArgumentError("the host is empty", 0, 0, _any_host(matcher))
    if IPV6.fullmatch(host):
        return f"[{_network(host.strip('[]')).network_address}]"
    _refuse_more_than_a_host(host, matcher)
    stars, name = _wildcard(host)
    if "*" in name:
        star = len(stars) + name.index("*")
        hint = _any_host(matcher) if host == "*" else f"use {matcher}Regexp(`{HOST_REGEX}`)"
        raise ArgumentError("* may only stand for the first labels of a host", star, star + 1, hint)
    ascii_name = _punycode(name, host).removesuffix(".")
    if len(ascii_name) > MAX_HOST or HOST.fullmatch(ascii_name) is None:
        raise ArgumentError(f'"{host}" is not a host name', 0, len(host))
    return stars + ascii_name


def _any_host(matcher: str) -> str:
    return {
        "Host": "leave Host out to match every host",
        "HostSNI": "HostSNI(`*`) matches every connection",
    }[matcher]


def _refuse_more_than_a_host(host: str, matcher: str) -> None:
    if placeholder := PLACEHOLDER.search(host):
        hint = f"use {matcher}Regexp with a regular expression, e.g. `{HOST_REGEX}`"
        raise ArgumentError("a host takes no placeholder", *placeholder.span(), hint)
    parts = URL.match(host)
    assert parts is not None
    hint = f"write {matcher}(`{parts['host']}`)"
    for part in ("scheme", "path", "port"):
        if parts[part] is not None:
            if part == "path" and matcher == "Host":
                hint += f" && PathPrefix(`{parts['path']}`)"
            raise ArgumentError(f"a host has no {part}", *parts.span(part), hint)


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
    if host == "*":
        return host
    if IPV6.fullmatch(host) or IPV4.fullmatch(host):  # RFC 6066 §3
        hint = "HostSNI(`*`) also matches a client that sends no name"
        raise ArgumentError("no client sends an address as server name", 0, len(host), hint)
    return canonical_host(host, "HostSNI")


def canonical_path(path: str, *, prefix: bool = False) -> str:
    """
    Return the path as `Request.path` has it.

    Escapes of unreserved characters are decoded, the hex of others is in upper case;
    white space, control and non-ASCII characters become escapes.
    """
    if not path.startswith("/"):
        raise ArgumentError("a path begins with /", 0, len(path), f"write `/{path}`")
    for char, what, hint in NOT_IN_PATH:
        if char in path:
            raise ArgumentError(f"a path has no {what}", path.index(char), len(path), hint)
    if broken := BROKEN_ESCAPE.search(path):
        hint = "write %25 for the sign itself"
        raise ArgumentError("% is followed by two hexadecimal digits", *broken.span(), hint)
    if placeholder := PLACEHOLDER.search(path):
        hint = "use PathRegexp, e.g. PathRegexp(`^/users/[0-9]+$`); a literal brace is %7B"
        raise ArgumentError("a path takes no placeholder", *placeholder.span(), hint)
    canonical = quote(ESCAPE.sub(_decode_unreserved, path), VISIBLE, errors="surrogatepass")
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
        hint = f"write a regular expression, e.g. `{HOST_REGEX}`"
        raise ArgumentError("a regular expression has no placeholder", *placeholder.span(), hint)
    if not pattern.isascii():
        start = next(at for at, char in enumerate(pattern) if not char.isascii())
        hint = "hosts are matched in punycode: write xn--..."
        raise ArgumentError(f'no host has "{pattern[start]}" in it', start, start + 1, hint)
    check_regex(pattern)


def check_query_key(text: str) -> None:
    """Refuse an empty key, and Traefik 2's `key=value` beside another argument."""
    check_query_parameter(text)
    if "=" in text:
        key, value = text.split("=", 1)
        hint = f"write them apart: `{key}`, `{value}`; join several matchers with &&"
        raise ArgumentError("this is both the key and the value", 0, len(text), hint)


def check_query_parameter(text: str) -> None:
    """Refuse an empty key; `key=value` may stand here for both."""
    if not text or text.startswith("="):
        raise ArgumentError("the key of a query parameter is empty", 0, len(text))


def check_text(_text: str) -> None:
    """Accept anything."""

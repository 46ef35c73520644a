"""What is known of those before us: X-Forwarded-…, X-Real-IP, Forwarded (RFC 7239)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from a3s_gateway.headers import Header, Headers

UNKNOWN: Final = "unknown"  # RFC 7239 §6.2: a peer without an address, as on a Unix socket
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_PORT: Final = re.compile(r"[0-9]{1,5}")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")

Trust = Callable[[str], bool]


@frozen
class Forwarded:
    """
    What goes upstream, and what it says.

    Attributes:
        headers: The fields, ours in place of the client's.
        client: The client's address.
        scheme: As the client came to the first proxy that is trusted.

    """

    headers: Headers
    client: str
    scheme: str


def forwarded(
    peer: str,
    scheme: str,
    authority: str,
    received: Sequence[tuple[str, str]],
    is_trusted: Trust,
) -> Forwarded:
    """
    Say who asked for what.

    What an untrusted peer says is dropped; what a trusted one says is kept, and the peer
    itself appended.

    Args:
        peer: The address of the connection's other end, or `UNKNOWN`.
        scheme: As it came to this gateway.
        authority: What was asked for.
        received: The fields of this kind that the request had.
        is_trusted: Whether what an address says of others is believed.

    """
    if not received or not is_trusted(peer):
        return _announce((peer,), peer, scheme, authority, _port(authority, scheme), "")
    said: dict[str, list[str]] = {}
    for name, value in received:
        said.setdefault(name, []).append(value)
    chain = [*_split(said.get("x-forwarded-for", [])), peer]
    their_scheme = _first(said, "x-forwarded-proto").lower()
    scheme = their_scheme if their_scheme in _DEFAULT_PORTS else scheme
    authority = _first(said, "x-forwarded-host") or authority
    port = _first(said, "x-forwarded-port")
    if _PORT.fullmatch(port) is None:
        port = _port(authority, scheme)
    client = _client(chain, is_trusted)
    return _announce(chain, client, scheme, authority, port, ", ".join(said.get("forwarded", [])))


def _announce(
    chain: Sequence[str], client: str, scheme: str, authority: str, port: str, before: str
) -> Forwarded:
    element = f"for={_node(chain[-1])};host={_quoted(authority)};proto={scheme}"
    headers = Headers(
        (
            Header.of("X-Forwarded-For", ", ".join(chain)),
            Header.of("X-Forwarded-Proto", scheme),
            Header.of("X-Forwarded-Host", authority),
            Header.of("X-Forwarded-Port", port),
            Header.of("X-Real-IP", client),
            Header.of("Forwarded", f"{before}, {element}" if before else element),
        )
    )
    return Forwarded(headers, client, scheme)


def _client(chain: Sequence[str], is_trusted: Trust) -> str:
    """Return the last address of the chain that is not one of our own proxies."""
    for address in reversed(chain):
        if not is_trusted(address):
            return address if _is_address(address) else chain[-1]
    return chain[0]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _split(values: list[str]) -> list[str]:
    items = (item.strip() for value in values for item in value.split(","))
    return [item for item in items if item]


def _first(said: dict[str, list[str]], name: str) -> str:
    items = _split(said.get(name, []))
    return items[0] if items else ""


def _port(authority: str, scheme: str) -> str:
    _, colon, port = authority.rpartition(":")
    return port if colon and _PORT.fullmatch(port) else _DEFAULT_PORTS[scheme]


def _node(address: str) -> str:
    return f'"[{address}]"' if ":" in address else address


def _quoted(authority: str) -> str:
    """Write a `token` or a `quoted-string`: what a proxy reports may be anything."""
    if _TOKEN.fullmatch(authority) is not None:
        return authority
    escaped = authority.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def plain_address(host: str) -> str:
    """Write an IPv4 address that came over an IPv6 socket as what it is."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host

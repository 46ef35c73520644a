"""Socket addresses as Twisted's address objects."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

StreamAddress = IPv4Address | IPv6Address | UNIXAddress

# What the kernel's calls give back: (host, port), (host, port, flow, scope), or a path.
RawAddress = tuple[str, int] | tuple[str, int, int, int] | str | bytes | None

MAPPED = "::ffff:"  # RFC 4291 §2.5.5.2: an IPv4 peer of a dual-stack socket


def stream_address(raw: RawAddress) -> StreamAddress:
    """Convert what `accept`, `getsockname` or `getaddrinfo` gave; mapped IPv4 becomes plain."""
    if not isinstance(raw, tuple):
        return UNIXAddress(raw or None)
    host, port = raw[0], raw[1]
    if len(raw) == 2:
        return IPv4Address("TCP", host, port)
    if host.startswith(MAPPED) and "." in host:
        return IPv4Address("TCP", host[len(MAPPED) :], port)
    flow, scope = raw[2], raw[3]
    if scope and "%" not in host:
        host = f"{host}%{scope}"
    return IPv6Address("TCP", host, port, flow, scope)


def local_address(sock: socket.socket) -> StreamAddress:
    """Ask the kernel for the near end of a socket."""
    return stream_address(sock.getsockname())


def shown(address: Any) -> str:
    """Write an address as the configuration has it."""
    if hasattr(address, "port"):
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{host}:{address.port}"
    return f"unix:{os.fsdecode(address.name)}"

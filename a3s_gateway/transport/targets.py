"""Where to connect to: addresses as the socket module takes them, literal or found by a name."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from .addresses import RawAddress

IpAddress = tuple[str, int] | tuple[str, int, int, int]
IpTarget = tuple[socket.AddressFamily, IpAddress]
Target = tuple[socket.AddressFamily, RawAddress]  # or the path of a Unix socket

NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def literal_target(host: str, port: int) -> IpTarget | None:
    """Convert a literal address; `None` when `host` is a name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=NUMERIC)
    except socket.gaierror:
        return None
    return found[0][0], cast("IpAddress", found[0][4])


def at_port(target: IpTarget, port: int) -> IpTarget:
    """Return the same address with another port."""
    family, raw = target
    return family, cast("IpAddress", (raw[0], port, *raw[2:]))


@implementer(IResolutionReceiver)
class Lookup:
    """Collects the addresses of a name."""

    def __init__(self, done: Callable[[list[IpTarget]], None]) -> None:
        self._done = done
        self._targets: list[IpTarget] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Ignore it: Twisted's resolver cannot be cancelled."""

    def addressResolved(self, address: IAddress) -> None:
        """Keep an address that we can connect to."""
        if isinstance(address, IPv4Address):
            self._targets.append((socket.AF_INET, (address.host, address.port)))
        elif isinstance(address, IPv6Address):
            raw = (address.host, address.port, address.flowInfo, int(address.scopeID))
            self._targets.append((socket.AF_INET6, raw))

    def resolutionComplete(self) -> None:
        """Hand over what was found."""
        self._done(self._targets)

"""Whom an entrypoint believes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from a3s_gateway.protocol.forwarded import Trust

LONGEST_ADDRESS: Final = 64  # characters: IPv6 in full, and the name of an interface


def trust_in(networks: Sequence[IPv4Network | IPv6Network]) -> Trust:
    """Return what tells whether an address lies in one of `networks`; nobody's, if empty."""
    if not networks:
        return _nobody

    @lru_cache(maxsize=4096)
    def is_within(address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in networks)

    # Proxies pass on what their clients claim: only what can be an address is remembered.
    return lambda address: len(address) <= LONGEST_ADDRESS and is_within(address)


def _nobody(_address: str) -> bool:
    return False

"""Whom an entrypoint believes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from a3s_gateway.protocol.forwarded import Trust


def trust_in(networks: Sequence[IPv4Network | IPv6Network]) -> Trust:
    """Return what tells whether an address lies in one of `networks`; nobody's, if empty."""
    if not networks:
        return _nobody

    @lru_cache(maxsize=4096)
    def is_trusted(address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in networks)

    return is_trusted


def _nobody(_address: str) -> bool:
    return False

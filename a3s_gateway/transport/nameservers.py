"""Asking certain name servers instead of the system: they tell for how long an answer is good."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import DeferredList
from twisted.names import client, dns

from .names import Answered, ask_system
from .targets import IpTarget

SHARES: Final = (0.2, 0.3, 0.5)  # of the patience, for the first packet and two more

Records = Sequence[dns.RRHeader]


@define(eq=False)
class Nameservers:
    """Asks them in the order given, another one when one does not answer."""

    reactor: Any
    servers: Sequence[tuple[str, int]]
    patience: float
    _resolver: client.Resolver = field(init=False)

    @_resolver.default
    def _asking(self) -> client.Resolver:
        shares = [share * self.patience for share in SHARES]
        return client.Resolver(servers=list(self.servers), timeout=shares, reactor=self.reactor)

    def ask(self, name: str, answered: Answered) -> None:
        """Ask for addresses of both families."""
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 §6.3: never ask for it
            ask_system(self.reactor)(name, answered)
            return
        both = [self._resolver.lookupAddress(name), self._resolver.lookupIPV6Address(name)]
        DeferredList(both, consumeErrors=True).addCallback(_tell, answered)


def _tell(results: list[tuple[bool, Any]], answered: Answered) -> None:
    found: list[IpTarget] = []
    lives: list[int] = []
    for is_fine, sections in results:
        if is_fine:
            addresses = list(_addresses(sections[0]))
            found += addresses
            if addresses:  # of an alias, the shortest life of all that leads to them
                lives += [record.ttl for record in sections[0]]
    answered(found, float(max(1, min(lives, default=1))))


def _addresses(records: Records) -> Iterator[IpTarget]:
    for record in records:
        payload = record.payload
        if isinstance(payload, dns.Record_A):
            yield socket.AF_INET, (payload.dottedQuad(), 0)
        elif isinstance(payload, dns.Record_AAAA):
            host = socket.inet_ntop(socket.AF_INET6, payload.address)
            yield socket.AF_INET6, (host, 0, 0, 0)

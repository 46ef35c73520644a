from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from a3s_gateway.transport.names import Answered, Names
from a3s_gateway.transport.stock import NamingReactor, SharedResolver
from tests.unit.transport.test_names import A, C


class Receiver:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def resolutionBegan(self, resolution: Any) -> None:
        self.told.append(resolution.name)

    def addressResolved(self, address: Any) -> None:
        self.told.append(address)

    def resolutionComplete(self) -> None:
        self.told.append("complete")


def ask(name: str, answered: Answered) -> None:
    answered([C, A] if name == "dns.test" else [], None)


def test_what_twisteds_endpoints_are_told() -> None:
    """The same addresses, as objects; nothing if there is none."""
    clock: Any = Clock()
    resolver = SharedResolver(Names(clock, ask))
    verifyObject(IHostnameResolver, resolver)
    ours = [IPv6Address("TCP", "2001:db8::3", 53), IPv4Address("TCP", "192.0.2.1", 53)]
    for name, addresses in (("dns.test", ours), ("nowhere.test", [])):
        receiver: Any = Receiver()
        resolver.resolveHostName(receiver, name, 53)
        assert receiver.told == [name, *addresses, "complete"]


def test_a_reactor_that_knows_names() -> None:
    """It is the same in all else, and is not to be given another resolver."""
    clock: Any = Clock()
    reactor = NamingReactor(clock, Names(clock, ask))
    verifyObject(IReactorPluggableNameResolver, reactor)
    assert reactor.seconds() == clock.seconds()
    with pytest.raises(NotImplementedError):
        reactor.installNameResolver(None)

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.proxy.names import FRESH, RETRY, ServerAddresses
from a3s_gateway.task import Task
from a3s_gateway.transport.timers import timers_for

A = IPv4Address("TCP", "192.0.2.1", 53)
B = IPv4Address("TCP", "192.0.2.2", 53)
C = IPv6Address("TCP", "2001:db8::3", 53)


class Resolver:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def resolveHostName(self, receiver: Any, name: str, port: int) -> None:
        assert (name, port) == ("dns.test", 53)
        self.asked.append(receiver)

    def answer(self, *addresses: IAddress) -> None:
        receiver = self.asked.pop(0)
        for address in addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()


class Asked:
    """What `next` came to: an address, an error, or nothing yet."""

    def __init__(self, addresses: ServerAddresses) -> None:
        self.came: list[object] = []
        self.task = Task(addresses.next(), self._got, self.came.append)
        self.task.start()

    def _got(self, target: Any) -> None:
        self.came.append(target[1][0])


class World:
    def __init__(self, host: str = "dns.test") -> None:
        self.clock: Any = Clock()
        self.resolver = Resolver()
        self.addresses = ServerAddresses(
            host, 53, self.resolver, timers_for(self.clock), 5.0, self.clock.seconds
        )

    def ask(self) -> Asked:
        return Asked(self.addresses)

    def asks(self, count: int) -> list[object]:
        return [came for _ in range(count) for came in self.ask().came]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_literal_address_is_there_at_once(host: str) -> None:
    """Nobody is asked, now or later."""
    world = World(host)
    assert world.asks(2) == [host, host]
    world.clock.advance(FRESH * 2)
    assert world.asks(1) == [host]
    assert world.resolver.asked == []


def test_all_wait_for_one_lookup(world: World) -> None:
    """However many come before it is known."""
    first, second = world.ask(), world.ask()
    assert (first.came, second.came, len(world.resolver.asked)) == ([], [], 1)
    world.resolver.answer(A)
    assert (first.came, second.came) == (["192.0.2.1"], ["192.0.2.1"])


def test_every_address_gets_its_turn(world: World) -> None:
    """Each once, of either kind, and what was told twice too."""
    world.ask()
    world.resolver.answer(C, A, A, B)
    assert sorted(map(str, world.asks(3))) == ["192.0.2.1", "192.0.2.2", "2001:db8::3"]


def test_an_old_address_serves_until_a_new_one_is_known(world: World) -> None:
    """Nobody waits a second time."""
    world.ask()
    world.resolver.answer(A)
    world.clock.advance(FRESH - 1)
    assert (world.asks(1), world.resolver.asked) == (["192.0.2.1"], [])
    world.clock.advance(1)
    assert world.asks(2) == ["192.0.2.1", "192.0.2.1"]
    assert len(world.resolver.asked) == 1
    world.resolver.answer(B)
    assert world.asks(1) == ["192.0.2.2"]


def test_a_lookup_that_fails_takes_nothing_away(world: World) -> None:
    """A name server may be down for a while; it is asked again soon, not at once."""
    world.ask()
    world.resolver.answer(A)
    world.clock.advance(FRESH)
    world.ask()
    world.resolver.answer()
    assert (world.asks(1), world.resolver.asked) == (["192.0.2.1"], [])
    world.clock.advance(RETRY)
    assert (world.asks(1), len(world.resolver.asked)) == (["192.0.2.1"], 1)


def test_a_name_without_an_address_is_an_error(world: World) -> None:
    """For those who waited and, for a moment, for those who come."""
    first = world.ask()
    world.resolver.answer()
    (error,) = first.came
    assert isinstance(error, UpstreamConnectError)
    assert "dns.test" in str(error)
    assert isinstance(world.ask().came[0], UpstreamConnectError)
    assert world.resolver.asked == []


def test_an_answer_that_takes_too_long_is_not_waited_for(world: World) -> None:
    """And does no harm when it comes after all."""
    first = world.ask()
    world.clock.advance(5.2)
    assert isinstance(first.came[0], UpstreamConnectError)
    world.clock.advance(RETRY)
    second = world.ask()
    world.resolver.answer(A)  # the late one
    assert second.came == []
    world.resolver.answer(B)
    assert second.came == ["192.0.2.2"]


def test_who_waits_may_go(world: World) -> None:
    """Without harm to others."""
    first, second = world.ask(), world.ask()
    first.task.cancel()
    world.resolver.answer(A)
    assert (first.came, second.came) == ([], ["192.0.2.1"])


def test_who_waits_is_told_of_the_end(world: World) -> None:
    """No timer is left."""
    first = world.ask()
    world.addresses.close()
    assert isinstance(first.came[0], UpstreamConnectError)
    assert world.clock.getDelayedCalls() == []


def test_a_target_says_its_family(world: World) -> None:
    """A socket for it can be made of that."""
    found: list[Any] = []
    Task(world.addresses.next(), found.append, found.append).start()
    world.resolver.answer(C)
    assert found == [(socket.AF_INET6, ("2001:db8::3", 53, 0, 0))]

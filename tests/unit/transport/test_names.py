from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import DNSLookupError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from a3s_gateway.task import Task
from a3s_gateway.transport.known_name import STALE_FOR
from a3s_gateway.transport.names import (
    PATIENCE,
    PATIENCE_IF_KNOWN,
    TTL,
    Answered,
    Names,
    ask_system,
)
from a3s_gateway.transport.targets import IpTarget

A: IpTarget = (socket.AF_INET, ("192.0.2.1", 0))
B: IpTarget = (socket.AF_INET, ("192.0.2.2", 0))
C: IpTarget = (socket.AF_INET6, ("2001:db8::3", 0, 0, 0))


class Asked:
    """What `targets` came to: hosts, an error, or nothing yet."""

    def __init__(self, names: Names, host: str) -> None:
        self.came: list[Any] = []
        self.task = Task(names.targets(host, 53), self._got, self.came.append)
        self.task.start()

    def _got(self, targets: list[IpTarget]) -> None:
        assert all(raw[1] == 53 for _, raw in targets)
        self.came += [str(raw[0]) for _, raw in targets]


class World:
    """A clock, and a resolver that answers when the test says so."""

    def __init__(self) -> None:
        self.clock: Any = Clock()
        self.asked: list[tuple[str, Answered]] = []
        self.names = Names(self.clock, lambda name, answered: self.asked.append((name, answered)))

    def ask(self, host: str = "dns.test") -> Asked:
        return Asked(self.names, host)

    def answer(self, *found: IpTarget, ttl: float | None = None) -> None:
        self.asked.pop(0)[1](found, ttl)

    def known(self, *found: IpTarget) -> None:
        self.ask()
        self.answer(*found)

    def texts(self, events: Sequence[Any]) -> list[str]:
        return [each["log_format"].format(**each) for each in events]


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_literal_address_is_there_at_once(world: World, host: str) -> None:
    """Nobody is asked."""
    assert (world.ask(host).came, world.asked) == ([host], [])


def test_all_wait_for_one_lookup(world: World) -> None:
    """However many come before it is known; another name is another lookup."""
    first, second, other = world.ask(), world.ask(), world.ask("other.test")
    assert [name for name, _ in world.asked] == ["dns.test", "other.test"]
    world.answer(A)
    assert (first.came, second.came, other.came) == (["192.0.2.1"], ["192.0.2.1"], [])
    assert world.names.outcomes == {"found": 1, "not_found": 0, "timeout": 0}


def test_every_address_gets_its_turn(world: World) -> None:
    """Whoever asks, at whatever port."""
    world.known(C, A, A, B)
    assert {world.ask().came[0] for _ in range(3)} == {"192.0.2.1", "192.0.2.2", "2001:db8::3"}


def test_an_old_address_serves_until_a_new_one_is_known(world: World) -> None:
    """Nobody waits a second time, and one lookup is enough."""
    world.known(A)
    world.clock.advance(TTL - 1)
    assert (world.ask().came, world.asked) == (["192.0.2.1"], [])
    world.clock.advance(1)
    assert [world.ask().came, world.ask().came] == [["192.0.2.1"], ["192.0.2.1"]]
    assert len(world.asked) == 1
    world.answer(B)
    assert world.ask().came == ["192.0.2.2"]


def test_what_was_idle_for_long_is_asked_for_first(world: World) -> None:
    """The server may have moved; but nobody waits long where something is known."""
    world.known(A)
    world.clock.advance(10 * TTL)
    first = world.ask()
    assert first.came == []
    world.answer(B)
    assert first.came == ["192.0.2.2"]
    world.clock.advance(10 * TTL)
    second = world.ask()
    world.clock.advance(PATIENCE_IF_KNOWN + 0.2)
    assert second.came == ["192.0.2.2"]


def test_a_time_to_live_counts_if_it_is_shorter(world: World) -> None:
    """`refresh_interval_secs` is the longest that an answer is used."""
    for ttl, life in ((5.0, 5.0), (3600.0, TTL)):
        world.ask()
        world.answer(A, ttl=ttl)
        world.clock.advance(life - 1)
        world.ask()
        assert world.asked == []
        world.clock.advance(1)
        world.ask()
        assert len(world.asked) == 1


def test_a_lookup_that_fails_takes_nothing_away(world: World) -> None:
    """It is logged once, when it begins, and once when it is over."""
    world.known(A)
    with capturedLogs() as events:
        for pause in (TTL, 1, 2):
            world.clock.advance(pause)
            assert world.ask().came == ["192.0.2.1"]
            world.answer()
        world.clock.advance(4)
        world.ask()
        world.answer(B)
    assert world.texts(events) == [
        "dns.test cannot be looked up; its former addresses serve on",
        "dns.test can be looked up again",
    ]
    assert world.ask().came == ["192.0.2.2"]


def test_not_for_ever(world: World) -> None:
    """What could not be looked up for an hour is no longer an address."""
    world.known(A)
    world.clock.advance(TTL + STALE_FOR)
    asked = world.ask()
    world.answer()
    assert isinstance(asked.came[0], DNSLookupError)


def test_a_name_without_an_address_is_an_error(world: World) -> None:
    """For those who waited and, for a moment, for those who come."""
    first = world.ask()
    world.answer()
    (error,) = first.came
    assert isinstance(error, DNSLookupError)
    assert "dns.test" in str(error)
    assert isinstance(world.ask().came[0], DNSLookupError)
    assert world.asked == []
    assert world.names.outcomes["not_found"] == 1


def test_an_answer_that_takes_too_long_is_not_waited_for(world: World) -> None:
    """But it is good for the next one, if it comes after all."""
    first = world.ask()
    world.clock.advance(PATIENCE + 0.2)
    assert isinstance(first.came[0], DNSLookupError)
    assert world.names.outcomes == {"found": 0, "not_found": 0, "timeout": 1}
    world.answer(A)
    assert world.ask().came == ["192.0.2.1"]


def test_a_late_failure_does_no_harm(world: World) -> None:
    """Whoever waits for the next answer gets that one."""
    world.ask()
    world.clock.advance(PATIENCE + 0.2)
    world.clock.advance(2)
    second = world.ask()
    world.answer()
    assert second.came == []
    world.answer(B)
    assert second.came == ["192.0.2.2"]


def test_who_waits_may_go(world: World) -> None:
    """Without harm to others."""
    first, second = world.ask(), world.ask()
    first.task.cancel()
    world.answer(A)
    assert (first.came, second.came) == ([], ["192.0.2.1"])


def test_who_waits_is_told_of_the_end(world: World) -> None:
    """No timer is left."""
    first = world.ask()
    world.names.close()
    assert isinstance(first.came[0], DNSLookupError)
    assert world.clock.getDelayedCalls() == []


def test_other_terms(world: World) -> None:
    """Who else is asked, and for how long answers are good; what is known stays."""
    world.known(A)
    asked: list[str] = []

    def ask(name: str, answered: Answered) -> None:
        asked.append(name)
        answered([B], None)

    world.names.become(ask, 5.0, 1.0)
    assert world.ask().came == ["192.0.2.1"]
    world.clock.advance(TTL)
    world.ask()
    assert world.ask().came == ["192.0.2.2"]
    world.clock.advance(5)
    world.ask()
    assert asked == ["dns.test"] * 2


def test_the_systems_answers() -> None:
    """Both families, as the reactor's resolver tells them."""

    class Reactor:
        @property
        def nameResolver(self) -> Any:
            return self

        def resolveHostName(self, receiver: Any, name: str, port: int) -> None:
            assert (name, port) == ("dns.test", 0)
            receiver.addressResolved(IPv6Address("TCP", "2001:db8::3", 0))
            receiver.addressResolved(IPv4Address("TCP", "192.0.2.1", 0))
            receiver.resolutionComplete()

    answers: list[Any] = []
    ask_system(Reactor())("dns.test", lambda found, ttl: answers.append((found, ttl)))
    assert answers == [([C, A], None)]


def test_resolve_may_be_given_up(world: World) -> None:
    """A middleware whose client has gone leaves nothing behind."""
    done = world.names.resolve("dns.test")
    failures: list[Any] = []
    done.addErrback(failures.append)
    done.cancel()
    world.answer(A)
    assert len(failures) == 1

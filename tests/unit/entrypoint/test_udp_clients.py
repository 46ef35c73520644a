"""Sessions of a UDP entrypoint, with a port, servers and a clock that obey the test."""

from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.task import Clock

from a3s_gateway.config.balancing import PassiveHealthConfig
from a3s_gateway.datagrams import UdpResource, UdpRoute, UdpUpstream
from a3s_gateway.entrypoint.udp_clients import ANSWER_WITHIN, AT_A_TIME, UdpClients
from a3s_gateway.entrypoint.udp_session import KEPT, UdpSession
from a3s_gateway.errors import UpstreamConnectError, UpstreamError
from a3s_gateway.http import Exchange
from a3s_gateway.observability.counters import DatagramCounters, RouteCounters
from a3s_gateway.router.rule import parse
from a3s_gateway.router.table import Entry
from a3s_gateway.router.tcp import TcpTable
from a3s_gateway.runtime.reload import finish
from a3s_gateway.service.backend import Backend
from a3s_gateway.service.balancer import RoundRobin
from a3s_gateway.service.udp_sessions import GRAIN, SessionTable
from a3s_gateway.task import Waiter
from a3s_gateway.transport.timers import timers_for

REFUSED = OSError(errno.ECONNREFUSED, "Connection refused")
FULL = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
IDLE = 10.0


class Port:
    """Remembers what was sent; a client is known by its host alone."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str]] = []
        self.error: OSError | None = None
        self.state = "new"

    def start(self) -> None:
        self.state = "receiving"

    def stop(self) -> None:
        self.state = "stopped"

    def close(self) -> None:
        self.state = "closed"

    def send(self, data: bytes, peer: Any) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((data, peer[0]))

    def source_of(self, peer: Any) -> Any:
        return peer


class Link:
    """One talk; the test plays the server."""

    def __init__(self, talker: Any) -> None:
        self.talker = talker
        self.sent: list[bytes] = []
        self.error: OSError | None = None
        self.is_closed = False

    def send(self, data: bytes) -> None:
        assert not self.is_closed
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.sent.append(data)

    def answer(self, data: bytes) -> None:
        assert not self.is_closed
        self.talker.answered(data)

    def refuse(self) -> None:
        self.close()
        self.talker.broke(REFUSED)

    def close(self) -> None:
        self.is_closed = True


class Origin:
    """Opens talks at once, or when `gate` is resolved; or not, for an error."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.error: UpstreamConnectError | None = None
        self.gate: Waiter[None] | None = None

    async def open(self, talker: Any) -> Any:
        if self.gate is not None:
            await self.gate
        if self.error is not None:
            raise self.error
        self.links.append(Link(talker))
        return self.links[-1]


class Watch:
    """Notes what leases tell."""

    statuses = frozenset({500})

    def __init__(self) -> None:
        self.told: list[str] = []

    def answered(self, lease: Any, status: int) -> None:
        self.told.append(f"answered {status}")

    def failed(self, lease: Any, error: Exception) -> None:
        self.told.append(f"failed {lease.backend.url}")

    def broke(self, lease: Any, error: Exception) -> None:
        raise AssertionError("a session has no head")

    def find_last_resort(self, tried: Any) -> Backend | None:
        return None


class Holds:
    """A generation: only its count."""

    def __init__(self) -> None:
        self.count = 0

    def hold(self) -> None:
        self.count += 1

    def unhold(self) -> None:
        self.count -= 1


class World:
    """Two servers, and clients that are let in unless their host begins with 6."""

    def __init__(self, limit: int = 100, servers: str = "ab") -> None:
        self.clock: Any = Clock()
        self.port: Any = Port()
        self.watch = Watch()
        self.generation = Holds()
        self.ended: list[Exchange] = []
        self.reported: list[str] = []
        self.backends = [Backend(name) for name in servers]
        self.origins: dict[Backend, Any] = {backend: Origin() for backend in self.backends}
        self.clients = self.make(limit)
        self.clients.serve(self.port)

    def make(self, limit: int = 100, backends: list[Backend] | None = None) -> UdpClients:
        allowed = self.backends if backends is None else backends
        upstream = UdpUpstream(
            RoundRobin(allowed),
            {backend: self.origins[backend] for backend in allowed},
            self.report,
            self.watch,
        )
        route = UdpRoute("dns", "names", upstream, RouteCounters())
        expression = parse("!ClientIP(`7.0.0.0/8`)", "tcp")
        table = finish(TcpTable.steps([Entry("dns", expression, 0, 1, route)]))
        resource = UdpResource("udp", self.generation, self, table, DatagramCounters())
        return UdpClients(
            "udp", resource, SessionTable(IDLE, limit), lambda host: host[0] != "6",
            timers_for(self.clock), self.clock.seconds,
        )  # fmt: skip

    def report(self, backend: Backend, error: UpstreamError) -> None:
        self.reported.append(f"{backend.url} {error.detail}")

    def observe(self, request: object, exchange: Exchange) -> None:
        assert request is None
        self.ended.append(exchange)

    def says(self, data: bytes, client: str = "1.1.1.1") -> None:
        self.clients.received(data, (client, 5353))

    def links(self, index: int) -> list[Link]:
        found: list[Link] = self.origins[self.backends[index]].links
        return found

    def session(self, client: str = "1.1.1.1") -> UdpSession:
        (found,) = [each for each in self.clients.connections if each.client[0] == client]
        return found

    @property
    def dropped(self) -> dict[str, int]:
        counts = self.clients.resource.counters.dropped
        return {reason: count for reason, count in counts.items() if count}

    @property
    def in_flight(self) -> list[int]:
        return [backend.in_flight for backend in self.backends]


@pytest.fixture
def world() -> World:
    return World()


# -- one session


def test_there_and_back(world: World) -> None:
    """All of a client goes to one server, and its answers to the client."""
    world.says(b"one")
    world.says(b"two")
    (link,) = world.links(0)
    assert (link.sent, world.links(1)) == ([b"one", b"two"], [])
    link.answer(b"ONE")
    world.says(b"three")
    link.answer(b"")
    assert world.port.sent == [(b"ONE", "1.1.1.1"), (b"", "1.1.1.1")]
    assert link.sent == [b"one", b"two", b"three"]
    counters = world.clients.resource.counters
    assert (counters.datagrams_in, counters.bytes_in) == (3, 11)
    assert (counters.datagrams_out, counters.bytes_out) == (2, 3)


def test_clients_are_balanced(world: World) -> None:
    """Session by session, not datagram by datagram."""
    for client in ("1.1.1.1", "2.2.2.2", "3.3.3.3", "1.1.1.1"):
        world.says(b"x", client)
    assert [len(world.links(index)) for index in (0, 1)] == [2, 1]
    assert world.in_flight == [2, 1]


def test_what_is_told_of_a_session(world: World) -> None:
    """One exchange, when it is over; nothing is held after it."""
    world.says(b"12345")
    world.clock.advance(1)
    world.links(0)[0].answer(b"123")
    assert world.generation.count == 1
    world.clock.advance(IDLE + 0.2)
    (exchange,) = world.ended
    assert (exchange.entrypoint, exchange.router, exchange.service) == ("udp", "dns", "names")
    assert (exchange.peer, exchange.backend, exchange.attempts) == ("1.1.1.1", "a", 1)
    assert (exchange.bytes_in, exchange.bytes_out, exchange.code) == (5, 3, "")
    assert (exchange.started_at, exchange.first_byte_at) == (0.0, 1.0)
    assert (world.generation.count, world.in_flight) == (0, [0, 0])
    assert world.links(0)[0].is_closed


# -- silence


def test_either_direction_keeps_a_session(world: World) -> None:
    """One who only sends, or only listens, is not cut."""
    world.says(b"x")
    for _ in range(3):
        world.clock.advance(IDLE - 1)
        world.links(0)[0].answer(b"y")
    for _ in range(3):
        world.clock.advance(IDLE - 1)
        world.says(b"x")
    assert len(world.clients.connections) == 1
    world.clock.advance(IDLE + 0.2)
    assert len(world.clients.connections) == 0
    assert world.clock.getDelayedCalls() == []


def test_many_ends_are_spread_over_turns() -> None:
    """Nobody else waits until ten thousand sockets are closed."""
    world = World(limit=10_000)
    for index in range(AT_A_TIME * 2 + 1):
        world.says(b"x", f"1.1.{index // 256}.{index % 256}")
    world.clock.advance(IDLE * (1 + GRAIN) + 0.1)
    assert len(world.ended) == AT_A_TIME
    world.clock.pump([0.1] * 4)
    assert len(world.ended) == AT_A_TIME * 2 + 1


# -- who gets one


def test_a_full_table_gives_up_the_most_silent() -> None:
    """And says so."""
    world = World(limit=2)
    for client in ("1.1.1.1", "2.2.2.2", "1.1.1.1", "3.3.3.3"):
        world.says(b"x", client)
        world.clock.advance(1)
    assert [each.client[0] for each in world.clients.connections] == ["1.1.1.1", "3.3.3.3"]
    assert [(each.peer, each.code) for each in world.ended] == [("2.2.2.2", "SESSION_EVICTED")]
    assert sum(world.in_flight) == 2


def test_a_client_that_comes_takes_silent_ones_away() -> None:
    """However many come, the table does not fill with those that are over."""
    world = World(limit=10_000)
    for index in range(AT_A_TIME * 2):
        world.says(b"x", f"1.1.{index // 256}.{index % 256}")
    world.clock.advance(IDLE * (1 + GRAIN))
    for index in range(AT_A_TIME):
        world.says(b"x", f"1.2.{index // 256}.{index % 256}")
    assert len(world.clients.connections) == AT_A_TIME
    assert {each.code for each in world.ended} == {""}


def test_who_may_not_come_is_counted_and_no_more(world: World) -> None:
    """By the allow-list, or because no rule takes it; also as IPv4 inside IPv6."""
    world.says(b"x", "6.6.6.6")
    world.says(b"x", "::ffff:6.6.6.6")
    world.says(b"x", "7.7.7.7")
    assert world.dropped == {"denied": 2, "no_route": 1}
    assert (world.clients.connections, world.ended) == ((), [])


# -- servers that are not there


def test_a_server_that_is_not_there_costs_no_question(world: World) -> None:
    """What was not answered goes to another one, and the first is spoken against."""
    world.says(b"one")
    world.says(b"two")
    world.links(0)[0].refuse()
    (other,) = world.links(1)
    assert other.sent == [b"one", b"two"]
    other.answer(b"ONE")
    assert world.port.sent == [(b"ONE", "1.1.1.1")]
    assert world.watch.told == ["failed a"]
    assert world.reported == ["a Connection refused"]
    assert world.in_flight == [0, 1]
    assert world.session().exchange.attempts == 2


def test_a_server_that_goes_away_ends_its_session(world: World) -> None:
    """The client's next datagram begins another one."""
    world.says(b"x")
    world.links(0)[0].answer(b"y")
    world.says(b"x")
    world.links(0)[0].refuse()
    assert [each.code for each in world.ended] == ["UPSTREAM_CONNECT"]
    assert world.in_flight == [0, 0]
    world.says(b"again")
    assert world.links(1)[0].sent == [b"again"]


def test_an_error_of_sending_is_one_of_the_server(world: World) -> None:
    """It tells of the datagram before."""
    world.says(b"one")
    world.links(0)[0].error = REFUSED
    world.says(b"two")
    assert world.links(1)[0].sent == [b"one", b"two"]


def test_no_server_at_all(world: World) -> None:
    """Each is tried once; the session is over, and told of."""
    world.says(b"x")
    world.links(0)[0].refuse()
    world.links(1)[0].refuse()
    (exchange,) = world.ended
    assert (exchange.code, exchange.attempts) == ("NO_HEALTHY_BACKEND", 2)
    assert world.dropped == {"no_backend": 1}
    assert (world.clients.connections, world.in_flight) == ((), [0, 0])


def test_servers_without_an_address(world: World) -> None:
    """The next one is asked; the code says why there was none."""
    for origin in world.origins.values():
        origin.error = UpstreamConnectError("UPSTREAM_CONNECT", "no address")
    world.says(b"x")
    assert [(each.code, each.attempts) for each in world.ended] == [("UPSTREAM_CONNECT", 2)]
    assert world.watch.told == ["failed a", "failed b"]
    world.origins[world.backends[0]].error = None
    world.says(b"x")
    assert world.links(0)[0].sent == [b"x"]


def test_an_answer_counts_for_a_server_on_trial(world: World) -> None:
    """So does a session that ends in peace, though nobody answers there ever."""
    for backend in world.backends:
        backend.outlier.eject(0.0, PassiveHealthConfig(), 0.0)
        backend.outlier.look(100.0)
        backend.settle()
    world.says(b"x")
    world.links(0)[0].answer(b"y")
    assert world.watch.told == ["answered 0"]
    world.says(b"x", "2.2.2.2")
    world.clock.advance(IDLE + 0.2)
    assert world.watch.told == ["answered 0"] * 3  # the end tells of both


# -- what waits


def test_a_name_that_is_being_looked_up(world: World) -> None:
    """What comes meanwhile waits, up to a bound."""
    gate: Waiter[None] = Waiter()
    world.origins[world.backends[0]].gate = gate
    for index in range(KEPT + 2):
        world.says(b"%d" % index)
    assert world.links(0) == []
    gate.resolve(None)
    assert world.links(0)[0].sent == [b"%d" % index for index in range(KEPT)]
    assert world.dropped == {"waiting": 2}


def test_a_large_datagram_waits_too_but_alone(world: World) -> None:
    """Memory is bounded in bytes as well."""
    gate: Waiter[None] = Waiter()
    world.origins[world.backends[0]].gate = gate
    world.says(bytes(65_507))
    world.says(b"x")
    gate.resolve(None)
    assert [len(each) for each in world.links(0)[0].sent] == [65_507]
    assert world.dropped == {"waiting": 1}


def test_much_that_is_not_answered_is_not_kept(world: World) -> None:
    """A log, say: where nobody hears it, it is over with the first session."""
    for _ in range(KEPT + 1):
        world.says(b"x")
    world.links(0)[0].refuse()
    assert [each.code for each in world.ended] == ["UPSTREAM_CONNECT"]
    assert world.links(1) == []


def test_the_end_while_a_name_is_looked_up(world: World) -> None:
    """Nothing is leased after it."""
    world.origins[world.backends[0]].gate = Waiter()
    world.says(b"x")
    assert world.in_flight == [1, 0]
    world.clock.advance(IDLE + 0.2)
    assert (world.in_flight, world.generation.count) == ([0, 0], 0)


# -- sockets that take nothing


def test_a_full_queue_loses_a_datagram_and_no_more(world: World) -> None:
    """In either direction; nobody waits."""
    world.says(b"x")
    link = world.links(0)[0]
    link.answer(b"y")
    link.error = FULL
    world.says(b"lost")
    world.says(b"sent")
    world.port.error = FULL
    link.answer(b"lost")
    world.port.error = OSError(errno.EMSGSIZE, "Message too long")
    link.answer(b"too large")
    world.port.error = OSError(errno.ENETUNREACH, "Network is unreachable")
    link.answer(b"nowhere")
    world.port.error = None
    link.answer(b"sent")
    assert link.sent == [b"x", b"sent"]
    assert [data for data, _ in world.port.sent] == [b"y", b"sent"]
    assert world.dropped == {"congested": 2, "too_large": 1, "unreachable": 1}
    assert world.ended == []


# -- changes


def after(world: World, change: Callable[[], UdpClients]) -> None:
    world.clients.become(change())
    world.clock.advance(0.2)


def test_a_session_lives_on_through_a_reload(world: World) -> None:
    """With its server, and the generation in which it began."""
    world.says(b"x")
    after(world, world.make)
    world.says(b"y")
    assert world.links(0)[0].sent == [b"x", b"y"]
    assert (world.ended, world.generation.count) == ([], 1)


def test_a_server_that_is_gone_ends_its_sessions(world: World) -> None:
    """And no others."""
    world.says(b"x", "1.1.1.1")
    world.says(b"x", "2.2.2.2")
    after(world, partial(world.make, backends=world.backends[1:]))
    assert [each.peer for each in world.ended] == ["1.1.1.1"]
    assert world.links(0)[0].is_closed
    world.says(b"again", "1.1.1.1")
    assert world.links(1)[1].sent == [b"again"]


def test_a_client_that_may_come_no_more(world: World) -> None:
    """Its session ends with the reload that says so."""
    world.says(b"x")
    other = world.make()
    other.is_allowed = lambda _: False
    after(world, lambda: other)
    assert world.clients.connections == ()
    world.says(b"x")
    assert world.dropped == {"denied": 1}


def test_a_shorter_silence_holds_for_all(world: World) -> None:
    """Also for the sessions that there are."""
    world.says(b"x")
    other = world.make()
    other.sessions.idle = 1.0
    after(world, lambda: other)
    world.clock.advance(1.1)
    assert world.clients.connections == ()


# -- the end


def fired(world: World) -> list[str]:
    log: list[str] = []
    world.clients.stop_receiving()
    world.clients.drain().addCallback(lambda _: log.append("drained"))
    return log


def test_a_drain_waits_for_answers_and_no_longer(world: World) -> None:
    """Who is owed nothing is let go at once."""
    world.says(b"x", "1.1.1.1")
    world.says(b"x", "2.2.2.2")
    world.links(0)[0].answer(b"y")
    log = fired(world)
    assert [each.client[0] for each in world.clients.connections] == ["2.2.2.2"]
    assert (world.port.state, log) == ("stopped", [])
    world.links(1)[0].answer(b"y")
    assert world.port.sent[-1] == (b"y", "2.2.2.2")
    assert (world.port.state, log) == ("closed", ["drained"])
    assert world.clock.getDelayedCalls() == []


def test_a_drain_does_not_wait_for_ever(world: World) -> None:
    """Who answers, answers soon."""
    world.says(b"x")
    log = fired(world)
    world.clock.advance(ANSWER_WITHIN + 0.2)
    assert log == ["drained"]
    assert [each.code for each in world.ended] == ["SHUTTING_DOWN"]
    assert (world.in_flight, world.generation.count) == ([0, 0], 0)


def test_nobody_to_drain(world: World) -> None:
    """The port is closed when it receives no more."""
    world.clients.stop_receiving()
    assert world.port.state == "closed"
    assert fired(world) == ["drained"]


def test_a_server_that_goes_during_a_drain(world: World) -> None:
    """The last session ends, and so does the drain."""
    world.says(b"x")
    log = fired(world)
    world.links(0)[0].refuse()
    world.links(1)[0].refuse()
    assert log == ["drained"]


def test_a_session_that_is_over_is_garbage_at_once(world: World) -> None:
    """Without a cycle: what a reload freezes is never looked at again."""
    gc.collect()
    gc.disable()
    try:
        gone = []
        for client in ("1.1.1.1", "2.2.2.2"):
            world.says(b"x", client)
            gone.append(weakref.ref(world.session(client)))
        world.links(0)[0].answer(b"y")
        world.links(1)[0].refuse()  # and the first server takes over
        world.clock.advance(IDLE * 2)
        world.ended.clear()
        for origin in world.origins.values():
            origin.links.clear()
        assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import (
    HealthCheckConfig,
    LoadBalancerConfig,
    PassiveHealthConfig,
    ServerConfig,
)
from a3s_gateway.errors import GatewayError
from a3s_gateway.runtime.reload import finish
from a3s_gateway.service.backend import Backend
from a3s_gateway.service.health import ProbeError, Standing
from a3s_gateway.service.health_service import HealthChecks
from a3s_gateway.service.outliers import Outliers
from a3s_gateway.task import Waiter

CHECK = HealthCheckConfig(interval=10.0, timeout=3.0, unhealthy_threshold=2, healthy_threshold=2)
LATE = 0.1  # seconds that a timer of ours may be late


class FakeProbe:
    """Notes each look; lets the test say what it finds."""

    def __init__(self, clock: Clock, fault: str | None = "") -> None:
        self.clock = clock
        self.fault = fault  # None: no answer
        self.looks: list[float] = []
        self.running = 0
        self.closed = 0

    async def look(self) -> None:
        self.looks.append(self.clock.seconds())
        self.running += 1
        try:
            if self.fault is None:
                await Waiter[None]()
            if self.fault:
                raise ProbeError(self.fault)
        finally:
            self.running -= 1

    def close(self) -> None:
        self.closed += 1


class World:
    """A clock, the service, and a service of two servers."""

    def __init__(self, chance: float = 0.5) -> None:
        self.clock = Clock()
        self.health: Any = HealthChecks(self.clock, self.clock.seconds, lambda: chance)
        self.health.startService()
        self.backends = (Backend("http://10.0.0.1"), Backend("http://10.0.0.2"))
        self.probes = tuple(FakeProbe(self.clock) for _ in self.backends)

    def put_in_force(self, services: list[Outliers]) -> None:
        finish(self.health.steps(services)).commit()

    def outliers(self, check: HealthCheckConfig | None = CHECK, **passive: Any) -> Outliers:
        balancing = LoadBalancerConfig(
            servers=tuple(ServerConfig(url=ServerUrl.parse(each.url)) for each in self.backends),
            health_check=check,
            passive_health=PassiveHealthConfig(**passive),
        )
        probes = self.probes if check is not None else ()
        return Outliers("api", balancing, self.backends, lambda: 0.0, probes)

    def run(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))


def lines(events: Iterable[dict[str, Any]]) -> list[str]:
    return [formatEvent(each) for each in events if each["log_level"] >= LogLevel.info]


# -- probes


def test_probes_begin_soon_and_repeat_at_the_interval() -> None:
    """The first one tells a starting gateway what is there; later ones come regularly."""
    world = World()
    world.put_in_force([world.outliers()])
    world.run(25)
    first, second, third = world.probes[0].looks
    assert 0.5 <= first <= 0.5 + LATE + 0.05
    assert 10 <= second - first <= 10 + LATE + 0.05
    assert 10 <= third - second <= 10 + LATE + 0.05


def test_where_thousands_begin_their_first_probes_are_spread() -> None:
    """They do not hold up traffic all at once; the interval is still the longest pause."""
    for count, begin in ((3000, 3.0), (20_000, 5.0)):
        world = World()
        world.backends = tuple(Backend(f"http://10.0.0.1:{each + 1}") for each in range(count))
        world.probes = tuple(FakeProbe(world.clock) for _ in world.backends)
        world.put_in_force([world.outliers()])
        world.run(begin - 0.1)
        assert world.probes[-1].looks == []
        world.run(0.4)
        assert len(world.probes[-1].looks) == 1


@pytest.mark.parametrize(("chance", "gap"), [(0.0, 9.0), (0.999, 11.0)])
def test_intervals_are_spread_by_a_tenth(chance: float, gap: float) -> None:
    """A hundred gateways that were started together do not probe together for ever."""
    world = World(chance)
    world.put_in_force([world.outliers()])
    world.run(14)
    first, second = world.probes[0].looks
    assert second - first == pytest.approx(gap, abs=LATE + 0.06)


def test_a_verdict_is_logged_once() -> None:
    """One line when a server goes, one when it is back, however many probes there are."""
    world = World()
    world.probes[0].fault = "it answered 500"
    world.put_in_force([world.outliers()])
    with capturedLogs() as events:
        world.run(60)
        assert not world.backends[0].available
        assert world.backends[0].active.fault == "it answered 500"
        world.probes[0].fault = ""
        world.run(60)
    assert world.backends[0].available
    assert lines(events) == [
        "backend http://10.0.0.1 of api is down: it answered 500",
        "backend http://10.0.0.1 of api is up again",
    ]


def test_a_probe_without_an_answer_is_given_up() -> None:
    """A server that hangs is as bad as one that is gone; the probe does not pile up."""
    world = World()
    world.probes[0].fault = None
    world.put_in_force([world.outliers()])
    world.run(12)
    assert len(world.probes[0].looks) == 2
    assert world.probes[0].running == 1
    world.run(3)
    assert world.probes[0].running == 0
    assert world.backends[0].active.fault == "no answer within 3 s"
    assert not world.backends[0].available


def test_a_hanging_server_does_not_delay_the_others() -> None:
    """Servers are probed side by side."""
    world = World()
    world.probes[0].fault = None
    patient = evolve(CHECK, timeout=60.0)
    world.put_in_force([world.outliers(patient)])
    world.run(45)
    assert len(world.probes[0].looks) == 1
    assert len(world.probes[1].looks) == 5


def test_a_stop_ends_every_probe_and_every_timer() -> None:
    """A gateway that has stopped asks nobody anything."""
    world = World()
    world.probes[0].fault = None
    world.put_in_force([world.outliers()])
    world.run(1)
    assert world.probes[0].running == 1
    world.health.stopService()
    assert [probe.running for probe in world.probes] == [0, 0]
    assert [probe.closed for probe in world.probes] == [1, 1]
    assert world.clock.getDelayedCalls() == []


def test_a_fault_of_a_probe_itself_counts_as_a_failure() -> None:
    """What nobody thought of does not end the probing."""
    world = World()

    async def look() -> None:
        raise ZeroDivisionError("by zero")

    world.probes[0].look = look  # type: ignore[method-assign]
    world.put_in_force([world.outliers()])
    with capturedLogs() as events:
        world.run(12)
    assert world.backends[0].active.failures == 2
    assert "probe of http://10.0.0.1 failed" in lines(events)[0]


# -- reloads


def test_a_reload_that_leaves_a_service_alone_leaves_its_probes_alone() -> None:
    """The rhythm goes on, a probe under way is not dropped, what is known stays known."""
    world = World()
    world.probes[0].fault = "refused"
    world.put_in_force([world.outliers()])
    world.run(5)
    looks = len(world.probes[0].looks)
    for _ in range(5):
        world.put_in_force([world.outliers()])
    world.run(5)
    assert len(world.probes[0].looks) == looks
    assert world.backends[0].active.failures == 1
    assert world.probes[0].closed == 0
    assert len(world.health._checkers) == 2  # noqa: SLF001 - none must be left over


def test_a_changed_check_begins_anew_and_keeps_the_verdict() -> None:
    """A server that is down stays so until the new probes find it up."""
    world = World()
    world.probes[0].fault = "refused"
    world.put_in_force([world.outliers()])
    world.run(15)
    assert not world.backends[0].available
    old, world.probes = world.probes, tuple(FakeProbe(world.clock) for _ in world.backends)
    world.put_in_force([world.outliers(evolve(CHECK, interval=2.0))])
    assert old[0].closed == 1
    assert not world.backends[0].available
    world.run(4)
    assert world.backends[0].available
    assert len(world.probes[0].looks) == 2


def test_a_change_that_is_undone_has_changed_nothing() -> None:
    """It was prepared while the probes of before went on, and they go on still."""
    world = World()
    world.put_in_force([world.outliers()])
    world.run(15)
    looks = len(world.probes[0].looks)
    probes, world.probes = world.probes, tuple(FakeProbe(world.clock) for _ in world.backends)
    finish(world.health.steps([world.outliers(evolve(CHECK, interval=2.0))])).undo()
    world.run(20)
    assert len(probes[0].looks) > looks
    assert [probe.looks for probe in world.probes] == [[], []]


def test_a_server_that_is_no_longer_probed_is_believed_again() -> None:
    """Without the check nothing could ever bring it back."""
    world = World()
    world.probes[0].fault = "refused"
    world.put_in_force([world.outliers()])
    world.run(15)
    assert not world.backends[0].available
    world.put_in_force([world.outliers(None)])
    assert world.backends[0].available
    assert world.clock.getDelayedCalls() == []


def test_after_a_reload_the_last_server_left_gets_requests_at_once() -> None:
    """The server that could stand in for the ejected one may be gone from the configuration."""
    world = World()
    outliers = world.outliers(None, failures=1)
    world.put_in_force([outliers])
    bad, _ = world.backends
    fail(world, outliers, bad)
    assert not bad.available
    world.backends = (bad,)
    world.put_in_force([world.outliers(None)])
    assert bad.available


# -- requests


def fail(world: World, outliers: Outliers, backend: Backend, code: str = "UPSTREAM_RESET") -> None:
    lease = backend.acquire(world.health.watch(outliers))
    lease.failed(GatewayError(code))
    lease.release()


def test_an_ejected_server_is_half_open_in_time() -> None:
    """It comes back without a probe and without anybody's doing; each change is one line."""
    world = World()
    outliers = world.outliers(None, failures=2, ejection=20.0)
    world.put_in_force([outliers])
    bad, _ = world.backends
    with capturedLogs() as events:
        fail(world, outliers, bad)
        assert bad.available
        fail(world, outliers, bad)
        assert not bad.available
        world.run(19.9)
        assert not bad.available
        world.run(0.3)
        assert bad.available
        lease = bad.acquire(world.health.watch(outliers))
        lease.answered(200)
        lease.release()
    assert not bad.is_ejected
    assert lines(events) == [
        "backend http://10.0.0.1 of api is left out for 20 s: UPSTREAM_RESET",
        "backend http://10.0.0.1 of api answers well again",
    ]
    world.run(60)
    assert world.clock.getDelayedCalls() == []


def test_a_trial_that_never_ends_makes_room_for_another() -> None:
    """A request that is let through and never finished does not keep the server out for ever."""
    world = World()
    outliers = world.outliers(None, failures=1, ejection=10.0)
    world.put_in_force([outliers])
    bad, _ = world.backends
    fail(world, outliers, bad)
    world.run(10.2)
    bad.acquire(world.health.watch(outliers))
    assert bad.outlier.standing is Standing.ON_TRIAL
    world.run(20.4)
    assert bad.available


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        ("UPSTREAM_CONNECT", True),
        ("UPSTREAM_TIMEOUT", True),
        ("UPSTREAM_RESET", True),
        ("UPSTREAM_PROTOCOL", True),
        ("UPSTREAM_BUSY", False),
        ("CLIENT_GONE", False),
    ],
)
def test_only_what_the_server_did_speaks_against_it(code: str, counts: bool) -> None:  # noqa: FBT001
    """A limit of our own, or a client that goes away, is not the server's fault."""
    world = World()
    outliers = world.outliers(None, failures=1)
    world.put_in_force([outliers])
    bad, _ = world.backends
    fail(world, outliers, bad, code)
    assert bad.is_ejected == counts


@pytest.mark.parametrize(
    ("code", "counts"), [("UPSTREAM_RESET", True), ("UPSTREAM_TIMEOUT", False)]
)
def test_a_stream_may_be_quiet_but_not_break_off(code: str, counts: bool) -> None:  # noqa: FBT001
    """Streams that end by their time limit are ordinary; those that are cut off are not."""
    world = World()
    outliers = world.outliers(None, failures=1)
    world.put_in_force([outliers])
    bad, _ = world.backends
    lease = bad.acquire(world.health.watch(outliers))
    lease.answered(200)
    lease.broke(GatewayError(code))
    assert bad.is_ejected == counts


def test_late_failures_of_a_former_server_set_no_timer() -> None:
    """A server that is no longer configured is forgotten with its last request."""
    world = World()
    outliers = world.outliers(None, failures=1)
    world.put_in_force([outliers])
    lease = world.backends[0].acquire(world.health.watch(outliers))
    world.put_in_force([])
    lease.failed(GatewayError("UPSTREAM_RESET"))
    assert world.clock.getDelayedCalls() == []


def test_timers_of_servers_that_go_are_cancelled() -> None:
    """So nothing holds them."""
    world = World()
    outliers = world.outliers(None, failures=1)
    world.put_in_force([outliers])
    fail(world, outliers, world.backends[0])
    assert world.clock.getDelayedCalls() != []
    world.put_in_force([])
    assert world.clock.getDelayedCalls() == []

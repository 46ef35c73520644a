from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from a3s_gateway.config.balancing import (
    HealthCheckConfig,
    LoadBalancerConfig,
    PassiveHealthConfig,
)
from a3s_gateway.errors import GatewayError
from a3s_gateway.service.backend import Backend, Lease
from a3s_gateway.service.health import (
    JITTER,
    MAX_EJECTION,
    ActiveHealth,
    Outlier,
    Standing,
    TransitionError,
)
from a3s_gateway.service.outliers import Change, Outliers

PASSIVE = PassiveHealthConfig(failures=3, window=10.0, ejection=20.0)
CHECK = HealthCheckConfig(unhealthy_threshold=3, healthy_threshold=2)
NO_JITTER = 0.0


# -- probes


def test_a_server_is_well_until_probes_say_otherwise() -> None:
    """A server that has just been configured gets requests before its first probe is over."""
    assert Backend("http://a").available


def test_only_failures_in_a_row_take_a_server_out() -> None:
    """A probe that is lost now and then costs nothing."""
    active = ActiveHealth()
    for _ in range(10):
        assert not active.failed("late", 3)
        assert not active.failed("late", 3)
        assert not active.succeeded(2)
    assert active.is_up


def test_only_successes_in_a_row_bring_a_server_back() -> None:
    """A server that answers every other probe stays out."""
    active = ActiveHealth()
    assert [active.failed("late", 3) for _ in range(4)] == [False, False, True, False]
    for _ in range(5):
        assert not active.succeeded(2)
        assert not active.failed("late", 3)
    assert not active.is_up
    assert [active.succeeded(2) for _ in range(3)] == [False, True, False]
    assert active.is_up


@given(st.lists(st.booleans()), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_changes_only_with_a_streak(probes: list[bool], fall: int, rise: int) -> None:
    """Whatever the probes say, the verdict is that of the last streak that was long enough."""
    active, expected = ActiveHealth(), True
    for count, is_good in enumerate(probes, start=1):
        streak = probes[:count]
        if streak[-rise:] == [True] * rise and not expected:
            expected, changed = True, True
        elif streak[-fall:] == [False] * fall and expected:
            expected, changed = False, True
        else:
            changed = False
        told = active.succeeded(rise) if is_good else active.failed("refused", fall)
        assert (active.is_up, told) == (expected, changed)
        assert active.fault == ("" if is_good else "refused")


# -- requests: one server


def fail(outlier: Outlier, *times: float) -> list[bool]:
    return [outlier.failed(now, PASSIVE) for now in times]


def test_failures_count_while_they_are_in_the_window() -> None:
    """Three failures a minute apart are three misfortunes, three in ten seconds a pattern."""
    outlier = Outlier()
    assert fail(outlier, 0.0, 6.0, 12.0, 18.0, 19.0) == [False, False, False, False, True]


@given(st.lists(st.floats(0, 3), max_size=60))
def test_no_more_failures_are_remembered_than_it_takes(gaps: list[float]) -> None:
    """A server that fails all the time does not fill the memory; the count is exact all along."""
    outlier, now = Outlier(), 0.0
    times: list[float] = []
    for gap in gaps:
        now += gap
        times.append(now)
        recent = sum(time >= now - PASSIVE.window for time in times)
        assert outlier.failed(now, PASSIVE) == (recent >= PASSIVE.failures)
        assert outlier.recent_failures == min(recent, PASSIVE.failures)


def ejected(outlier: Outlier, now: float, chance: float = NO_JITTER) -> float:
    """Eject it; returns for how long."""
    outlier.eject(now, PASSIVE, chance)
    return outlier.until - now


def relapse(outlier: Outlier) -> float:
    """Wait for the end of the ejection, fail the trial; returns the length of the next one."""
    now = outlier.until
    outlier.look(now)
    outlier.try_out()
    return ejected(outlier, now)


def test_an_ejection_ends_at_its_time_and_not_before() -> None:
    """The server is left alone for as long as the configuration says."""
    outlier = Outlier()
    outlier.eject(100.0, PASSIVE, NO_JITTER)
    outlier.look(119.9)
    assert outlier.standing is Standing.EJECTED
    outlier.look(120.0)
    assert outlier.standing is Standing.HALF_OPEN


def test_each_ejection_in_a_row_is_longer_up_to_a_limit() -> None:
    """A server that stays broken is asked less and less often, but never given up."""
    outlier = Outlier()
    lengths = [ejected(outlier, 0.0), *(relapse(outlier) for _ in range(40))]
    assert lengths[:5] == [20.0, 40.0, 80.0, 160.0, 300.0]
    assert lengths[-1] == pytest.approx(MAX_EJECTION)
    assert outlier.ejections == 41


def test_an_ejection_longer_than_the_limit_stays_as_configured() -> None:
    """Whoever asks for ten minutes gets ten minutes."""
    outlier = Outlier()
    outlier.eject(0.0, PassiveHealthConfig(ejection=600.0), NO_JITTER)
    assert outlier.until == 600.0


@given(st.floats(0, 1, exclude_max=True))
def test_chance_makes_an_ejection_shorter_by_a_tenth_at_most(chance: float) -> None:
    """Servers that were ejected together do not come back in the same moment, nor late."""
    assert 20.0 * (1 - JITTER) <= ejected(Outlier(), 0.0, chance) <= 20.0


def test_serving_well_for_long_enough_is_forgiveness() -> None:
    """A relapse soon after the return counts as the same illness, one much later does not."""
    outlier = Outlier()
    assert ejected(outlier, 0.0) == 20.0
    outlier.look(20.0)
    outlier.readmit(20.0)
    assert ejected(outlier, 39.0) == 40.0
    outlier.look(79.0)
    outlier.readmit(79.0)
    assert ejected(outlier, 119.0) == 20.0


def test_a_trial_that_decides_nothing_lets_the_next_one_begin() -> None:
    """A client that goes away during the trial does not keep the server out."""
    outlier = Outlier()
    outlier.eject(0.0, PASSIVE, NO_JITTER)
    outlier.look(20.0)
    first = outlier.try_out()
    outlier.abandon(first)
    second = outlier.try_out()
    assert not outlier.is_tried_by(first)
    assert outlier.is_tried_by(second)
    outlier.abandon(first)  # said twice
    assert outlier.standing is Standing.ON_TRIAL


def test_a_trial_that_never_ends_is_given_up_at_the_second_look() -> None:
    """An upload of an hour does not keep other requests away for an hour."""
    outlier = Outlier()
    outlier.eject(0.0, PASSIVE, NO_JITTER)
    outlier.look(20.0)
    slow = outlier.try_out()
    outlier.look(40.0)
    assert outlier.is_tried_by(slow)
    outlier.look(60.0)
    assert outlier.standing is Standing.HALF_OPEN
    assert not outlier.is_tried_by(slow)


def test_what_cannot_be_is_an_error_that_names_the_standing() -> None:
    """A mistake of ours is heard of, and not taken for a verdict."""
    outlier = Outlier()
    with pytest.raises(TransitionError, match="serving cannot be tried out"):
        outlier.try_out()
    with pytest.raises(TransitionError, match="serving cannot be readmitted"):
        outlier.readmit(0.0)
    outlier.eject(0.0, PASSIVE, NO_JITTER)
    with pytest.raises(TransitionError, match="ejected cannot be ejected"):
        outlier.eject(0.0, PASSIVE, NO_JITTER)


# -- requests: all servers of a service


def service(count: int, passive: PassiveHealthConfig = PASSIVE, weight: int = 1) -> Outliers:
    backends = tuple(Backend(f"http://10.0.0.{n}", weight) for n in range(1, count + 1))
    balancing = LoadBalancerConfig(passive_health=passive)
    return Outliers("api", balancing, backends, lambda: NO_JITTER)


def attempt(
    outliers: Outliers, backend: Backend, now: float, *, failed: bool = True
) -> Change | None:
    lease = backend.acquire()
    try:
        return outliers.attempted(lease, now, failed=failed)
    finally:
        lease.release()


def attempts(outliers: Outliers, backend: Backend, count: int, now: float) -> list[Change | None]:
    return [attempt(outliers, backend, now) for _ in range(count)]


def test_a_failing_server_is_left_out_and_comes_back_by_one_good_answer() -> None:
    """Clients stop meeting its errors; after a while one of them finds out that it is well."""
    outliers = service(2)
    bad, _ = outliers.backends
    assert attempts(outliers, bad, 3, 0.0) == [None, None, Change.EJECTED]
    assert (bad.available, bad.is_ejected) == (False, True)
    bad.outlier.look(20.0)
    bad.settle()
    assert bad.available
    trial = bad.acquire()
    assert not bad.available  # one at a time
    assert outliers.attempted(trial, 20.1, failed=False) is Change.RETURNED
    assert (bad.available, bad.is_ejected) == (True, False)
    trial.release()
    assert bad.available


def test_a_failed_trial_is_another_ejection_at_once() -> None:
    """It takes one failure then, not as many as at first."""
    outliers = service(2)
    bad, _ = outliers.backends
    attempts(outliers, bad, 3, 0.0)
    bad.outlier.look(20.0)
    bad.settle()
    assert attempt(outliers, bad, 20.0) is Change.EJECTED
    assert bad.outlier.until == 60.0


def test_a_cancelled_trial_opens_the_door_again() -> None:
    """The request that was let through may end in any way: the server is not lost."""
    outliers = service(2)
    bad, _ = outliers.backends
    attempts(outliers, bad, 3, 0.0)
    bad.outlier.look(20.0)
    bad.settle()
    trial = bad.acquire()
    assert not bad.available
    trial.release()
    trial.release()
    assert bad.available
    assert bad.acquire().trial != trial.trial


def test_requests_that_were_under_way_decide_nothing() -> None:
    """Late answers of an ejected server neither bring it back nor keep it out longer."""
    outliers = service(2)
    bad, _ = outliers.backends
    early, late = bad.acquire(), bad.acquire()
    attempts(outliers, bad, 3, 0.0)
    assert outliers.attempted(early, 1.0, failed=False) is None
    assert outliers.attempted(late, 1.0, failed=True) is None
    bad.outlier.look(20.0)
    bad.settle()
    bad.acquire()
    assert outliers.attempted(late, 20.0, failed=True) is None
    assert bad.outlier.standing is Standing.ON_TRIAL


def test_the_last_resort_is_the_server_that_would_return_first() -> None:
    """Of those not asked yet that probes find well, whether they may be picked or not."""
    outliers = service(4)
    first, second, third, standing = outliers.backends
    for backend, now in ((second, 0.0), (first, 1.0)):
        attempts(outliers, backend, 3, now)
    third.active.failed("refused", 1)
    third.settle()
    assert outliers.find_last_resort((standing,)) is second
    assert outliers.find_last_resort((standing, second)) is first
    assert outliers.find_last_resort((standing, second, first)) is None


def test_a_last_resort_that_answers_well_serves_again() -> None:
    """Its failure says nothing new: it is not left out for longer because all others are gone."""
    outliers = service(2)
    bad, _ = outliers.backends
    attempts(outliers, bad, 3, 0.0)
    until = bad.outlier.until
    assert attempt(outliers, bad, 1.0, failed=True) is None
    assert (bad.outlier.until, bad.available) == (until, False)
    assert attempt(outliers, bad, 1.0, failed=False) is Change.RETURNED
    assert bad.is_standing


def test_two_last_resorts_that_answer_well_are_told_once() -> None:
    """Requests come at the same time; the first good answer decides."""
    outliers = service(2)
    bad, _ = outliers.backends
    attempts(outliers, bad, 3, 0.0)
    one, other = bad.acquire(), bad.acquire()
    assert outliers.attempted(one, 1.0, failed=False) is Change.RETURNED
    assert outliers.attempted(other, 1.0, failed=False) is None
    assert bad.is_standing


def test_the_only_server_is_never_ejected() -> None:
    """An error of the server is worth more to a client than our own; it recovers as it does."""
    outliers = service(1, PassiveHealthConfig(failures=1, max_ejected_percent=100))
    assert set(attempts(outliers, outliers.backends[0], 20, 0.0)) == {None}
    assert outliers.backends[0].available


def test_a_server_without_weight_does_not_count_as_another() -> None:
    """One that gets no requests cannot stand in for the last one that does."""
    only, drained = Backend("http://a", 1), Backend("http://b", 0)
    passive = PassiveHealthConfig(failures=1, max_ejected_percent=100)
    balancing = LoadBalancerConfig(passive_health=passive)
    outliers = Outliers("api", balancing, (only, drained), lambda: NO_JITTER)
    assert attempt(outliers, only, 0.0) is None


@pytest.mark.parametrize(("percent", "left"), [(0, 10), (9, 10), (10, 9), (50, 5), (100, 1)])
def test_no_more_than_a_share_is_ejected(percent: int, left: int) -> None:
    """A fault of all servers (or of a common database) does not leave the service without any."""
    passive = PassiveHealthConfig(failures=1, max_ejected_percent=percent)
    outliers = service(10, passive)
    for backend in outliers.backends:
        attempt(outliers, backend, 0.0)
    assert sum(backend.available for backend in outliers.backends) == left


def test_a_server_that_was_spared_is_ejected_when_another_can_take_over() -> None:
    """The last one stays as long as it is the last; what it did meanwhile is not forgotten."""
    outliers = service(2, PassiveHealthConfig(failures=3, window=60.0, ejection=5.0))
    first, second = outliers.backends
    attempts(outliers, first, 3, 0.0)
    assert set(attempts(outliers, second, 10, 1.0)) == {None}
    first.outlier.look(5.0)
    first.settle()
    assert attempt(outliers, first, 5.0, failed=False) is Change.RETURNED
    assert attempt(outliers, second, 6.0) is Change.EJECTED


# -- both


def probe_down(outliers: Outliers, backend: Backend) -> list[Change | None]:
    return [outliers.probed(backend, "refused", CHECK) for _ in range(3)]


def test_a_good_probe_does_not_undo_an_ejection() -> None:
    """A health page that answers says little about the requests that fail."""
    outliers = service(2)
    bad, _ = outliers.backends
    attempts(outliers, bad, 3, 0.0)
    assert [outliers.probed(bad, "", CHECK) for _ in range(10)] == [None] * 10
    assert not bad.available


def test_the_end_of_an_ejection_does_not_undo_a_bad_probe() -> None:
    """Both verdicts must be good."""
    outliers = service(2)
    bad, _ = outliers.backends
    attempts(outliers, bad, 3, 0.0)
    assert probe_down(outliers, bad) == [None, None, Change.DOWN]
    bad.outlier.look(20.0)
    bad.settle()
    assert not bad.available
    outliers.probed(bad, "", CHECK)
    assert outliers.probed(bad, "", CHECK) is Change.UP
    assert bad.available


def test_an_ejected_server_is_called_back_when_it_is_the_last_one_that_is_up() -> None:
    """A server that fails some requests is better than none."""
    outliers = service(2)
    flaky, good = outliers.backends
    attempts(outliers, flaky, 3, 0.0)
    probe_down(outliers, good)
    assert outliers.rescue(1.0) is flaky
    assert flaky.available
    assert not flaky.is_ejected
    assert outliers.rescue(1.0) is None


def test_of_several_the_one_that_would_return_first_is_called_back() -> None:
    """The one that has been left out for the longest time has had the best chance to recover."""
    outliers = service(3, PassiveHealthConfig(failures=1, max_ejected_percent=100))
    late, early, good = outliers.backends
    attempt(outliers, early, 0.0)
    attempt(outliers, late, 1.0)
    probe_down(outliers, good)
    assert outliers.rescue(2.0) is early
    assert not late.available


def test_nobody_can_be_called_back_when_all_probes_fail() -> None:
    """The configuration asks for probes, so what they say is believed."""
    outliers = service(2)
    for backend in outliers.backends:
        probe_down(outliers, backend)
    assert outliers.rescue(0.0) is None
    assert not any(backend.available for backend in outliers.backends)


class Life(RuleBasedStateMachine):
    """Anything that can happen to the servers of a service, in any order."""

    @initialize(
        count=st.integers(1, 5),
        failures=st.integers(1, 3),
        percent=st.sampled_from([0, 10, 34, 50, 100]),
    )
    def start(self, count: int, failures: int, percent: int) -> None:
        self.passive = PassiveHealthConfig(
            failures=failures, window=10.0, ejection=5.0, max_ejected_percent=percent
        )
        self.outliers = service(count, self.passive)
        self.now = 0.0
        self.leases: list[Lease] = []

    @rule(data=st.data(), seconds=st.floats(0, 30))
    def time_passes(self, data: st.DataObject, seconds: float) -> None:
        self.now += seconds
        for backend in self.outliers.left_out():
            if data.draw(st.booleans()):  # the timer of some is late
                backend.outlier.look(self.now)
                backend.settle()

    @rule(data=st.data())
    def a_request_begins(self, data: st.DataObject) -> None:
        usable = [backend for backend in self.outliers.backends if backend.available]
        if usable:
            self.leases.append(data.draw(st.sampled_from(usable)).acquire())

    @rule(data=st.data(), failed=st.booleans())
    def a_request_is_answered(self, data: st.DataObject, failed: bool) -> None:  # noqa: FBT001
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            self.outliers.attempted(lease, self.now, failed=failed)

    @rule(data=st.data())
    def a_request_ends(self, data: st.DataObject) -> None:
        if self.leases:
            lease = data.draw(st.sampled_from(self.leases))
            self.leases.remove(lease)
            lease.release()

    @rule(data=st.data(), fault=st.sampled_from(["", "refused"]))
    def a_probe_is_over(self, data: st.DataObject, fault: str) -> None:
        backend = data.draw(st.sampled_from(self.outliers.backends))
        if self.outliers.probed(backend, fault, CHECK):
            self.outliers.rescue(self.now)

    @invariant()
    def somebody_serves_as_long_as_somebody_is_up(self) -> None:
        if hasattr(self, "outliers"):
            backends = self.outliers.backends
            up = [backend for backend in backends if backend.active.is_up]
            assert not up or any(b.available and not b.is_ejected for b in up)

    @invariant()
    def no_more_are_left_out_than_allowed(self) -> None:
        if hasattr(self, "outliers"):
            out = sum(1 for _ in self.outliers.left_out())
            assert out * 100 <= self.passive.max_ejected_percent * len(self.outliers.backends)

    @invariant()
    def one_trial_at_a_time(self) -> None:
        if hasattr(self, "outliers"):
            for backend in self.outliers.backends:
                deciding = [
                    lease
                    for lease in self.leases
                    if lease.backend is backend and backend.outlier.is_tried_by(lease.trial)
                ]
                is_on_trial = backend.outlier.standing is Standing.ON_TRIAL
                assert len(deciding) == is_on_trial
                assert not (is_on_trial and backend.available)

    def teardown(self) -> None:
        """Whatever has happened: when all is well again, all of it serves again."""
        if not hasattr(self, "outliers"):
            return
        for lease in self.leases:
            lease.release()
        self.now += 2 * MAX_EJECTION
        for backend in self.outliers.backends:
            for _ in range(CHECK.healthy_threshold):
                self.outliers.probed(backend, "", CHECK)
            self.outliers.rescue(self.now)
            backend.outlier.look(self.now)
            backend.settle()
            assert backend.available
            attempt(self.outliers, backend, self.now, failed=False)
            assert backend.available
            assert not backend.is_ejected
            assert backend.in_flight == 0


TestLife = Life.TestCase


# -- what leases report


class Recording:
    """Notes what leases tell."""

    statuses = frozenset({503})

    def __init__(self) -> None:
        self.heard: list[object] = []

    def answered(self, lease: Lease, status: int) -> None:
        self.heard.append((lease.trial, status))

    def failed(self, lease: Lease, error: Exception) -> None:
        self.heard.append(("failed", lease.trial, error))

    def broke(self, lease: Lease, error: Exception) -> None:
        self.heard.append(("broke", lease.trial, error))


def test_a_good_answer_is_told_only_where_it_matters() -> None:
    """Requests to a server that is well cost next to nothing."""
    backend, watch = Backend("http://a"), Recording()
    lease = backend.acquire(watch)
    lease.answered(200)
    assert watch.heard == []
    lease.answered(503)
    error = GatewayError("UPSTREAM_RESET")
    lease.failed(error)
    lease.broke(error)
    assert watch.heard == [(0, 503), ("failed", 0, error), ("broke", 0, error)]
    backend.outlier.eject(0.0, PASSIVE, NO_JITTER)
    backend.outlier.look(20.0)
    backend.settle()
    backend.acquire(watch).answered(200)
    assert watch.heard[-1] == (1, 200)


def test_after_the_release_nothing_is_judged() -> None:
    """What a body does when nobody holds its server any more concerns nobody."""
    outliers = service(2, PassiveHealthConfig(failures=1))
    lease = outliers.backends[0].acquire()
    lease.release()
    assert outliers.attempted(lease, 0.0, failed=True) is None

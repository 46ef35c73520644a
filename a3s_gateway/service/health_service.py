"""Health of servers, where it meets time: probes at their intervals, ejections that end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from random import random
from time import monotonic
from typing import Any, Final

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.logger import Logger

from a3s_gateway.config.balancing import HealthCheckConfig, UpstreamTlsConfig
from a3s_gateway.errors import GatewayError
from a3s_gateway.service.backend import Backend, Lease
from a3s_gateway.service.health import Probe, ProbeError
from a3s_gateway.service.outliers import FAULTS, FAULTS_OF_BODIES, Change, Outliers
from a3s_gateway.task import Task
from a3s_gateway.transport.timers import Timer, Timers, timers_for

JITTER: Final = 0.1  # share of an interval, either way: gateways do not probe in step
FIRST_WITHIN: Final = 1.0  # seconds, or the interval if that is shorter
FIRST_PER_SECOND: Final = 500  # probes; where more begin at once, they are spread over longer

_log = Logger()


@frozen(eq=False)
class PassiveWatch:
    """Tells the rules of a service what its requests come to, and when."""

    _health: HealthChecks
    _outliers: Outliers
    statuses: frozenset[int]

    def answered(self, lease: Lease, status: int) -> None:
        """Judge an answer."""
        self._judge(lease, f"it answered {status}", failed=status in self.statuses)

    def failed(self, lease: Lease, error: Exception) -> None:
        """Judge an attempt that got no answer, unless that was our own doing."""
        if isinstance(error, GatewayError) and error.fault.code in FAULTS:
            self._judge(lease, str(error), failed=True)

    def broke(self, lease: Lease, error: Exception) -> None:
        """Judge an answer that broke off."""
        if isinstance(error, GatewayError) and error.fault.code in FAULTS_OF_BODIES:
            self._judge(lease, str(error), failed=True)

    def find_last_resort(self, tried: Collection[Backend]) -> Backend | None:
        """Find one for a request that no available server has answered."""
        return self._outliers.find_last_resort(tried)

    def _judge(self, lease: Lease, what: str, *, failed: bool) -> None:
        backend = lease.backend
        change = self._outliers.attempted(lease, self._health.now(), failed=failed)
        if change is not None and backend is not None:
            self._health.tell(self._outliers, backend, change, what)


@frozen
class Plan:
    """All that a checker of a backend depends on: it goes on while this stays the same."""

    check: HealthCheckConfig
    tls: UpstreamTlsConfig | None


@define(eq=False)
class Checker:
    """Probes one server, one probe at a time, until it is stopped."""

    plan: Plan
    backend: Backend
    outliers: Outliers  # those in force
    _health: HealthChecks
    _probe: Probe
    _task: Task[None] | None = field(default=None, init=False)
    _started_at: float = field(default=0.0, init=False)
    _pause: Timer = field(init=False)
    _patience: Timer = field(init=False)

    @_pause.default
    def _between(self) -> Timer:
        return self._health.timers.timer(self._begin)

    @_patience.default
    def _limit(self) -> Timer:
        return self._health.timers.timer(self._late)

    def start(self, within: float) -> None:
        """Probe soon, at some time in the next seconds: not all servers at once."""
        self._pause.set(min(self.plan.check.interval, within) * self._health.random())

    def stop(self) -> None:
        """Drop a probe that is under way."""
        self._pause.cancel()
        self._end()
        self._probe.close()

    def _begin(self) -> None:
        self._started_at = self._health.now()
        self._patience.set(self.plan.check.timeout)
        self._task = Task(self._probe.look(), lambda _: self._over(""), self._failed)
        self._task.start()

    def _late(self) -> None:
        self._over(f"no answer within {self.plan.check.timeout:g} s")

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, ProbeError):
            _log.error("a probe of {url} failed: {error}", url=self.backend.url, error=repr(error))
        self._over(str(error) or type(error).__name__)

    def _over(self, fault: str) -> None:
        self._end()
        spread = 1 - JITTER + 2 * JITTER * self._health.random()
        spent = self._health.now() - self._started_at
        self._pause.set(max(0.0, self.plan.check.interval * spread - spent))
        self._health.probed(self, fault)

    def _end(self) -> None:
        self._patience.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()


@frozen(eq=False)
class HealthChange:
    """
    A `Prepared` change: whose health is looked after from now on.

    Attributes:
        services: All of them.
        checkers: All that there will be.
        kept: Those that go on, and whom they report to.
        begun: Those that are new.

    """

    health: HealthChecks
    services: tuple[Outliers, ...]
    checkers: dict[Backend, Checker] = field(factory=dict, init=False)
    kept: list[tuple[Checker, Outliers]] = field(factory=list, init=False)
    begun: list[Checker] = field(factory=list, init=False)

    def commit(self) -> None:
        """Probe by this from now on."""
        self.health.become(self)

    def undo(self) -> None:
        """Have nothing to give back: no probe has begun."""


@define(eq=False, slots=False)
class HealthChecks(Service):
    """
    Keeps the health of all servers: one checker for each that is to be probed.

    What is learned lies in the backends, which outlive a reload that leaves them alone; so do
    the checkers whose plan stays the same.
    """

    name = "health"
    reactor: Any
    now: Callable[[], float] = monotonic
    random: Callable[[], float] = random
    timers: Timers = field(init=False)
    _checkers: dict[Backend, Checker] = field(factory=dict, init=False)
    _returns: dict[Backend, Timer] = field(factory=dict, init=False)
    _known: frozenset[Backend] = field(default=frozenset(), init=False)

    @timers.default
    def _wheel(self) -> Timers:
        return timers_for(self.reactor)

    def watch(self, outliers: Outliers) -> PassiveWatch:
        """Make what the leases of a service report to; its servers are not probed yet."""
        return PassiveWatch(self, outliers, outliers.statuses)

    def steps(self, services: Iterable[Outliers]) -> Generator[None, None, HealthChange]:
        """Prepare to probe the servers of these services, and no others."""
        change = HealthChange(self, tuple(services))
        for outliers in change.services:
            check = outliers.balancing.health_check
            if check is not None:
                self._check(outliers, check, change)
            yield
        return change

    def _check(self, outliers: Outliers, check: HealthCheckConfig, change: HealthChange) -> None:
        plan = Plan(check, outliers.balancing.tls)
        for backend, probe in zip(outliers.backends, outliers.probes, strict=True):
            checker = self._checkers.get(backend)
            if checker is not None and checker.plan == plan:
                change.kept.append((checker, outliers))
            else:
                checker = Checker(plan, backend, outliers, self, probe)
                change.begun.append(checker)
            change.checkers[backend] = checker

    def become(self, change: HealthChange) -> None:
        """Put a change in force."""
        self._known = frozenset(b for outliers in change.services for b in outliers.backends)
        for backend in [each for each in self._returns if each not in self._known]:
            self._returns.pop(backend).cancel()
        before, self._checkers = self._checkers, change.checkers
        for checker, outliers in change.kept:
            checker.outliers = outliers
        within = max(FIRST_WITHIN, len(change.begun) / FIRST_PER_SECOND)
        for checker in change.begun:
            checker.start(within)
        for backend, checker in before.items():
            current = self._checkers.get(backend)
            if current is not checker:
                checker.stop()
            if current is None:
                backend.active.forget()
                backend.settle()
        for outliers in change.services:
            self._rescue(outliers)

    def stopService(self) -> None:
        """Stop every probe and every timer."""
        super().stopService()
        for checker in self._checkers.values():
            checker.stop()
        for timer in self._returns.values():
            timer.cancel()
        self._checkers.clear()
        self._returns.clear()

    # -- what happens

    def probed(self, checker: Checker, fault: str) -> None:
        """Take note of a probe that is over."""
        outliers, backend = checker.outliers, checker.backend
        change = outliers.probed(backend, fault, checker.plan.check)
        if change is not None:
            self.tell(outliers, backend, change, fault)
            self._rescue(outliers)

    def _rescue(self, outliers: Outliers) -> None:
        backend = outliers.rescue(self.now())
        if backend is not None:
            self.tell(outliers, backend, Change.NEEDED)

    def tell(self, outliers: Outliers, backend: Backend, change: Change, what: str = "") -> None:
        """Log a change, once, and let an ejection end in time."""
        who = {"service": outliers.service, "url": backend.url}
        match change:
            case Change.DOWN:
                _log.warn("backend {url} of {service} is down: {what}", **who, what=what)
            case Change.UP:
                _log.info("backend {url} of {service} is up again", **who)
            case Change.EJECTED:
                length = f"{backend.outlier.length:.3g}"
                text = "backend {url} of {service} is left out for {length} s: {what}"
                _log.warn(text, **who, length=length, what=what)
                self._look_in(backend, backend.outlier.length)
            case Change.RETURNED:
                _log.info("backend {url} of {service} answers well again", **who)
            case Change.NEEDED:
                _log.warn("backend {url} of {service} is back early: no other is left", **who)

    def _look_in(self, backend: Backend, seconds: float) -> None:
        if backend not in self._known:
            return  # only requests of a configuration that is no longer in force know it
        timer = self._returns.get(backend)
        if timer is None:
            timer = self._returns[backend] = self.timers.timer(lambda: self._look(backend))
        timer.set(seconds)

    def _look(self, backend: Backend) -> None:
        """Look again and again, until it serves."""
        now = self.now()
        outlier = backend.outlier
        outlier.look(now)
        backend.settle()
        if backend.is_ejected:
            self._look_in(backend, outlier.until - now if outlier.until > now else outlier.length)
        else:
            del self._returns[backend]

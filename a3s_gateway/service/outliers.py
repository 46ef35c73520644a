"""Which servers of a service are left out: by probes, by their answers, and within limits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from enum import Enum
from typing import Final

from attrs import field, frozen

from a3s_gateway.config.balancing import HealthCheckConfig, LoadBalancerConfig
from a3s_gateway.service.backend import LAST_RESORT, Backend, Lease
from a3s_gateway.service.health import Probe, Standing

# No answer speaks against the server; UPSTREAM_BUSY does not, because that limit is ours.
FAULTS: Final = frozenset(
    {"UPSTREAM_CONNECT", "UPSTREAM_PROTOCOL", "UPSTREAM_RESET", "UPSTREAM_TIMEOUT"}
)
# Once the head is there, a pause may be the nature of the stream, and a limit is a limit.
FAULTS_OF_BODIES: Final = frozenset({"UPSTREAM_PROTOCOL", "UPSTREAM_RESET"})


class Change(Enum):
    """What became of a server."""

    DOWN = "its probes fail"
    UP = "its probes succeed again"
    EJECTED = "its requests fail"
    RETURNED = "it has answered well again"
    NEEDED = "no other server is left"


@frozen(eq=False)
class Outliers:
    """
    The servers of one service, and the rules by which they are left out.

    What is learned is kept by the backends, so it survives these rules. Two hold always: as long
    as the probes find a server that is up, at least one such server serves; and requests alone
    never leave out more than `max_ejected_percent`.

    Attributes:
        service: Its name.
        balancing: Its configuration.
        backends: One for each server of `balancing`, in that order.
        random: Uniform in [0, 1).
        probes: What looks at each of them, in that order; none without `health_check`.

    """

    service: str
    balancing: LoadBalancerConfig
    backends: tuple[Backend, ...]
    random: Callable[[], float]
    probes: tuple[Probe, ...] = ()
    statuses: frozenset[int] = field(init=False)
    _members: tuple[Backend, ...] = field(init=False)  # who gets requests

    @statuses.default
    def _failing(self) -> frozenset[int]:
        return frozenset(self.balancing.passive_health.statuses)

    @_members.default
    def _weighted(self) -> tuple[Backend, ...]:
        return tuple(backend for backend in self.backends if backend.weight > 0)

    def attempted(self, lease: Lease, now: float, *, failed: bool) -> Change | None:
        """Judge an attempt; one that began before the server's standing changed decides nothing."""
        backend = lease.backend
        if backend is None:
            return None
        outlier = backend.outlier
        if lease.trial == LAST_RESORT:
            is_well = not failed and outlier.standing is not Standing.SERVING
            return _readmit(backend, now, Change.RETURNED) if is_well else None
        if outlier.is_tried_by(lease.trial):
            return self._eject(backend, now) if failed else _readmit(backend, now, Change.RETURNED)
        if not failed or outlier.standing is not Standing.SERVING:
            return None
        is_too_much = outlier.failed(now, self.balancing.passive_health)
        return self._eject(backend, now) if is_too_much and self._may_eject(backend) else None

    def probed(self, backend: Backend, fault: str, check: HealthCheckConfig) -> Change | None:
        """Judge a probe: an empty `fault` is a success. Call `rescue` after a change."""
        active = backend.active
        change = None
        if fault:
            if active.failed(fault, check.unhealthy_threshold):
                change = Change.DOWN
        elif active.succeeded(check.healthy_threshold):
            change = Change.UP
        backend.settle()
        return change

    def rescue(self, now: float) -> Backend | None:
        """
        Readmit the server that would return first, if none serves that probes find up.

        Call it whenever something other than `attempted` has changed: a verdict of the probes,
        or who the servers are.
        """
        if any(backend.is_standing for backend in self._members):
            return None
        up = [backend for backend in self._members if backend.active.is_up]
        if not up:
            return None
        backend = min(up, key=lambda each: each.outlier.until)
        _readmit(backend, now, Change.NEEDED)
        return backend

    def find_last_resort(self, tried: Collection[Backend]) -> Backend | None:
        """
        Find a server for a request that no available one has answered: the one to return first.

        Its answers speak against it, but the others gave none at all. What probes find down
        is not tried.
        """
        left = [b for b in self._members if b.active.is_up and b not in tried]
        return min(left, key=lambda each: each.outlier.until, default=None)

    def left_out(self) -> Iterator[Backend]:
        """Find the servers that do not serve because of their answers."""
        return (b for b in self._members if b.outlier.standing is not Standing.SERVING)

    def _may_eject(self, backend: Backend) -> bool:
        limit = self.balancing.passive_health.max_ejected_percent * len(self._members)
        if (sum(1 for _ in self.left_out()) + 1) * 100 > limit:
            return False
        return any(other.is_standing for other in self._members if other is not backend)

    def _eject(self, backend: Backend, now: float) -> Change:
        backend.outlier.eject(now, self.balancing.passive_health, self.random())
        backend.settle()
        return Change.EJECTED


def _readmit(backend: Backend, now: float, why: Change) -> Change:
    backend.outlier.readmit(now)
    backend.settle()
    return why

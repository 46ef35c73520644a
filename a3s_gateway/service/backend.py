"""One server of a service, and the lease under which a request uses it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

from attrs import define, field

from a3s_gateway.service.health import ActiveHealth, Outlier, Standing

LAST_RESORT: Final = -1  # in place of a trial's number: a request to a server that is left out


class Watch(Protocol):
    """Who judges a service's servers by what they do with requests."""

    @property
    def statuses(self) -> frozenset[int]:
        """Answers that speak against a server."""
        ...

    def answered(self, lease: Lease, status: int) -> None:
        """Hear of an answer: one of `statuses`, or any that a trial came to."""

    def failed(self, lease: Lease, error: Exception) -> None:
        """Hear of an attempt without an answer."""

    def broke(self, lease: Lease, error: Exception) -> None:
        """Hear of an answer that ended before its time."""

    def find_last_resort(self, tried: Collection[Backend]) -> Backend | None:
        """Find one for a request that no available server has answered."""
        ...


@define(eq=False)
class Backend:
    """
    One server of a service: where it is, what it carries now, what it has done.

    Whoever changes `active` or `outlier` calls `settle`; whoever picks reads `available`.

    Attributes:
        url: As configured; it names the server in logs and metrics.
        weight: Its share of the traffic relative to its peers'; 0 takes it out of rotation.
        available: Whether it may be picked now.
        is_in_doubt: Whether requests speak against it, so that the next one counts for more.
        in_flight: Leases not given back yet.
        requests: Leases in all: a request that is tried twice counts twice.
        failures: Attempts that came to no answer; counted by whoever made the attempt.
        active: What probes have found.
        outlier: What requests have found.

    """

    url: str
    weight: int = 1
    available: bool = field(default=True, kw_only=True)
    is_in_doubt: bool = field(default=False, init=False)
    in_flight: int = field(default=0, init=False)
    requests: int = field(default=0, init=False)
    failures: int = field(default=0, init=False)
    active: ActiveHealth = field(factory=ActiveHealth, init=False)
    outlier: Outlier = field(factory=Outlier, init=False)

    @property
    def is_ejected(self) -> bool:
        """Whether its answers keep it from serving fully: ejected, half-open or on trial."""
        return self.outlier.standing is not Standing.SERVING

    @property
    def is_standing(self) -> bool:
        """Whether it serves fully: neither probes nor requests speak against it."""
        return self.active.is_up and self.outlier.standing is Standing.SERVING

    def settle(self) -> None:
        """Derive from what is known whether it may be picked, and how."""
        standing = self.outlier.standing
        self.is_in_doubt = standing is not Standing.SERVING
        self.available = self.active.is_up and (
            standing is Standing.SERVING or standing is Standing.HALF_OPEN
        )

    def acquire(self, watch: Watch | None = None) -> Lease:
        """Count one request more, until the lease is released; `watch` hears how it goes."""
        self.in_flight += 1
        self.requests += 1
        return self._try_out(watch) if self.is_in_doubt else Lease(self, watch)

    def _try_out(self, watch: Watch | None) -> Lease:
        if self.outlier.standing is not Standing.HALF_OPEN:
            return Lease(self, watch, LAST_RESORT)
        trial = self.outlier.try_out()
        self.settle()
        return Lease(self, watch, trial)

    def abandon(self, trial: int) -> None:
        """Let another request try, should this trial have decided nothing."""
        self.outlier.abandon(trial)
        self.settle()


@define(eq=False)
class Lease:
    """
    One request's claim on a backend; the body or the exchange it serves releases it.

    Attributes:
        backend: None once it is released.
        trial: The number of the trial that this request is; 0 for none, or `LAST_RESORT`.

    """

    backend: Backend | None
    _watch: Watch | None = None
    trial: int = 0

    def answered(self, status: int) -> None:
        """Tell of the answer's head; costs little unless it matters."""
        watch = self._watch
        if watch is not None and (status in watch.statuses or self.trial):
            watch.answered(self, status)

    def failed(self, error: Exception) -> None:
        """Tell that there is no answer; before the release."""
        if self._watch is not None:
            self._watch.failed(self, error)

    def broke(self, error: Exception) -> None:
        """Tell that the answer broke off after its head."""
        if self._watch is not None:
            self._watch.broke(self, error)

    def release(self) -> None:
        """Give it back; harmless when repeated, so every way a request can end may call it."""
        backend = self.backend
        if backend is not None:
            self.backend = None
            backend.in_flight -= 1
            if self.trial:
                backend.abandon(self.trial)

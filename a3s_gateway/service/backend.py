"""One server of a service, and the lease under which a request uses it."""

from __future__ import annotations

from attrs import define, field


@define(eq=False)
class Backend:
    """
    One server of a service: where it is, what it carries now, what it has done.

    Whoever knows about its health writes `available`; whoever picks reads nothing else.

    Attributes:
        url: As configured; it names the server in logs and metrics.
        weight: Its share of the traffic relative to its peers'; 0 takes it out of rotation.
        available: Whether it may be picked now.
        in_flight: Leases not given back yet.
        requests: Leases in all: a request that is tried twice counts twice.
        failures: Attempts that came to no answer; counted by whoever made the attempt.

    """

    url: str
    weight: int = 1
    available: bool = field(default=True, kw_only=True)
    in_flight: int = field(default=0, init=False)
    requests: int = field(default=0, init=False)
    failures: int = field(default=0, init=False)

    def acquire(self) -> Lease:
        """Count one request more, until the lease is released."""
        self.in_flight += 1
        self.requests += 1
        return Lease(self)


@define(eq=False)
class Lease:
    """One request's claim on a backend; the body or the exchange it serves releases it."""

    _backend: Backend | None

    def release(self) -> None:
        """Give it back; harmless when repeated, so every way a request can end may call it."""
        backend = self._backend
        if backend is not None:
            self._backend = None
            backend.in_flight -= 1

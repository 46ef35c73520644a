"""Attempts that came to nothing: counted each time, logged so that the log stays readable."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from attrs import define, field
from twisted.logger import Logger

from a3s_gateway.errors import UpstreamError
from a3s_gateway.observability.repeats import Repeats

from .backend import Backend

_log = Logger()


@define(eq=False)
class Failures:
    """Takes note of what backends fail with."""

    _now: Callable[[], float] = monotonic
    _repeats: Repeats = field(factory=Repeats, init=False)

    def note(self, backend: Backend, error: UpstreamError) -> None:
        """Count one; the same of the same backend is a warning only now and then."""
        backend.failures += 1
        withheld = self._repeats.note((backend.url, error.fault.code), self._now())
        if withheld is None:
            _log.debug("backend {url} failed: {error}", url=backend.url, error=str(error))
            return
        more = f" ({withheld} times more since it was last said)" if withheld else ""
        _log.warn(
            "backend {url} failed: {error}{more}", url=backend.url, error=str(error), more=more
        )

"""What goes wrong in middlewares, in the log."""

from __future__ import annotations

from time import monotonic

from attrs import define, field
from twisted.logger import Logger
from twisted.python.failure import Failure

from a3s_gateway.effects import AwayError
from a3s_gateway.observability.repeats import Repeats

from .guard import TooSlowError

_log = Logger()


@define(eq=False)
class Mishaps:
    """Logs them by the names of the configuration, and of many alike only one."""

    _repeats: Repeats = field(factory=Repeats, init=False)

    def note(self, name: str, error: Exception) -> None:
        """Log that a middleware has failed; with a traceback, which its author needs."""
        withheld = self._repeats.note((name, type(error)), monotonic())
        if withheld is None:
            return
        if isinstance(error, TooSlowError):
            _log.error(
                "middleware {name} is too slow: {error}; {withheld} more of these before",
                name=name, error=error, withheld=withheld,
            )  # fmt: skip
            return
        if isinstance(error, AwayError):
            _log.error(
                "middleware {name} gets no answer to what it asks: {error}; "
                "{withheld} more of these before",
                name=name, error=error, withheld=withheld,
            )  # fmt: skip
            return
        _log.failure(
            "middleware {name} failed; {withheld} more of these before",
            Failure(error), name=name, withheld=withheld,
        )  # fmt: skip

"""What a middleware needs of the world: it asks here, and tests answer as they like."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, cast

from attrs import frozen
from twisted.internet.task import deferLater


@frozen
class Effects:
    """
    The world as functions.

    Attributes:
        now: Monotonic time in seconds, the clock of `Exchange.started_at`.
        sleep: Waits for some seconds; ends at once when the client goes away.
        random: Uniform in [0, 1).

    """

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]

    @classmethod
    def on(cls, reactor: Any) -> Effects:
        """Wait by the timers of this reactor."""

        def sleep(seconds: float) -> Awaitable[None]:
            return cast(Awaitable[None], deferLater(reactor, seconds))

        return cls(monotonic, sleep, random.random)

"""Requests that wait for room on a server's connections: in order, bounded in number and time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from attrs import define, field

from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.task import Waiter

if TYPE_CHECKING:
    from a3s_gateway.transport.timers import Timers

MAX_WAITING: Final = 1024  # requests that may wait for one server

T = TypeVar("T")


@define(eq=False)
class WaitingRoom(Generic[T]):
    """
    Who comes first is served first, and nobody waits longer than `max_wait` seconds.

    Args:
        timers: For `max_wait`.
        queue: They; empty when nobody waits.

    """

    timers: Timers
    max_wait: float
    queue: deque[Waiter[T]] = field(factory=deque, init=False)

    async def wait(self) -> T:
        """
        Wait to be served.

        Raises:
            UpstreamConnectError: Too many wait already, or it took too long.

        """
        if len(self.queue) >= MAX_WAITING:
            raise UpstreamConnectError("UPSTREAM_BUSY", "too many requests wait for a connection")
        waiter: Waiter[T] = Waiter()
        busy = UpstreamConnectError("UPSTREAM_BUSY", "no connection came free in time")
        timer = self.timers.timer(lambda: waiter.reject(busy))
        timer.set(self.max_wait)
        self.queue.append(waiter)
        try:
            return await waiter
        finally:
            timer.end()
            if waiter in self.queue:
                self.queue.remove(waiter)

    def serve(self, value: T) -> None:
        """Let the first one go on with `value`; there is one."""
        self.queue.popleft().resolve(value)

    def disappoint(self, error: UpstreamConnectError) -> None:
        """Tell all who wait now that they do so in vain."""
        for _ in range(len(self.queue)):
            again = type(error)(error.fault.code, error.detail)
            if self.queue:  # each runs on at once, and may take others along
                self.queue.popleft().reject(again)

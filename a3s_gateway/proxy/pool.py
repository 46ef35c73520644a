"""The connections to one server: kept alive, limited, expired when idle."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from attrs import define, field
from twisted.internet.error import TimeoutError  # noqa: A004 - Twisted's name

from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.task import Waiter

from .connection import UpstreamConnection

if TYPE_CHECKING:
    from a3s_gateway.transport.timers import Timers

MAX_WAITING: Final = 1024  # requests that may wait for a connection of one server


@define(eq=False)
class Pool:
    """
    Keeps idle connections, the last used first, and opens new ones up to a limit.

    Args:
        connect: Opens one; raises whatever the transport does.
        timers: For those that wait for a connection to come free.
        max_idle: Connections kept when nobody uses them.
        max_connections: Open at the same time; 0 for no limit.
        idle_timeout: Seconds after which an idle one is closed.
        max_wait: Seconds to wait for one when the limit is reached.

    """

    connect: Callable[[Pool], Awaitable[UpstreamConnection]]
    timers: Timers
    max_idle: int
    max_connections: int
    idle_timeout: float
    max_wait: float
    _idle: list[UpstreamConnection] = field(factory=list, init=False)
    _open: set[UpstreamConnection] = field(factory=set, init=False)
    _opening: int = field(default=0, init=False)
    _waiting: deque[Waiter[UpstreamConnection | None]] = field(factory=deque, init=False)
    _is_closed: bool = field(default=False, init=False)

    @property
    def open(self) -> int:
        """How many connections there are, idle ones and those being opened included."""
        return len(self._open) + self._opening

    @property
    def idle(self) -> int:
        """How many of them nobody uses."""
        return len(self._idle)

    def take(self) -> UpstreamConnection | None:
        """Return an idle connection, if there is one."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.transport.connected:  # else it has ended, and will hear of it soon
                return connection
        return None

    async def fresh(self) -> UpstreamConnection:
        """
        Open a connection, or wait for one when the limit is reached.

        Raises:
            UpstreamConnectError: The server cannot be reached, or nothing came free in time.

        """
        while self.max_connections and self.open >= self.max_connections:
            freed = await self._wait()
            if freed is not None:
                return freed
        self._opening += 1
        connection: UpstreamConnection | None = None
        try:
            connection = await self.connect(self)
        except TimeoutError as error:
            raise UpstreamConnectError("UPSTREAM_TIMEOUT", _say(error)) from error
        except Exception as error:
            raise UpstreamConnectError("UPSTREAM_CONNECT", _say(error)) from error
        finally:
            self._opening -= 1
            if connection is None:
                self._let_another_open()
        self._open.add(connection)
        return connection

    async def _wait(self) -> UpstreamConnection | None:
        if len(self._waiting) >= MAX_WAITING:
            raise UpstreamConnectError("UPSTREAM_BUSY", "too many requests wait for a connection")
        waiter: Waiter[UpstreamConnection | None] = Waiter()
        busy = UpstreamConnectError("UPSTREAM_BUSY", "no connection came free in time")
        timer = self.timers.timer(lambda: waiter.reject(busy))
        timer.set(self.max_wait)
        self._waiting.append(waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request, or hand it to one that waits."""
        if self._waiting:
            self._waiting.popleft().resolve(connection)
        elif self._is_closed or len(self._idle) >= self.max_idle:
            connection.close()
        else:
            self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Count a connection no longer; harmless when repeated."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._let_another_open()

    def _let_another_open(self) -> None:
        if self._waiting:
            self._waiting.popleft().resolve(None)

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""
        self._is_closed = True
        for connection in tuple(self._idle):
            connection.close()


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__

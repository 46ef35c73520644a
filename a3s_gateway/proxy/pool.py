"""The connections to one server: kept alive, limited, expired when idle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.error import TimeoutError  # noqa: A004 - Twisted's name

from a3s_gateway.errors import UpstreamConnectError

from .connection import UpstreamConnection
from .waiting import WaitingRoom


@define(eq=False)
class Pool:
    """
    Keeps idle connections, the last used first, and opens new ones up to a limit.

    Args:
        connect: Opens one; raises whatever the transport does.
        waiting: The requests that wait for a connection to come free.
        max_idle: Connections kept when nobody uses them.
        max_connections: Open at the same time; 0 for no limit.
        idle_timeout: Seconds after which an idle one is closed.

    """

    connect: Callable[[Pool], Awaitable[UpstreamConnection]]
    waiting: WaitingRoom[UpstreamConnection | None]
    max_idle: int
    max_connections: int
    idle_timeout: float
    _idle: list[UpstreamConnection] = field(factory=list, init=False)
    _open: set[UpstreamConnection] = field(factory=set, init=False)
    _opening: int = field(default=0, init=False)
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
            freed = await self.waiting.wait()
            if freed is not None:
                return freed
        self._opening += 1
        connection: UpstreamConnection | None = None
        try:
            connection = await self.connect(self)
        except Exception as error:
            raise unreachable(error) from error
        finally:
            self._opening -= 1
            if connection is None:
                self._let_another_open()
        self._open.add(connection)
        return connection

    def adopt(self, connection: UpstreamConnection) -> None:
        """Take one over that was opened elsewhere; whoever has done so takes it at once."""
        self._open.add(connection)
        self._idle.append(connection)

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request, or hand it to one that waits."""
        if self.waiting.queue:
            self.waiting.serve(connection)
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
        if self.waiting.queue:
            self.waiting.serve(None)

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""
        self._is_closed = True
        for connection in tuple(self._idle):
            connection.close()


def unreachable(error: Exception) -> UpstreamConnectError:
    """Say in our words that a transport could not connect."""
    code = "UPSTREAM_TIMEOUT" if isinstance(error, TimeoutError) else "UPSTREAM_CONNECT"
    return UpstreamConnectError(code, str(error) or type(error).__name__)

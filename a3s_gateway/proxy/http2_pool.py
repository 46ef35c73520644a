"""The connections to one server that speaks HTTP/2: few, and each for many requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field

from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.protocol.http2.client import ASSUMED_STREAMS

from .http2_connection import Http2Connection
from .http2_stream import UpstreamStream
from .pool import unreachable
from .waiting import WaitingRoom


@define(eq=False)
class Http2Pool:
    """
    Fills one connection before it opens the next, up to a limit.

    Args:
        connect: Opens one; raises whatever the transport does.
        waiting: The requests that wait for room.
        max_idle: Connections kept when nobody uses them.
        max_connections: Open at the same time; 0 for no limit.
        idle_timeout: Seconds after which an idle one is closed.

    """

    connect: Callable[[Http2Pool], Awaitable[Http2Connection]]
    waiting: WaitingRoom[None]
    max_idle: int
    max_connections: int
    idle_timeout: float
    _roomy: list[Http2Connection] = field(factory=list, init=False)
    _open: set[Http2Connection] = field(factory=set, init=False)
    _is_opening: bool = field(default=False, init=False)
    _is_closed: bool = field(default=False, init=False)
    _last_streams: int = field(default=ASSUMED_STREAMS, init=False)

    @property
    def open(self) -> int:
        """How many connections there are, idle ones and one that is being opened included."""
        return len(self._open) + self._is_opening

    @property
    def idle(self) -> int:
        """How many of them nobody uses."""
        return sum(not connection.taken for connection in self._open)

    @property
    def usual_streams(self) -> int:
        """How many requests the server takes on a connection: what the others have been told."""
        return min((each.codec.max_streams for each in self._open), default=self._last_streams)

    def take(self) -> UpstreamStream | None:
        """Return a stream on a connection that has room, if there is one."""
        connection = self._find_roomy()
        return None if connection is None else UpstreamStream(connection)

    def _find_roomy(self) -> Http2Connection | None:
        roomy = self._roomy
        while roomy:
            connection = roomy[-1]
            if connection.has_room and connection.transport.connected:
                return connection
            connection.is_listed = False
            roomy.pop()
        return None

    async def fresh(self) -> UpstreamStream:
        """
        Return a stream on a connection to be opened, or wait for room when that must not be.

        Raises:
            UpstreamConnectError: The server cannot be reached, or there was no room in time.

        """
        while True:
            stream = self.take()
            if stream is not None:
                return stream
            if self._is_opening or (self.max_connections and self.open >= self.max_connections):
                await self.waiting.wait()
            else:
                await self._open_one()

    async def _open_one(self) -> None:
        """Open one; whoever comes meanwhile waits for it, since it has room for many."""
        self._is_opening = True
        connection: Http2Connection | None = None
        try:
            connection = await self.connect(self)
        except Exception as error:
            failure = error if isinstance(error, UpstreamConnectError) else unreachable(error)
            self._is_opening = False
            if not self._open:
                self.waiting.disappoint(failure)
            raise failure from error
        finally:
            self._is_opening = False
            if connection is None:
                self._serve_one()  # who shall open one, unless it was told better
        self._open.add(connection)
        self.has_room(connection)

    def has_room(self, connection: Http2Connection) -> None:
        """Serve those that wait as far as there is room."""
        if self._is_closed and not connection.taken:
            connection.close()
            return
        if not connection.is_listed and connection in self._open:
            connection.is_listed = True
            self._roomy.append(connection)
        while self.waiting.queue and self._find_roomy() is not None:
            self._serve_one()

    def _serve_one(self) -> None:
        if self.waiting.queue:
            self.waiting.serve(None)

    def is_idle(self, connection: Http2Connection) -> None:
        """Close one that is too many."""
        if not self.waiting.queue and (self._is_closed or self.idle > self.max_idle):
            connection.close()

    def forget(self, connection: Http2Connection) -> None:
        """Count a connection no longer; harmless when repeated."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        self._last_streams = connection.codec.max_streams
        if connection.is_listed:
            connection.is_listed = False
            self._roomy.remove(connection)
        self._serve_one()

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""
        self._is_closed = True
        for connection in tuple(self._open):
            if not connection.taken:
                connection.close()

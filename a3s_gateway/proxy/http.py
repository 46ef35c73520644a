"""Forwarding one request to one HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import define

from a3s_gateway.errors import UpstreamError
from a3s_gateway.http import Request, Response

from .connection import StaleConnectionError
from .http2_stream import UnprocessedError
from .streams import unbuffered

if TYPE_CHECKING:
    from a3s_gateway.task import Waiter
    from a3s_gateway.transport.timers import Timers


class Carrier(Protocol):
    """What carries one exchange: a connection of HTTP/1.1, or a stream of HTTP/2."""

    def send(
        self,
        request: Request,
        target: str,
        authority: str,
        request_timeout: float,
        idle_timeout: float,
    ) -> Waiter[Response]:
        """Send a request; its response's head resolves what is returned."""
        ...

    def fail(self, error: Exception) -> None:
        """End the exchange with `error`."""

    def abort(self) -> None:
        """Drop the exchange; harmless when repeated."""


class Carriers(Protocol):
    """Where carriers to one server come from."""

    @property
    def open(self) -> int:
        """How many connections there are."""

    @property
    def idle(self) -> int:
        """How many of them nobody uses."""

    def take(self) -> Carrier | None:
        """Return one that is at hand, if there is any."""

    async def fresh(self) -> Carrier:
        """Return one on a new connection, or wait; raises `UpstreamConnectError`."""
        ...

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""


@define(eq=False)
class HttpOrigin:
    """
    One server that speaks HTTP, with its connections.

    Args:
        pool: Its connections.
        for_upgrades: Those for requests to change the protocol, which HTTP/1.1 alone can do.
        timers: For `total_timeout`.
        authority: For Host where the client sent none (HTTP/1.0).
        path_prefix: Put before every path; no trailing slash.
        request_timeout: Seconds from the request's end to the response's head.
        idle_timeout: Seconds that a body may stand still.
        total_timeout: Seconds for the whole exchange; None for no such limit.

    """

    pool: Carriers
    for_upgrades: Carriers
    timers: Timers
    authority: str
    path_prefix: str
    request_timeout: float
    idle_timeout: float
    total_timeout: float | None

    async def forward(self, request: Request) -> Response:
        """
        Send `request` and return the response's head; its body follows as it comes.

        Raises:
            UpstreamConnectError: The server never heard of the request.
            UnansweredError: It went without a word.
            UpstreamError: It did not answer as it should.

        """
        pool = self.for_upgrades if request.upgrade else self.pool
        target = request.path if request.query is None else f"{request.path}?{request.query}"
        if self.path_prefix and target != "*":
            target = self.path_prefix + target
        authority = request.authority or self.authority
        connection = pool.take()
        if connection is None:
            connection = await pool.fresh()
        is_second = False
        while True:
            waiter = connection.send(
                request, target, authority, self.request_timeout, self.idle_timeout
            )
            try:
                response = await waiter
            except (StaleConnectionError, UnprocessedError) as error:
                may_repeat = request.may_be_repeated or isinstance(error, UnprocessedError)
                if is_second or not may_repeat:
                    raise
                is_second = True
                connection = await pool.fresh()
            except BaseException:
                connection.abort()
                raise
            else:
                if self.total_timeout is not None:
                    self._limit(response, connection, self.total_timeout)
                return response if response.body.is_complete else unbuffered(response)

    def _limit(self, response: Response, connection: Carrier, seconds: float) -> None:
        if response.body.is_complete:
            return  # the connection may serve another exchange by now
        late = UpstreamError("UPSTREAM_TIMEOUT", "the whole answer took too long")
        timer = self.timers.timer(
            lambda: None if response.body.is_complete else connection.fail(late)
        )
        timer.set(seconds)
        response.body.owns(timer.cancel)

    def close(self) -> None:
        """Close its idle connections now, and the others as they come back."""
        self.pool.close()
        self.for_upgrades.close()

"""Forwarding one request to one HTTP server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from a3s_gateway.errors import UpstreamError
from a3s_gateway.http import Request, Response

from .connection import StaleConnectionError, UpstreamConnection
from .pool import Pool
from .streams import unbuffered

if TYPE_CHECKING:
    from a3s_gateway.transport.timers import Timers


@define(eq=False)
class HttpOrigin:
    """
    One server that speaks HTTP/1.1, with its connections.

    Args:
        pool: Its connections.
        timers: For `total_timeout`.
        authority: For Host where the client sent none (HTTP/1.0).
        path_prefix: Put before every path; no trailing slash.
        request_timeout: Seconds from the request's end to the response's head.
        idle_timeout: Seconds that a body may stand still.
        total_timeout: Seconds for the whole exchange; None for no such limit.

    """

    pool: Pool
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
        pool = self.pool
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
            except StaleConnectionError:
                if is_second or not request.may_be_repeated:
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

    def _limit(self, response: Response, connection: UpstreamConnection, seconds: float) -> None:
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

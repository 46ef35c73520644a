"""A collector of telemetry as something to post to."""

from __future__ import annotations

from typing import Final

from attrs import define, evolve, field

from a3s_gateway.body import Body
from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import LoadBalancerConfig, PoolConfig
from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Request

from .http import HttpOrigin
from .origins import Origins

MAX_ANSWER: Final = 64 * 1024  # bytes
_USER_AGENT: Final = "a3s-gateway"


@define(eq=False)
class Collector:
    """
    Posts to one URL, over one connection that is kept.

    Args:
        url: With its query, which may be a secret.
        origins: Makes the connection.
        patience: Seconds for connecting, and for the answer.

    """

    url: ServerUrl
    origins: Origins
    patience: float
    _origin: HttpOrigin = field(init=False)

    @_origin.default
    def _made(self) -> HttpOrigin:
        limits = LoadBalancerConfig(
            connect_timeout=self.patience,
            request_timeout=self.patience,
            stream_idle_timeout=self.patience,
            stream_total_timeout=self.patience,
            pool=PoolConfig(max_idle_connections=1),
        )
        return self.origins.origin(evolve(self.url, path=""), limits)

    async def post(self, body: bytes, content_type: str) -> tuple[int, Headers, bytes]:
        """
        Return the answer: its status, its fields and its body.

        Raises:
            UpstreamError: There is none.
            BodyTooLargeError: It is longer than `MAX_ANSWER`.

        """
        path, mark, query = (self.url.path or "/").partition("?")
        authority = self.url.authority
        headers = Headers.of(("User-Agent", _USER_AGENT), ("Content-Type", content_type))
        request = Request(
            "POST", path or "/", query if mark else None, authority, authority, 11, "http",
            headers, Body.of(body), "", Exchange("", "", 0.0),
        )  # fmt: skip
        response = await self._origin.forward(request)
        try:
            answer = await response.body.read(MAX_ANSWER)
        finally:
            response.body.close()
        return response.status, response.headers, answer

    def close(self) -> None:
        """Close the connection."""
        self._origin.close()

"""A collector of telemetry as something to post to."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from a3s_gateway.body import Body
from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import LoadBalancerConfig, PoolConfig
from a3s_gateway.headers import Headers

from .client import HttpClient
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
    _client: HttpClient = field(init=False)

    @_client.default
    def _made(self) -> HttpClient:
        limits = LoadBalancerConfig(
            connect_timeout=self.patience,
            request_timeout=self.patience,
            stream_idle_timeout=self.patience,
            stream_total_timeout=self.patience,
            pool=PoolConfig(max_idle_connections=1),
        )
        return HttpClient(self.url, limits, self.origins)

    async def post(self, body: bytes, content_type: str) -> tuple[int, Headers, bytes]:
        """
        Return the answer: its status, its fields and its body.

        Raises:
            UpstreamError: There is none.
            BodyTooLargeError: It is longer than `MAX_ANSWER`.

        """
        headers = Headers.of(("User-Agent", _USER_AGENT), ("Content-Type", content_type))
        response = await self._client.ask("POST", headers, Body.of(body))
        try:
            answer = await response.body.read(MAX_ANSWER)
        finally:
            response.body.close()
        return response.status, response.headers, answer

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

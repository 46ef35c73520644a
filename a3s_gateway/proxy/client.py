"""A server that the gateway itself asks something, such as whether a request may pass."""

from __future__ import annotations

from attrs import define, evolve, field

from a3s_gateway.body import NO_BODY, Body
from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.effects import Effects
from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Request, Response
from a3s_gateway.transport.redis import redis_on

from .http import HttpOrigin
from .origins import Origins


@define(eq=False)
class HttpClient:
    """
    Asks at one URL; an `effects.Client`.

    Args:
        url: With its query, which may be a secret.
        limits: Of time and of connections.
        origins: Makes the connections.

    """

    url: ServerUrl
    limits: LoadBalancerConfig
    origins: Origins
    _origin: HttpOrigin = field(init=False)

    @_origin.default
    def _made(self) -> HttpOrigin:
        return self.origins.origin(evolve(self.url, path=""), self.limits)

    async def ask(
        self, method: str, headers: Headers, body: Body = NO_BODY, request_id: str = ""
    ) -> Response:
        """Ask; see `effects.Client`."""
        path, mark, query = (self.url.path or "/").partition("?")
        authority = self.url.authority
        exchange = Exchange("", "", 0.0, request_id=request_id)
        request = Request(
            method, path or "/", query if mark else None, authority, authority, 11,
            self.url.scheme, headers, body, "", exchange,
        )  # fmt: skip
        return await self._origin.forward(request)

    def close(self) -> None:
        """Close its connections."""
        self._origin.close()


def effects_on(origins: Origins) -> Effects:
    """Give middlewares what they need, by the connections and names of these origins."""

    def client(url: str, patience: float) -> HttpClient:
        limits = LoadBalancerConfig(
            connect_timeout=patience, request_timeout=patience, stream_idle_timeout=patience
        )
        return HttpClient(ServerUrl.parse(url, with_query=True), limits, origins)

    return Effects.on(
        origins.reactor,
        client,
        redis_on(origins.reactor),
        origins.names.resolve,
    )

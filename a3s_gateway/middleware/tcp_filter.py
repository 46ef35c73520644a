"""`type = "tcp-filter"`: who may connect to a TCP service, and how often."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from attrs import define, field, frozen

from a3s_gateway.config.kinds import NETWORK, Network, integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys
from a3s_gateway.errors import GatewayError
from a3s_gateway.http import Exchange
from a3s_gateway.plugin import Plugin
from a3s_gateway.protocol.forwarded import Trust
from a3s_gateway.protocol.trust import trust_in


@frozen(kw_only=True)
class TcpFilterConfig(Settings):
    """Closes connections that are too many or come from elsewhere; for TCP routers."""

    protocol: ClassVar[Literal["http", "tcp"]] = "tcp"

    max_connections: int | None = key(
        integer(1), "Connections at the same time; none: no limit.", default=None, example="100"
    )
    allowed_ips: tuple[Network, ...] = keys(
        NETWORK, "Who may connect; empty: everybody.", example='["10.0.0.0/8"]'
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse a filter that lets everything through."""
        if self.max_connections is None and not self.allowed_ips:
            yield Mistake("", 'a "tcp-filter" needs "max_connections" or "allowed_ips"')


@define(eq=False)
class TcpFilter:
    """
    Lets connections pass, or raises.

    Attributes:
        limit: Connections at the same time, of all routers that name it; None: no limit.
        is_allowed: Who may connect; None: everybody.
        open: Connections that passed and are not over.

    """

    limit: int | None
    is_allowed: Trust | None
    open: int = field(default=0, init=False)

    def admit(self, exchange: Exchange) -> None:
        """Count a connection until its exchange is closed; raises `GatewayError`."""
        if self.is_allowed is not None and not self.is_allowed(exchange.client):
            raise GatewayError("CONNECTION_NOT_ALLOWED")
        if self.limit is not None and self.open >= self.limit:
            raise GatewayError("TOO_MANY_CONNECTIONS")
        self.open += 1
        exchange.on_close(self._closed)

    def _closed(self) -> None:
        self.open -= 1


def _build(config: TcpFilterConfig, _effects: object) -> TcpFilter:
    networks = config.allowed_ips
    return TcpFilter(config.max_connections, trust_in(networks) if networks else None)


PLUGIN = Plugin("middleware", "tcp-filter", TcpFilterConfig, _build)

"""`type = "tcp-filter"`: who may connect to a TCP service, and how often."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from attrs import frozen

from a3s_gateway.config.kinds import NETWORK, Network, integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys
from a3s_gateway.plugin import Plugin


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


PLUGIN = Plugin("middleware", "tcp-filter", TcpFilterConfig)

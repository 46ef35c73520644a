"""What of a service or a router is compiled alike, whatever is spoken."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from attrs import frozen

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.router.expression import rule_length
from a3s_gateway.router.rule import parse
from a3s_gateway.router.signatures import Protocol
from a3s_gateway.router.table import Entry
from a3s_gateway.service.backend import Backend, Watch
from a3s_gateway.service.balancer import Balancer
from a3s_gateway.service.outliers import Outliers

T = TypeVar("T")


@frozen
class Server:
    """One server of a list: where it is, and what tells it from all others."""

    url: ServerUrl
    key: tuple[Hashable, ...]


@frozen(eq=False)
class Group:
    """The servers of a service, one of which is picked each time; who asks them is not known."""

    balancing: LoadBalancerConfig
    servers: Mapping[Backend, Server]
    balancer: Balancer
    outliers: Outliers
    watch: Watch

    @property
    def speaks_http(self) -> bool:
        """Whether requests could be sent there."""
        return all(server.url.is_http for server in self.servers.values())


def entry(router: RouterConfig, route: T, protocol: Protocol = "http") -> Entry[T]:
    """Make the entry of a compiled router for a table."""
    expression = parse(router.rule, protocol)
    length = rule_length(router.rule, expression)
    return Entry(router.name, expression, router.priority, length, route)

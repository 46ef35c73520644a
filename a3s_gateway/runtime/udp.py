"""From the model to what sessions of datagrams begin with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Protocol

from attrs import frozen

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.datagrams import Origin, UdpResource, UdpRoute, UdpUpstream
from a3s_gateway.dataplane import Observer
from a3s_gateway.errors import UpstreamError
from a3s_gateway.observability.counters import DatagramCounters, Ledger
from a3s_gateway.router.table import Entry
from a3s_gateway.router.tcp import TcpTable
from a3s_gateway.service.backend import Backend

from .generation import Generation
from .group import Group, Server, entry


class UdpOriginMaker(Protocol):
    """Who knows how to talk with a server: `proxy/origins.py`."""

    def udp_origin(self, url: ServerUrl, service: LoadBalancerConfig) -> Origin:
        """Make the origin of one server."""


@frozen(eq=False)
class Udp:
    """All of a configuration that is about datagrams, compiled; both by name."""

    resources: Mapping[str, UdpResource]
    routes: Mapping[str, UdpRoute]


def is_udp(router: RouterConfig, config: GatewayConfig) -> bool:
    """Tell whether it is for datagrams: only a router that names its entrypoints can be."""
    names = router.entrypoints
    return bool(names) and config.entrypoints[names[0]].protocol == "udp"


@frozen(eq=False)
class UdpCompiler:
    """A part of `Compiler`, with what it needs of it."""

    origins: UdpOriginMaker
    observer_for: Callable[[str], Observer]
    report: Callable[[Backend, UpstreamError], None]
    ledger: Ledger

    def steps(
        self, config: GatewayConfig, groups: Mapping[str, Group], generation: Generation
    ) -> Generator[None, None, Udp]:
        """Compile, and yield wherever traffic may have its turn."""
        upstreams: dict[str, UdpUpstream] = {}
        routes: dict[str, UdpRoute] = {}
        entries: dict[str, Entry[UdpRoute]] = {}
        for name, router in config.routers.items():
            if is_udp(router, config):
                if router.service not in upstreams:
                    group = groups[router.service]
                    upstreams[router.service] = self._upstream(group, generation)
                routes[name] = self._route(router, upstreams[router.service], generation)
                entries[name] = entry(router, routes[name], "tcp")
                yield
        resources = {}
        for name, entrypoint in config.entrypoints.items():
            if entrypoint.protocol == "udp":
                table = yield from TcpTable.steps(
                    each for key, each in entries.items() if name in config.routers[key].entrypoints
                )
                # 6a  What is counted is that of the entrypoint, whatever is reloaded.
                counters = generation.lease(("datagrams", name), DatagramCounters)
                observer = self.observer_for(name)
                resources[name] = UdpResource(name, generation, observer, table, counters)
        return Udp(resources, routes)

    def _upstream(self, group: Group, generation: Generation) -> UdpUpstream:
        origins = {
            backend: self._origin(server, group.balancing, generation)
            for backend, server in group.servers.items()
        }
        return UdpUpstream(group.balancer, origins, self.report, group.watch)

    def _origin(
        self, server: Server, balancing: LoadBalancerConfig, generation: Generation
    ) -> Origin:
        key = ("udp origin", *server.key, balancing.connect_timeout)
        return generation.lease(key, lambda: self.origins.udp_origin(server.url, balancing))

    def _route(
        self, router: RouterConfig, upstream: UdpUpstream, generation: Generation
    ) -> UdpRoute:
        counters = generation.lease(
            ("route", router.name, router.service), lambda: self.ledger.open(router.service)
        )
        return UdpRoute(router.name, router.service, upstream, counters)

"""From the model to what TCP connections begin with."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol

from attrs import frozen

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.config.rules import protocol_of
from a3s_gateway.dataplane import Observer
from a3s_gateway.errors import UpstreamError
from a3s_gateway.observability.counters import Invocations, Ledger
from a3s_gateway.proxy.tcp import TcpOrigin
from a3s_gateway.router.table import Entry
from a3s_gateway.router.tcp import TcpTable, needs_hello
from a3s_gateway.service.backend import Backend
from a3s_gateway.tunnels import TcpResource, TcpRoute, TcpUpstream

from .generation import Generation
from .group import Group, Server, entry
from .stamps import stamps


class TcpOriginMaker(Protocol):
    """Who knows how to connect to a server: `proxy/origins.py`."""

    def tcp_origin(self, url: ServerUrl, service: LoadBalancerConfig) -> TcpOrigin:
        """Make the origin of one server."""


@frozen(eq=False)
class Tcp:
    """
    All of a configuration that is about TCP connections, compiled.

    Attributes:
        resources: By name of the entrypoint, also of those that speak HTTPS besides.
        routes: By name.
        origins: The connections to each backend.

    """

    resources: Mapping[str, TcpResource]
    routes: Mapping[str, TcpRoute]
    origins: Mapping[Backend, TcpOrigin]


def is_tcp(router: RouterConfig, config: GatewayConfig) -> bool:
    """Tell whether it is for connections."""
    return protocol_of(router, config.entrypoints) == "tcp"


@frozen(eq=False)
class TcpCompiler:
    """A part of `Compiler`, with what it needs of it."""

    origins: TcpOriginMaker
    observer_for: Callable[[str], Observer]
    report: Callable[[Backend, UpstreamError], None]
    ledger: Ledger

    def steps(
        self,
        config: GatewayConfig,
        groups: Mapping[str, Group],
        middlewares: Mapping[str, tuple[Any, Invocations]],
        generation: Generation,
    ) -> Generator[None, None, Tcp]:
        """Compile, and yield wherever traffic may have its turn."""
        upstreams: dict[str, TcpUpstream] = {}
        made: dict[Backend, TcpOrigin] = {}
        routes: dict[str, TcpRoute] = {}
        entries: dict[str, Entry[TcpRoute]] = {}
        for name, router in config.routers.items():
            if is_tcp(router, config):
                group = groups[router.service]
                if router.service not in upstreams:
                    origins = self._origins(group, generation)
                    made |= origins
                    upstreams[router.service] = self._upstream(group, origins)
                routes[name] = self._route(
                    router, upstreams[router.service], middlewares, generation
                )
                entries[name] = entry(router, routes[name], "tcp")
                yield
        resources = {}
        for name, entrypoint in config.entrypoints.items():
            served = [
                entries[each] for each in routes if _serves(config.routers[each], name, entrypoint)
            ]
            if served or entrypoint.protocol == "tcp":
                table = yield from TcpTable.steps(served)
                resources[name] = TcpResource(
                    name,
                    generation,
                    self.observer_for(name),
                    table,
                    any(needs_hello(each.expression) for each in served),
                )
        return Tcp(resources, routes, made)

    def _origins(self, group: Group, generation: Generation) -> dict[Backend, TcpOrigin]:
        balancing = group.balancing

        def origin(server: Server) -> TcpOrigin:
            facts = balancing.tls, stamps(balancing.tls), balancing.connect_timeout
            key = ("tcp origin", *server.key, *facts, balancing.proxy_protocol)
            return generation.lease(key, lambda: self.origins.tcp_origin(server.url, balancing))

        return {backend: origin(server) for backend, server in group.servers.items()}

    def _upstream(self, group: Group, origins: Mapping[Backend, TcpOrigin]) -> TcpUpstream:
        return TcpUpstream(
            group.balancer,
            dict(origins),
            self.report,
            group.watch,
            group.balancing.stream_idle_timeout,
            group.balancing.stream_total_timeout,
        )

    def _route(
        self,
        router: RouterConfig,
        upstream: TcpUpstream,
        middlewares: Mapping[str, tuple[Any, Invocations]],
        generation: Generation,
    ) -> TcpRoute:
        counters = generation.lease(
            ("route", router.name, router.service), lambda: self.ledger.open(router.service)
        )
        return TcpRoute(
            router.name,
            router.service,
            tuple(middlewares[name] for name in router.middlewares),
            upstream,
            counters,
            router.tls is not None and router.tls.passthrough,
        )


def _serves(router: RouterConfig, name: str, entrypoint: EntrypointConfig) -> bool:
    if router.entrypoints:
        return name in router.entrypoints
    return entrypoint.protocol == "tcp"

"""
From the model to what answers requests; runs at start and at every reload.

Only this module knows routes, middlewares, services and backends all at once. What it
builds looks nothing up by name while traffic flows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import random
from typing import Protocol

from attrs import define, frozen

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.config.service import ServiceConfig
from a3s_gateway.dataplane import EntrypointResource, Observer, Origin, Route, Upstream
from a3s_gateway.errors import UpstreamError
from a3s_gateway.http import Handler, Middleware, compose
from a3s_gateway.observability.counters import RouteCounters
from a3s_gateway.plugin import plugins
from a3s_gateway.proxy.internal import INTERNAL, Wall
from a3s_gateway.router.expression import rule_length
from a3s_gateway.router.rule import parse
from a3s_gateway.router.table import Entry, RouteTable
from a3s_gateway.runtime.generation import Generation
from a3s_gateway.service.backend import Backend
from a3s_gateway.service.balancer import balancer_for


class OriginMaker(Protocol):
    """Who knows how to connect to a server: `proxy/origins.py`."""

    def origin(self, url: ServerUrl, service: LoadBalancerConfig) -> Origin:
        """Make the origin of one server."""


@frozen(eq=False)
class Snapshot:
    """
    One compiled configuration: nothing in it changes after it is built.

    Attributes:
        generation: Its life.
        resources: What answers on each HTTP entrypoint, by name.
        routes: Every router, compiled, by name.
        services: The backends of each service, by name.

    """

    generation: Generation
    resources: Mapping[str, EntrypointResource]
    routes: Mapping[str, Route]
    services: Mapping[str, tuple[Backend, ...]]


@define(eq=False)
class Compiler:
    """Everything that compiling needs besides the configuration."""

    origins: OriginMaker
    observer_for: Callable[[str], Observer]
    report: Callable[[Backend, UpstreamError], None]
    wall: Wall

    def compile(self, config: GatewayConfig, generation: Generation) -> Snapshot:
        """
        Build a snapshot whose state is leased through `generation`.

        Raises:
            ValueError: A file that the configuration names cannot be used.

        """
        # 1  A backend and its connections per server, shared by all routers of the service.
        services = {
            name: self._upstream(service, generation) for name, service in config.services.items()
        }
        handlers: dict[str, Handler] = {name: each.handle for name, each in services.items()}
        # 2  What the gateway provides itself.
        handlers |= {name: make(self.wall) for name, make in INTERNAL.items()}
        # 3  A route is its middlewares around its service.
        routes = {
            name: self._route(router, config, handlers, generation)
            for name, router in config.routers.items()
        }
        # 4  Each entrypoint gets a table of the routers that name it, or name none.
        entries = {name: _entry(config.routers[name], route) for name, route in routes.items()}
        resources = {
            name: EntrypointResource(
                name,
                generation,
                self.observer_for(name),
                RouteTable.build(
                    entries[each.name]
                    for each in config.routers.values()
                    if name in each.entrypoints or not each.entrypoints
                ),
            )
            for name, entrypoint in config.entrypoints.items()
            if entrypoint.protocol == "http"
        }
        backends = {name: tuple(each.origins) for name, each in services.items()}
        return Snapshot(generation, resources, routes, backends)

    def _upstream(self, service: ServiceConfig, generation: Generation) -> Upstream:
        balancing = service.load_balancer
        assert balancing is not None  # revisions are refused before this
        origins: dict[Backend, Origin] = {}
        for index, server in enumerate(balancing.servers):
            # The same server may stand in a list twice; its place tells the two apart.
            key = (service.name, server.url, server.weight, index)
            backend = generation.lease(
                ("backend", *key),
                lambda s=server: Backend(s.url.text, s.weight),  # type: ignore[misc]
            )
            facts = (balancing.pool, balancing.tls, balancing.connect_timeout,
                     balancing.request_timeout, balancing.stream_idle_timeout,
                     balancing.stream_total_timeout)  # fmt: skip
            origins[backend] = generation.lease(
                ("origin", *key, facts),
                lambda s=server: self.origins.origin(s.url, balancing),  # type: ignore[misc]
            )
        strategy, backends = balancing.strategy, tuple(origins)
        balancer = generation.lease(
            ("balancer", service.name, strategy, backends),
            lambda: balancer_for(strategy, backends, random),
        )
        return Upstream(balancer, origins, self.report)

    def _route(
        self,
        router: RouterConfig,
        config: GatewayConfig,
        handlers: Mapping[str, Handler],
        generation: Generation,
    ) -> Route:
        middlewares = list(_middlewares(router.middlewares, config))
        handler = compose(middlewares, handlers[router.service])
        counters = generation.lease(("route", router.name), RouteCounters)
        return Route(router.name, router.service, handler, counters)


def _middlewares(names: Iterable[str], config: GatewayConfig) -> Iterable[Middleware]:
    known = plugins("middleware")
    for name in names:
        middleware = config.middlewares[name]
        build = known[middleware.type].build
        assert build is not None  # those without are refused before this
        yield build(middleware.config)


def _entry(router: RouterConfig, route: Route) -> Entry[Route]:
    expression = parse(router.rule)
    length = rule_length(router.rule, expression)
    return Entry(router.name, expression, router.priority, length, route)

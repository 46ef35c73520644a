"""
From the model to what answers requests; runs at start and at every reload.

Only this module knows routes, middlewares, services and backends all at once. What it
builds looks nothing up by name while traffic flows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from functools import partial
from random import getrandbits, random
from time import monotonic, time_ns
from typing import Any, Protocol, TypeVar

from attrs import define, evolve, field, frozen

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import (
    HealthCheckConfig,
    LoadBalancerConfig,
    ServerConfig,
)
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.middleware import MiddlewareConfig, PluginSettings
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.observability import TracingConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.config.schema import hashable
from a3s_gateway.config.service import ServiceConfig
from a3s_gateway.config.ws_mux import WsMuxConfig
from a3s_gateway.datagrams import UdpResource, UdpRoute
from a3s_gateway.dataplane import (
    EntrypointResource,
    Observer,
    Origin,
    Route,
    TracedResource,
    Upstream,
)
from a3s_gateway.effects import Effects
from a3s_gateway.errors import UpstreamError
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.http import Handler, Middleware, Request, Response
from a3s_gateway.middleware import PLUGINS
from a3s_gateway.middleware.circuit_breaker import CircuitBreaker
from a3s_gateway.observability.counters import DatagramCounters, Invocations, Ledger
from a3s_gateway.observability.facts import Circuit, Connections
from a3s_gateway.observability.tracer import Span, Tracer
from a3s_gateway.proxy.grpc_web import GrpcWeb
from a3s_gateway.proxy.internal import INTERNAL, Wall
from a3s_gateway.router.table import RouteTable
from a3s_gateway.runtime.chain import chain
from a3s_gateway.runtime.generation import Generation
from a3s_gateway.runtime.group import Group, Server, entry
from a3s_gateway.runtime.guard import Complain, Guard
from a3s_gateway.runtime.reload import finish
from a3s_gateway.runtime.stamps import stamps
from a3s_gateway.runtime.tcp import TcpCompiler, TcpOriginMaker, is_tcp
from a3s_gateway.runtime.udp import UdpCompiler, UdpOriginMaker, is_udp
from a3s_gateway.service.backend import Backend, Watch
from a3s_gateway.service.balancer import balancer_for
from a3s_gateway.service.health import Probe
from a3s_gateway.service.hub import Channels, Hub
from a3s_gateway.service.outliers import Outliers
from a3s_gateway.tunnels import TcpResource, TcpRoute

Resource = EntrypointResource | TcpResource | UdpResource
T = TypeVar("T")
V = TypeVar("V")
LeaseState = Callable[[Hashable, Callable[[], Any]], Any]  # `Generation.lease`


class OriginMaker(TcpOriginMaker, UdpOriginMaker, Protocol):
    """Who knows how to connect to a server: `proxy/origins.py`."""

    def origin(self, url: ServerUrl, service: LoadBalancerConfig) -> Origin:
        """Make the origin of one server."""

    def probe(self, url: ServerUrl, service: LoadBalancerConfig, check: HealthCheckConfig) -> Probe:
        """Make what looks at one server."""


class Exporter(Protocol):
    """Who takes spans to a collector; it ends with its `close`."""

    def record(self, span: Span) -> None:
        """Take the span of an exchange that is over."""


class Mux(Protocol):
    """What answers as `mux@internal`: `proxy/ws_mux.py`."""

    @property
    def hub(self) -> Hub:
        """Who hears what."""

    @property
    def channels(self) -> Channels:
        """Those that there are."""

    async def handle(self, request: Request) -> Response:
        """Take a WebSocket in."""


@frozen(eq=False)
class Snapshot:
    """
    One compiled configuration: nothing in it changes after it is built.

    Attributes:
        generation: Its life.
        resources: What answers on each entrypoint, by name.
        routes: Every router, compiled, by name.
        services: The backends of each service, by name.
        pools: The connections to each backend.
        health: For each service the rules by which its backends are left out.
        invocations: How often each middleware was asked, by name.
        mux: What answers as `mux@internal`; None if no router names it.
        circuits: For each circuit breaker, by name, those of its services.

    """

    generation: Generation
    resources: Mapping[str, Resource]
    routes: Mapping[str, Route | TcpRoute | UdpRoute]
    services: Mapping[str, tuple[Backend, ...]]
    pools: Mapping[Backend, Connections]
    health: tuple[Outliers, ...]
    invocations: Mapping[str, Invocations]
    mux: Mux | None = None
    circuits: Mapping[str, Mapping[str, Circuit]] = field(factory=dict)

    def go_away(self) -> None:
        """Send those away who would stay for ever: the gateway stops."""
        if self.mux is not None:
            self.mux.hub.go_away()

    @property
    def datagrams(self) -> dict[str, DatagramCounters]:
        """What came and went at each UDP entrypoint, by name."""
        resources = self.resources.items()
        return {name: each.counters for name, each in resources if isinstance(each, UdpResource)}


@define(eq=False)
class Compiler:
    """Everything that compiling needs besides the configuration."""

    origins: OriginMaker
    observer_for: Callable[[str], Observer]
    report: Callable[[Backend, UpstreamError], None]
    complain: Complain
    effects: Effects
    wall: Wall
    ledger: Ledger
    watch: Callable[[Outliers], Watch]
    api: Handler
    mux_for: Callable[[WsMuxConfig, LeaseState], Mux]
    exporter_for: Callable[[ServerUrl], Exporter]

    def compile(self, config: GatewayConfig, generation: Generation) -> Snapshot:
        """
        Build a snapshot whose state is leased through `generation`.

        Raises:
            ConfigError: A middleware cannot be made of its configuration.
            ValueError: A file that the configuration names cannot be used.

        """
        return finish(self.steps(config, generation))

    def steps(
        self, config: GatewayConfig, generation: Generation
    ) -> Generator[None, None, Snapshot]:
        """Do what `compile` does, and yield wherever traffic may have its turn."""
        # 1  A service is a balancer over its servers; all its routers share it.
        groups = yield from _each(config.services, lambda service: self._group(service, generation))
        services = yield from _each(
            {name: group for name, group in groups.items() if group.speaks_http},
            lambda group: self._upstream(group, generation),
        )
        # 2  What a router may name: the services, and what the gateway provides itself.
        mux = self._mux(config, generation)
        handlers = {name: each.handle for name, each in services.items()} | self._internal(mux)
        # 3  A middleware is one however many routers name it.
        middlewares = yield from _each(
            config.middlewares, lambda each: self._counted(each, config, generation)
        )
        # 4  A route is its middlewares around its service.
        routers = {name: each for name, each in config.routers.items() if is_http(each, config)}
        make_route = partial(self._route, handlers, middlewares, generation)
        routes = yield from _each(routers, make_route)
        # 5  An entrypoint has a table of the routers that name it, or name none.
        entries = yield from _each(routers, lambda router: entry(router, routes[router.name]))
        tracer = self._tracer(config.tracing, generation)
        resources: dict[str, Resource] = {}
        for name, entrypoint in config.entrypoints.items():
            if entrypoint.protocol == "http":
                table = yield from RouteTable.steps(
                    entries[each.name]
                    for each in routers.values()
                    if name in each.entrypoints or not each.entrypoints
                )
                resources[name] = self._resource(name, generation, table, tracer)
        # 6  Connections and datagrams have routes of their own, to the same services.
        shared = self.origins, self.observer_for, self.report, self.ledger
        of_tcp = yield from TcpCompiler(*shared).steps(config, groups, middlewares, generation)
        _add_tunnels(resources, of_tcp.resources)
        of_udp = yield from UdpCompiler(*shared).steps(config, groups, generation)
        others: dict[str, TcpRoute | UdpRoute] = {**of_tcp.routes, **of_udp.routes}
        return Snapshot(
            generation,
            {**resources, **of_udp.resources},
            {name: routes.get(name) or others[name] for name in config.routers},
            {name: tuple(group.servers) for name, group in groups.items()},
            {**_pools(services.values()), **of_tcp.origins},
            tuple(group.outliers for group in groups.values()),
            {name: invocations for name, (_, invocations) in middlewares.items()},
            mux,
            _circuits(middlewares),
        )

    def _mux(self, config: GatewayConfig, generation: Generation) -> Mux | None:
        if all(router.service != "mux@internal" for router in config.routers.values()):
            return None
        return self.mux_for(config.ws_mux, generation.lease)

    def _internal(self, mux: Mux | None) -> dict[str, Handler]:
        handlers = {name: make(self.wall) for name, make in INTERNAL.items()}
        handlers["api@internal"] = self.api
        if mux is not None:
            handlers["mux@internal"] = mux.handle
        return handlers

    def _tracer(self, tracing: TracingConfig, generation: Generation) -> Tracer | None:
        endpoint = tracing.endpoint
        if endpoint is None:
            return None
        exporter = generation.lease(("exporter", endpoint), lambda: self.exporter_for(endpoint))
        return Tracer(tracing.sample_ratio, exporter.record, time_ns, monotonic, getrandbits)

    def _resource(
        self, name: str, generation: Generation, table: RouteTable[Route], tracer: Tracer | None
    ) -> EntrypointResource:
        observer = self.observer_for(name)
        if tracer is None:
            return EntrypointResource(name, generation, observer, table)
        return TracedResource(name, generation, observer, table, tracer)

    def _group(self, service: ServiceConfig, generation: Generation) -> Group:
        balancing = service.load_balancer
        assert balancing is not None  # revisions are refused before this
        # 1a  A server is a backend, which counts, and an origin, which holds its connections.
        counted: Counter[tuple[ServerUrl, int]] = Counter()
        servers = {}
        for server in balancing.servers:
            # The same server may stand in a list twice; it is known by which of them it is.
            counted[server.url, server.weight] += 1
            key = (service.name, server.url, server.weight, counted[server.url, server.weight])
            servers[_backend(server, key, generation)] = Server(server.url, key)
        # 1b  The strategy begins anew only when it, or the servers, are others than before.
        strategy, backends = balancing.strategy, tuple(servers)
        balancer = generation.lease(
            ("balancer", service.name, strategy, backends),
            lambda: balancer_for(strategy, backends, random),
        )
        # 1c  What is known of their health outlives a reload with them; the rules are new.
        outliers = Outliers(service.name, balancing, backends, random, self._probes(balancing))
        return Group(balancing, servers, balancer, outliers, self.watch(outliers))

    def _upstream(self, group: Group, generation: Generation) -> Upstream:
        origins = {
            backend: self._origin(server, group.balancing, generation)
            for backend, server in group.servers.items()
        }
        return Upstream(group.balancer, origins, self.report, group.watch)

    def _probes(self, balancing: LoadBalancerConfig) -> tuple[Probe, ...]:
        check = balancing.health_check
        if check is None:
            return ()
        return tuple(
            self.origins.probe(server.url, balancing, check) for server in balancing.servers
        )

    def _origin(
        self, server: Server, balancing: LoadBalancerConfig, generation: Generation
    ) -> Origin:
        # Connections outlive a reload that leaves alone what they depend on.
        facts = (
            balancing.protocol,
            balancing.pool,
            balancing.tls,
            stamps(balancing.tls),
            balancing.connect_timeout,
            balancing.request_timeout,
            balancing.stream_idle_timeout,
            balancing.stream_total_timeout,
        )
        return generation.lease(
            ("origin", *server.key, facts), lambda: self.origins.origin(server.url, balancing)
        )

    def _counted(
        self, middleware: MiddlewareConfig, config: GatewayConfig, generation: Generation
    ) -> tuple[Middleware, Invocations]:
        return (
            self._guarded(middleware, config, generation),
            generation.lease(("invocations", middleware.name), Invocations),
        )

    def _middleware(self, middleware: MiddlewareConfig, config: GatewayConfig) -> Middleware:
        build = middleware.plugin.build
        assert build is not None  # those without are refused before this
        try:
            effects = evolve(self.effects, name=middleware.name, complain=self.complain)
            made: Middleware = build(middleware.config, effects)
        except ValueError as error:
            fault = Diagnostic(middleware.span, f'middleware "{middleware.name}": {error}')
            raise ConfigError([fault], config.sources) from error
        return made

    def _guarded(
        self, middleware: MiddlewareConfig, config: GatewayConfig, generation: Generation
    ) -> Middleware:
        """Keep what others have written from doing harm; ours fails by policies of its own."""
        # What it remembers outlives a reload that leaves its block alone.
        made = generation.lease(
            _middleware_key(middleware), lambda: self._middleware(middleware, config)
        )
        if middleware.plugin in PLUGINS:
            return made
        given = middleware.config
        settings = given if isinstance(given, PluginSettings) else PluginSettings()
        return Guard(made, middleware.name, settings, self.effects.sleep, self.complain)

    def _route(
        self,
        handlers: Mapping[str, Handler],
        middlewares: Mapping[str, tuple[Middleware, Invocations]],
        generation: Generation,
        router: RouterConfig,
    ) -> Route:
        steps = [middlewares[name] for name in router.middlewares]
        handler = chain(steps, handlers[router.service], monotonic)
        if router.grpc_web:
            handler = GrpcWeb(handler).handle
        # Of another service the requests would be counted anew: its sums must not jump.
        counters = generation.lease(
            ("route", router.name, router.service),
            lambda: self.ledger.open(router.service),
        )
        return Route(router.name, router.service, handler, counters)


def _backend(server: ServerConfig, key: tuple[Hashable, ...], generation: Generation) -> Backend:
    return generation.lease(("backend", *key), lambda: Backend(server.url.text, server.weight))


def _middleware_key(middleware: MiddlewareConfig) -> Hashable:
    return "middleware", middleware.name, middleware.plugin, hashable(middleware.config)


def is_http(router: RouterConfig, config: GatewayConfig) -> bool:
    """Tell whether it is for requests."""
    return not is_udp(router, config) and not is_tcp(router, config)


def _add_tunnels(resources: dict[str, Resource], tunnels: Mapping[str, TcpResource]) -> None:
    for name, resource in tunnels.items():
        before = resources.setdefault(name, resource)
        if isinstance(before, EntrypointResource):
            before.tunnels = resource  # asked first, where both speak TLS


def _pools(services: Iterable[Upstream]) -> dict[Backend, Connections]:
    return {b: origin.pool for each in services for b, origin in each.origins.items()}


def _each(sections: Mapping[str, T], make: Callable[[T], V]) -> Generator[None, None, dict[str, V]]:
    made = {}
    for name, section in sections.items():
        made[name] = make(section)
        yield
    return made


def _circuits(
    middlewares: Mapping[str, tuple[Middleware, Invocations]],
) -> dict[str, Mapping[str, Circuit]]:
    found = {name: each for name, (each, _) in middlewares.items()}
    return {name: each.breakers for name, each in found.items() if isinstance(each, CircuitBreaker)}

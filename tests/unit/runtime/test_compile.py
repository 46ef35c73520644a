"""From a configuration to what answers, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen

from a3s_gateway import plugin
from a3s_gateway.body import NO_BODY, Body
from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import HealthCheckConfig, LoadBalancerConfig
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.kinds import TEXT
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import key
from a3s_gateway.config.ws_mux import WsMuxConfig
from a3s_gateway.dataplane import EntrypointResource
from a3s_gateway.effects import Effects
from a3s_gateway.errors import UpstreamConnectError, UpstreamError
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.http import Exchange, Handler, Request, Response
from a3s_gateway.observability.counters import Ledger
from a3s_gateway.observability.tracer import Span
from a3s_gateway.plugin import Plugin, plugins
from a3s_gateway.proxy.internal import ping
from a3s_gateway.runtime.compile import Compiler, LeaseState, Snapshot
from a3s_gateway.runtime.generation import Generation, StatePool
from a3s_gateway.service.backend import Backend, Lease
from a3s_gateway.service.health import Probe
from a3s_gateway.service.hub import Channels, Hub


@frozen(kw_only=True)
class MarkConfig(Settings):
    """A third party's middleware: it writes its mark on the way in and out."""

    mark: str = key(TEXT, "What is written.", example='"a"')


@frozen(eq=False)
class Mark:
    config: MarkConfig
    effects: Effects

    async def __call__(self, request: Request, next: Handler) -> Response:
        said = request.headers.find("marks") or ""
        headers = request.headers.replaced("marks", said + self.config.mark)
        response = await next(evolve(request, headers=headers))
        said = response.headers.find("marks") or ""
        return evolve(response, headers=response.headers.replaced("marks", said + self.config.mark))


def make_mark(config: MarkConfig, effects: Effects) -> Mark:
    if config.mark == "-":
        raise ValueError("a mark must be visible")
    return Mark(config, effects)


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Installed:
        def load(self) -> Plugin:
            return Plugin("middleware", "mark", MarkConfig, make_mark)

    monkeypatch.setattr(plugin, "entry_points", lambda group: [Installed()])
    plugins.cache_clear()
    yield
    plugins.cache_clear()


@frozen
class Indifferent:
    """Does not judge servers."""

    statuses: frozenset[int] = frozenset()

    def answered(self, lease: Lease, status: int) -> None:
        pass

    def failed(self, lease: Lease, error: Exception) -> None:
        pass

    def broke(self, lease: Lease, error: Exception) -> None:
        pass


@frozen
class NoConnections:
    open: int = 0
    idle: int = 0


@define(eq=False)
class FakeOrigin:
    """Answers with where it is and what it was asked."""

    url: ServerUrl
    service: LoadBalancerConfig
    fails: bool = False
    pool: NoConnections = NoConnections()

    async def forward(self, request: Request) -> Response:
        if self.fails:
            raise UpstreamConnectError("UPSTREAM_CONNECT", "refused")
        headers = Headers.of(
            ("at", self.url.text), ("marks", request.headers.find("marks") or "none")
        )
        return Response(200, headers, Body.of(b"ok"))


@define(eq=False)
class Spans:
    """Keeps the spans of exchanges."""

    url: str
    recorded: list[Span] = field(factory=list)
    is_closed: bool = False

    def record(self, span: Span) -> None:
        assert not self.is_closed
        self.recorded.append(span)

    def close(self) -> None:
        self.is_closed = True


@frozen(eq=False)
class FakeMux:
    """Answers in place of `mux@internal`."""

    hub: Hub
    channels: Channels

    async def handle(self, request: Request) -> Response:
        return Response(101, EMPTY_HEADERS, Body())


@define(eq=False)
class World:
    """Everything around a compiler, and what it was told."""

    made: list[FakeOrigin]
    reported: list[tuple[str, str]]
    spans: list[Spans]
    pool: StatePool
    ledger: Ledger
    muxes: list[FakeMux] = field(factory=list)

    @classmethod
    def new(cls) -> World:
        return cls([], [], [], StatePool(), Ledger())

    def origin(self, url: ServerUrl, service: LoadBalancerConfig) -> FakeOrigin:
        self.made.append(FakeOrigin(url, service))
        return self.made[-1]

    def probe(self, url: ServerUrl, service: LoadBalancerConfig, check: HealthCheckConfig) -> Probe:
        raise NotImplementedError

    def mux(self, config: WsMuxConfig, lease: LeaseState) -> FakeMux:
        self.muxes.append(
            FakeMux(lease("mux", lambda: Hub(lambda call: call())), Channels(config.channels))
        )
        return self.muxes[-1]

    def exporter(self, url: ServerUrl) -> Spans:
        self.spans.append(Spans(url.text))
        return self.spans[-1]

    def observe(self, request: Request | None, exchange: Exchange) -> None:
        pass

    def report(self, backend: Backend, error: UpstreamError) -> None:
        self.reported.append((backend.url, error.fault.code))

    def compile(self, text: str) -> Snapshot:
        async def sleep(_: float) -> None:
            pass

        effects = Effects(now=lambda: 0.0, sleep=sleep, random=lambda: 0.5)
        compiler = Compiler(
            origins=self,
            observer_for=lambda _: self,
            report=self.report,
            complain=lambda name, error: None,
            effects=effects,
            wall=lambda: 0.0,
            ledger=self.ledger,
            watch=lambda _: Indifferent(),
            api=ping(lambda: 0.0),
            mux_for=self.mux,
            exporter_for=self.exporter,
        )
        return compiler.compile(GatewayConfig.from_text(text), Generation(self.pool))


def ask(snapshot: Snapshot, path: str = "/", entrypoint: str = "web") -> Response:
    exchange = Exchange(entrypoint, "192.0.2.1", 0.0)
    request = Request(
        "GET", path, None, "a", "a", 11, "http", EMPTY_HEADERS, NO_BODY, "192.0.2.1", exchange
    )
    response = asyncio.run(snapshot.resources[entrypoint].handle(request))
    exchange.close()
    return response


WEB = 'entrypoints "web" { address = ":1" }\n'


def router(
    name: str, service: str = "backend", rule: str = "PathPrefix(`/`)", more: str = ""
) -> str:
    return f'routers "{name}" {{\n rule = "{rule}"\n service = "{service}"\n {more}\n}}\n'


def service(*urls: str, name: str = "backend", more: str = "") -> str:
    servers = "\n".join(f'servers {{ url = "{url}" }}' for url in urls or ("http://one",))
    return f'services "{name}" {{\n load_balancer {{\n{servers}\n{more}\n}}\n}}\n'


def mark(name: str) -> str:
    return f'middlewares "{name}" {{\n type = "mark"\n mark = "{name}"\n}}\n'


def test_a_route_leads_to_its_service() -> None:
    """Each router to the service that it names; no router, no answer."""
    snapshot = World.new().compile(
        WEB
        + router("one", "one", "Path(`/one`)")
        + router("two", "two", "Path(`/two`)")
        + service("http://one", name="one")
        + service("http://two", name="two")
    )
    assert [ask(snapshot, path).headers.find("at") for path in ("/one", "/two")] == [
        "http://one",
        "http://two",
    ]
    assert ask(snapshot, "/three").status == 404


def test_middlewares_are_around_the_service_in_the_order_written() -> None:
    """The first one sees the request first and the answer last."""
    steps = 'middlewares = ["a", "b", "c"]'
    snapshot = World.new().compile(
        WEB + router("all", more=steps) + service() + mark("a") + mark("b") + mark("c")
    )
    assert ask(snapshot).headers.find("marks") == "abccba"


def test_a_middleware_is_one_for_all_its_routers() -> None:
    """What it remembers counts for all of them together."""
    made: list[Mark] = []

    def remember(config: MarkConfig, effects: Effects) -> Mark:
        made.append(Mark(config, effects))
        return made[-1]

    known = dict(plugins("middleware"))
    known["mark"] = Plugin("middleware", "mark", MarkConfig, remember)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("a3s_gateway.config.decode.plugins", lambda _: known)
        World.new().compile(
            WEB
            + router("one", rule="Path(`/1`)", more='middlewares = ["a"]')
            + router("two", rule="Path(`/2`)", more='middlewares = ["a"]')
            + service()
            + mark("a")
        )
    assert len(made) == 1
    assert made[0].effects.random() == 0.5


def test_a_middleware_counts_how_often_it_was_asked() -> None:
    """By all routers that name it; and a reload that keeps its name goes on counting."""
    world = World.new()
    text = WEB + router("all", more='middlewares = ["a"]') + service() + mark("a") + mark("b")
    for _ in range(2):
        snapshot = world.compile(text)
        ask(snapshot)
    counts = {name: each.count for name, each in snapshot.invocations.items()}
    assert counts == {"a": 2, "b": 0}


def test_a_middleware_that_cannot_be_made_is_a_fault_with_a_place() -> None:
    """A plugin refuses its configuration by ValueError."""
    with pytest.raises(ConfigError) as caught:
        World.new().compile(WEB + router("all", more='middlewares = ["-"]') + service() + mark("-"))
    (fault,) = caught.value.diagnostics
    assert fault.message == 'middleware "-": a mark must be visible'
    assert 'middlewares "-" {' in caught.value.render()


def test_a_router_serves_the_entrypoints_that_it_names() -> None:
    """And every one, if it names none."""
    snapshot = World.new().compile(
        WEB
        + 'entrypoints "other" { address = ":2" }\n'
        + router("everywhere", rule="Path(`/all`)")
        + router("there", rule="Path(`/some`)", more='entrypoints = ["other"]')
        + service()
    )
    found = {
        (name, path): ask(snapshot, path, name).status
        for name in ("web", "other")
        for path in ("/all", "/some")
    }
    assert found == {
        ("web", "/all"): 200,
        ("web", "/some"): 404,
        ("other", "/all"): 200,
        ("other", "/some"): 200,
    }


def test_what_the_gateway_provides_itself() -> None:
    """Built-in services need no declaration, and stand behind middlewares like others."""
    steps = 'middlewares = ["a"]'
    snapshot = World.new().compile(WEB + router("p", "ping@internal", more=steps) + mark("a"))
    response = ask(snapshot)
    assert (response.body.take(), response.headers.find("marks")) == (b"OK\n", "a")


def test_a_server_that_stands_there_twice_is_two() -> None:
    """Each with its own count."""
    snapshot = World.new().compile(WEB + router("all") + service("http://one", "http://one"))
    for _ in range(4):
        ask(snapshot)
    assert [each.requests for each in snapshot.services["backend"]] == [2, 2]


def test_a_server_that_fails_is_reported_and_another_one_tried() -> None:
    """By the same step that every router of the service ends in."""
    world = World.new()
    snapshot = world.compile(WEB + router("all") + service("http://one", "http://two"))
    world.made[0].fails = True
    assert [ask(snapshot).headers.find("at") for _ in range(2)] == ["http://two", "http://two"]
    assert world.reported[0] == ("http://one", "UPSTREAM_CONNECT")


# -- a second compilation beside the first


def test_what_is_the_same_in_both_is_shared() -> None:
    """Backends, connections, the turn of the balancer and the counters of a route go on."""
    world = World.new()
    text = WEB + router("all") + service("http://one", "http://two")
    one = world.compile(text)
    ask(one)
    two = world.compile(text)
    assert two.services == one.services
    assert two.routes["all"].counters is one.routes["all"].counters
    assert len(world.made) == 2
    assert ask(two).headers.find("at") == "http://two"


def test_a_new_server_leaves_the_old_ones_alone() -> None:
    """Only the balancer begins anew."""
    world = World.new()
    one = world.compile(WEB + router("all") + service("http://one"))
    two = world.compile(WEB + router("all") + service("http://one", "http://two"))
    assert two.services["backend"][0] is one.services["backend"][0]
    assert [origin.url.text for origin in world.made] == ["http://one", "http://two"]


@pytest.mark.parametrize(
    "change",
    [
        'connect_timeout = "1s"',
        'request_timeout = "1s"',
        'stream_idle_timeout = "1s"',
        'stream_total_timeout = "1h"',
        'protocol = "http2"',
        "pool { max_connections = 1 }",
        'tls { server_name = "x" }',
    ],
)
def test_connections_do_not_outlive_what_they_depend_on(change: str) -> None:
    """With another time limit or another certificate new ones are made; health is kept."""
    world = World.new()
    one = world.compile(WEB + router("all") + service("http://one"))
    two = world.compile(WEB + router("all") + service("http://one", more=change))
    assert two.services == one.services
    assert len(world.made) == 2


def test_servers_are_known_wherever_they_stand_in_the_list() -> None:
    """One that is added in front, or taken away, disturbs no other; the same one twice is two."""
    world = World.new()
    one = world.compile(WEB + router("all") + service("http://one", "http://two", "http://one"))
    two = world.compile(WEB + router("all") + service("http://three", "http://one", "http://two"))
    before, after = one.services["backend"], two.services["backend"]
    assert after[1:] == before[:2]
    assert len({*before, *after}) == 4


def test_another_certificate_in_the_same_file_needs_new_connections(tmp_path: Path) -> None:
    """So that a reload takes over what was renewed."""
    world = World.new()
    authority = tmp_path / "ca.pem"
    authority.write_text("old")
    text = WEB + router("all") + service(more=f'tls {{ ca_file = "{authority}" }}')
    world.compile(text)
    world.compile(text)
    assert len(world.made) == 1
    authority.write_text("renewed")
    world.compile(text)
    assert len(world.made) == 2


def test_a_middleware_lasts_until_its_parameters_change() -> None:
    """What it has learned is lost by a change of its own block, and by no other."""
    world = World.new()
    made: list[str] = []

    def remember(config: MarkConfig, effects: Effects) -> Mark:
        made.append(config.mark)
        return Mark(config, effects)

    known = dict(plugins("middleware"))
    known["mark"] = Plugin("middleware", "mark", MarkConfig, remember)
    text = WEB + router("all", more='middlewares = ["a", "b"]') + service()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("a3s_gateway.config.decode.plugins", lambda _: known)
        world.compile(text + mark("a") + mark("b"))
        world.compile(text + mark("b") + mark("a") + mark("c"))
        world.compile(text + mark("a").replace('mark = "a"', 'mark = "other"') + mark("b"))
    assert made == ["a", "b", "c", "other"]


def test_a_retired_generation_gives_everything_back() -> None:
    """The last one drops what it stood on."""
    world = World.new()
    text = WEB + router("all") + service("http://one")
    one: Any = world.compile(text)
    one.generation.retire()
    two = world.compile(text)
    assert two.services["backend"][0] is not one.services["backend"][0]


COLLECTOR = 'tracing {\n endpoint = "http://collector:4318/v1/traces"\n}\n'


def test_every_exchange_is_a_span_where_there_is_a_collector() -> None:
    """Also one that no router takes; and what the backend gets names the span."""
    world = World.new()
    snapshot = world.compile(WEB + router("all", rule="Path(`/`)") + service() + COLLECTOR)
    ask(snapshot)
    ask(snapshot, "/other")
    (spans,) = world.spans
    assert [span.name for span in spans.recorded] == ["GET all", "GET"]


def test_without_a_collector_there_is_nothing_to_pay() -> None:
    """What answers is the same as if there were no tracing at all."""
    world = World.new()
    snapshot = world.compile(WEB + router("all") + service() + "tracing {\n}\n")
    assert type(snapshot.resources["web"]) is EntrypointResource
    assert world.spans == []


def test_the_exporter_lives_as_long_as_anybody_needs_it() -> None:
    """A reload keeps it; an exchange in progress has its span recorded before it ends."""
    world = World.new()
    text = WEB + router("all") + service()
    one: Any = world.compile(text + COLLECTOR)
    two: Any = world.compile(text + COLLECTOR)
    (spans,) = world.spans
    one.generation.retire()
    exchange = Exchange("web", "192.0.2.1", 0.0)
    request = Request(
        "GET", "/", None, "a", "a", 11, "http", EMPTY_HEADERS, NO_BODY, "192.0.2.1", exchange
    )
    asyncio.run(two.resources["web"].handle(request))
    two.generation.retire()
    assert not spans.is_closed
    exchange.close()
    assert (spans.is_closed, len(spans.recorded)) == (True, 1)


def test_channels_are_there_for_who_routes_to_them() -> None:
    """One hub for all such routers; a reload leases it again, with the channels that it names."""
    world = World.new()
    assert world.compile(WEB + router("a", "ping@internal")).mux is None
    routers = router("a", "mux@internal") + router("b", "mux@internal", "Path(`/b`)")
    one = world.compile(WEB + routers)
    other = world.compile(WEB + routers + 'ws_mux { channels = ["news"] }')
    assert one.mux is not None
    assert other.mux is not None
    assert one.mux.hub is other.mux.hub
    assert [each.channels.entries for each in world.muxes] == [("*",), ("news",)]
    assert ask(other, "/b").status == ask(other, "/").status == 101

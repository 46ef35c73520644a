from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import define, evolve, field, frozen

from a3s_gateway.admin.answers import Answer, Asked
from a3s_gateway.admin.resources import Api
from a3s_gateway.config.faults import ConfigError, ReadingError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.dataplane import EntrypointResource, Route
from a3s_gateway.hcl.diagnostics import Diagnostic, Span
from a3s_gateway.http import Request, Response
from a3s_gateway.middleware._breaker import Breaker
from a3s_gateway.observability.counters import RouteCounters
from a3s_gateway.observability.facts import Certificates, Facts
from a3s_gateway.observability.metrics import Metrics
from a3s_gateway.router.expression import rule_length
from a3s_gateway.router.rule import parse
from a3s_gateway.router.table import Entry, RouteTable
from a3s_gateway.runtime.compile import Snapshot
from a3s_gateway.runtime.reload import Reloads
from a3s_gateway.runtime.status import Health, State
from a3s_gateway.service.backend import Backend
from a3s_gateway.service.hub import Channels, Hub

TEXT = """
entrypoints "web" {
  address = "127.0.0.1:0"
}
routers "wide" {
  rule    = "PathPrefix(`/`)"
  service = "pool"
}
routers "a/b c" {
  rule     = "Path(`/x`)"
  service  = "whoami@internal"
  entrypoints = ["web"]
  priority = 900
}
routers "narrow" {
  rule    = "Host(`a.example`) && PathPrefix(`/`)"
  service = "pool"
}
services "pool" {
  load_balancer {
    strategy = "least-connections"
    servers { url = "http://127.0.0.1:1" }
    servers {
      url = "http://127.0.0.1:2"
      weight = 3
    }
  }
}
admin {
  ADMIN
}
"""


@define(eq=False)
class Shown:
    """A gateway to look at: everything of it is set by the test."""

    text: str = TEXT.replace("ADMIN", "")
    state: State = State.RUNNING
    is_started: bool = True
    version: str = "1.2.3"
    path: str = "gateway.hcl"
    snapshot: Snapshot = field(init=False)
    _config: GatewayConfig = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._config = GatewayConfig.from_text(self.text, self.path, {})
        entries = [
            Entry(
                router.name,
                parse(router.rule),
                router.priority,
                rule_length(router.rule, parse(router.rule)),
                Route(router.name, router.service, nobody, RouteCounters()),
            )
            for router in self._config.routers.values()
        ]
        web = EntrypointResource("web", Life(), Life(), RouteTable.build(entries))
        one, two = Backend("http://127.0.0.1:1"), Backend("http://127.0.0.1:2", 3)
        two.acquire()
        one.available = False
        services = {"pool": (one, two)}
        self.snapshot = Snapshot(Life(), {"web": web}, {}, services, {}, (), {})  # type: ignore[arg-type]

    def config(self) -> GatewayConfig:
        return self._config

    def health(self) -> Health:
        return Health(self.state, 12.75, 3, 45)

    def metrics(self) -> Metrics:
        return Metrics(lambda: Facts(version=self.version, reloads=Reloads()))

    def certificates(self) -> Certificates:
        return Certificates(by_entrypoint={"web": [Certificate()]})

    def find_snapshot(self) -> Snapshot | None:
        return self.snapshot if self.is_started else None


@frozen(eq=False)
class Mux:
    """What would answer as `mux@internal`."""

    hub: Hub
    channels: Channels

    async def handle(self, request: Request) -> Response:
        raise NotImplementedError


@define
class Certificate:
    """What an entrypoint shows."""

    cert_file: str = "/certs/shop.pem"
    algorithm: str = "ECDSA"
    names: tuple[str, ...] = ("shop.example", "*.shop.example")
    addresses: tuple[str, ...] = ("192.0.2.7",)
    serial: str = "1f"
    not_after: datetime = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


class Life:
    """Nobody's generation, nobody's observer."""

    def hold(self) -> None: ...

    def unhold(self) -> None: ...

    def observe(self, request: object, exchange: object) -> None: ...


async def nobody(request: object) -> Any:
    raise AssertionError("nothing is asked for on the data path")


async def done() -> None:
    """Rest, or reload, in no time."""


def run(work: Awaitable[Answer]) -> Answer:
    try:
        work.__await__().send(None)  # type: ignore[attr-defined]
    except StopIteration as end:
        answer: Answer = end.value
        return answer
    raise AssertionError("it waits for something")


def ask(
    path: str,
    method: str = "GET",
    *,
    shown: Shown | None = None,
    admin: str = "",
    client: str = "127.0.0.1",
    authorization: str | None = None,
    reload: Callable[[], Awaitable[object]] = done,
) -> Answer:
    gateway = shown or Shown(TEXT.replace("ADMIN", admin))
    path, _, query = path.partition("?")
    api = Api(gateway, done, lambda: 0.0, reload)
    return run(api.answer(Asked(method, path, query, client, authorization)))


def told(path: str, **more: Any) -> Any:
    answer = ask(path, **more)
    assert (answer.status, answer.content_type) == (200, "application/json")
    return json.loads(answer.body)


# -- what is told


def test_health_has_the_shape_that_dashboards_know() -> None:
    """The state begins with a capital letter, the time is in whole seconds."""
    assert told("/api/gateway/health") == {
        "state": "Running",
        "uptime_secs": 12,
        "active_connections": 3,
        "total_requests": 45,
    }


@pytest.mark.parametrize("state", [each for each in State if each is not State.RUNNING])
def test_a_gateway_that_is_not_in_service_says_so_by_its_status(state: State) -> None:
    """Also to those who read no JSON; the body is the same."""
    answer = ask("/api/gateway/health", shown=Shown(state=state))
    assert answer.status == 503
    assert json.loads(answer.body)["state"] == state.capitalize()


def test_routes_are_told_in_the_order_in_which_they_are_tried() -> None:
    """By priority, and where there is none by the length of the rule."""
    routes = told("/api/gateway/routes")
    assert [route["name"] for route in routes] == ["a/b c", "narrow", "wide"]
    assert routes[0] == {
        "name": "a/b c",
        "rule": "Path(`/x`)",
        "service": "whoami@internal",
        "entrypoints": ["web"],
        "middlewares": [],
        "priority": 900,
    }


def test_one_route_is_found_by_its_name_as_a_url_writes_it() -> None:
    """Any name can be asked for."""
    assert told("/api/gateway/routes/narrow")["rule"].startswith("Host(")
    assert told("/api/gateway/routes/a/b%20c")["priority"] == 900
    assert told("/api/gateway/routes/a%2Fb%20c/")["priority"] == 900


def test_services_are_told_with_their_backends() -> None:
    """In the words of the configuration; who is well, and who carries what."""
    pool = {
        "name": "pool",
        "strategy": "least-connections",
        "backends_total": 2,
        "backends_healthy": 1,
        "backends": [
            {
                "url": "http://127.0.0.1:1",
                "weight": 1,
                "healthy": False,
                "active_connections": 0,
            },
            {
                "url": "http://127.0.0.1:2",
                "weight": 3,
                "healthy": True,
                "active_connections": 1,
            },
        ],
    }
    assert told("/api/gateway/services") == [pool]
    assert told("/api/gateway/services/pool") == pool
    assert told("/api/gateway/backends") == [
        {"service": "pool", **backend} for backend in pool["backends"]
    ]


def test_channels_are_shown_where_a_router_leads_to_them() -> None:
    """With what went through them."""
    assert ask("/api/gateway/channels").status == 404
    shown = Shown()
    hub = Hub(lambda call: call())
    hub.counters_of("news").published = 3
    shown.snapshot = evolve(shown.snapshot, mux=Mux(hub, Channels(("news",))))
    assert told("/api/gateway/channels", shown=shown) == {
        "connections": 0,
        "lost": 0,
        "entries": [
            {
                "channel": "news",
                "subscriptions": 0,
                "published": 3,
                "delivered": 0,
                "dropped": 0,
                "received": 0,
            }
        ],
        "channels": [],
    }


def test_circuits_are_shown() -> None:
    """Each with what it thinks of its service."""
    breaker = Breaker(1, 10.0, 1, 1)
    breaker.failed(breaker.admit(0.0), 0.0)
    shown = Shown()
    shown.snapshot = evolve(shown.snapshot, circuits={"rest": {"pool": breaker}})
    assert told("/api/gateway/circuits", shown=shown) == [
        {"middleware": "rest", "service": "pool", "state": "open", "opened": 1}
    ]


def test_the_version_is_told() -> None:
    """Of the program, not of the API."""
    assert told("/api/gateway/version") == {"name": "a3s-gateway", "version": "1.2.3"}


def test_the_configuration_is_told_whole() -> None:
    """Every key, those that were left out too, and what a program would call it."""
    config = told("/api/gateway/config")
    assert list(config) == [
        "entrypoints", "routers", "services", "middlewares", "plugins", "ws_mux",
        "providers", "admin", "access_log", "tracing", "shutdown_timeout_secs",
        "shutdown_delay_secs",
    ]  # fmt: skip
    assert config["routers"]["wide"]["middlewares"] == []
    assert config["services"]["pool"]["load_balancer"]["strategy"] == "least-connections"
    assert config["services"]["pool"]["mirror"] is None


def test_metrics_are_told_under_the_prefix_and_beside_it() -> None:
    """Scrapers look at `/metrics`, dashboards where all else is."""
    for path in ("/metrics", "/api/gateway/metrics"):
        answer = ask(path)
        assert answer.status == 200
        assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
        assert b"# TYPE gateway_requests_total counter\ngateway_requests_total 0\n" in answer.body


def test_json_can_be_read_by_people() -> None:
    """Two blanks of indentation, and a newline at the end for terminals."""
    body = ask("/api/gateway/version").body
    assert body == b'{\n  "name": "a3s-gateway",\n  "version": "1.2.3"\n}\n'


def test_before_the_start_there_are_no_routes_and_no_services() -> None:
    """What is configured and not compiled serves nobody."""
    shown = Shown(state=State.STARTING, is_started=False)
    for name in ("routes", "services", "backends"):
        assert told(f"/api/gateway/{name}", shown=shown) == []
    assert ask("/api/gateway/routes/wide", shown=shown).status == 404
    assert ask("/api/gateway/services/pool", shown=shown).status == 404


# -- probes


def test_it_lives_in_every_state() -> None:
    """An orchestrator must not kill what drains, or starts slowly."""
    for state in State:
        assert ask("/livez", shown=Shown(state=state)).status == 200


def test_it_is_ready_only_while_it_serves() -> None:
    """From the moment that a stop begins no new traffic should be sent."""
    ready = {state: ask("/readyz", shown=Shown(state=state)).status for state in State}
    assert ready == {state: 200 if state is State.RUNNING else 503 for state in State}


def test_readiness_can_be_explained() -> None:
    """`?verbose` tells the state, and which services have no backend to go to."""
    answer = ask("/readyz?verbose")
    assert answer.body.decode().splitlines() == [
        "[+] state: running",
        "[+] service pool: 1 of 2 backends",
        "ready",
    ]


# -- what is not there


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "Not found"),
        ("/api/gateway", "Not found"),
        ("/api/gateway/nothing", "Not found"),
        ("/api/gateway/livez", "Not found"),
        ("/api/gatewayhealth", "Not found"),
        ("/health", "Not found"),
        ("/api/gateway/routes/nobody", "Route not found"),
        ("/api/gateway/services/nobody", "Service not found"),
    ],
)
def test_another_path_is_not_found(path: str, text: str) -> None:
    """In JSON, and in words that say what."""
    answer = ask(path)
    assert (answer.status, json.loads(answer.body)) == (404, {"error": text})


def test_the_prefix_is_the_operators_choice() -> None:
    """A slash at its end makes no difference; the probes stay where they are."""
    admin = 'path_prefix = "/gw/"'
    assert told("/gw/version", admin=admin)
    assert ask("/api/gateway/version", admin=admin).status == 404
    assert ask("/livez", admin=admin).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"])
def test_what_can_be_read_can_only_be_read(method: str) -> None:
    """Another method gets 405, and is told which there are."""
    for path in ("/livez", "/readyz", "/metrics", "/api/gateway/config"):
        answer = ask(path, method)
        assert answer.status == 405
        assert ("Allow", "GET, HEAD") in answer.headers


# -- reload


def test_a_reload_is_done_when_it_is_answered() -> None:
    """Whoever gets 200 talks to the new configuration from then on."""
    reloads = []

    async def reload() -> None:
        reloads.append(1)

    answer = ask("/api/gateway/reload", "POST", reload=reload)
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "reloaded"})
    assert reloads == [1]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_link_reloads_nothing(method: str) -> None:
    """Only POST does."""

    async def reload() -> None:
        raise AssertionError("it must not be called")

    answer = ask("/api/gateway/reload", method, reload=reload)
    assert answer.status == 405
    assert ("Allow", "POST") in answer.headers


def test_a_configuration_at_fault_is_told_with_all_its_faults() -> None:
    """As many as there are, each with its place."""

    async def reload() -> None:
        where = Span("gateway.hcl", 3, 5)
        raise ConfigError([Diagnostic(where, "no such thing"), Diagnostic(where, "nor this")])

    answer = ask("/api/gateway/reload", "POST", reload=reload)
    assert answer.status == 422
    assert [each["message"] for each in json.loads(answer.body)["faults"]] == [
        "no such thing",
        "nor this",
    ]
    assert json.loads(answer.body)["faults"][0]["place"] == "gateway.hcl:3:5"


def test_a_configuration_that_could_not_be_read_at_all() -> None:
    """The process that reads it was killed: what is in force stays, and one may try again."""

    async def reload() -> None:
        raise ReadingError("the process that read it ended with signal 9: secret words")

    answer = ask("/api/gateway/reload", "POST", reload=reload)
    assert (answer.status, json.loads(answer.body)) == (
        503,
        {"error": "The configuration could not be read; the log says why"},
    )


def test_what_does_not_run_cannot_be_reloaded() -> None:
    """While it drains, for example."""
    answer = ask("/api/gateway/reload", "POST", shown=Shown(state=State.STOPPING))
    assert answer.status == 503


def test_what_a_program_wrote_has_no_file_to_read_again() -> None:
    """The program can call `Gateway.reload` with another configuration."""
    assert ask("/api/gateway/reload", "POST", shown=Shown(path="<text>")).status == 501


# -- who may ask


def test_without_a_token_nothing_is_answered_but_the_probes() -> None:
    """Neither what there is, nor what there is not."""
    for path in ("/api/gateway/config", "/metrics", "/api/gateway/nothing", "/readyz?verbose"):
        answer = ask(path, admin='token = "sesame"')
        assert answer.status == 401
        assert ("WWW-Authenticate", 'Bearer realm="a3s-gateway"') in answer.headers
        assert b"sesame" not in answer.body
    assert ask("/api/gateway/reload", "POST", admin='token = "sesame"').status == 401
    assert [ask(path, admin='token = "sesame"').status for path in ("/livez", "/readyz")] == [
        200
    ] * 2


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer sesam", "Bearer sesame2", "Bearer SESAME", "Basic sesame",
     "sesame", "Bearer sésame", "Bearer sesame, Bearer sesame"],
)  # fmt: skip
def test_a_wrong_token_is_none(authorization: str) -> None:
    """Nearly right is not enough."""
    answer = ask("/api/gateway/health", admin='token = "sesame"', authorization=authorization)
    assert answer.status == 401


def test_the_right_token_opens() -> None:
    """The scheme may be written as one likes (RFC 9110 §11.1)."""
    for authorization in ("Bearer sesame", "bearer sesame", "BEARER  sesame"):
        told("/api/gateway/config", admin='token = "sesame"', authorization=authorization)


@pytest.mark.parametrize(
    ("client", "status"),
    [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("192.168.0.1", 403),
        ("2001:db8::1", 200),
        ("", 403),
        ("unknown", 403),
    ],
)
def test_only_those_who_may_get_an_answer(client: str, status: int) -> None:
    """The probes included; a client without an address is nobody who may."""
    admin = 'allowed_ips = ["10.0.0.0/8", "2001:db8::1"]'
    for path in ("/api/gateway/health", "/livez"):
        assert ask(path, admin=admin, client=client).status == status


def test_certificates_are_told() -> None:
    """For whom each is, and when it expires."""
    assert told("/api/gateway/certificates") == [
        {
            "entrypoint": "web",
            "cert_file": "/certs/shop.pem",
            "algorithm": "ECDSA",
            "names": ["shop.example", "*.shop.example", "192.0.2.7"],
            "serial": "1f",
            "not_after": "2030-01-02T03:04:05Z",
        }
    ]

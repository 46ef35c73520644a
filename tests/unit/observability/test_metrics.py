from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from a3s_gateway.faults import FAULTS
from a3s_gateway.http import Exchange
from a3s_gateway.observability import metrics as module
from a3s_gateway.observability.counters import BOUNDS, Invocations, Ledger, RouteCounters
from a3s_gateway.observability.facts import Facts
from a3s_gateway.observability.families import COUNTS, TIMES
from a3s_gateway.observability.metrics import Metrics
from a3s_gateway.runtime.reload import Reloads
from a3s_gateway.service.backend import Backend

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
Labels = frozenset[tuple[str, str]]
ODD = 'a "quoted" \\ name\nof 100%s'


@frozen(eq=False)
class Route:
    name: str
    service: str
    counters: RouteCounters


@frozen
class Pool:
    open: int
    idle: int


@define(eq=False)
class Gateway:
    """A gateway's counters, as it would hold them."""

    ledger: Ledger = field(factory=Ledger)
    routes: list[Route] = field(factory=list)
    services: dict[str, tuple[Backend, ...]] = field(factory=dict)
    pools: dict[Backend, Pool] = field(factory=dict)
    unrouted: dict[str, RouteCounters] = field(factory=dict)
    reloads: Reloads = field(factory=Reloads)
    invocations: dict[str, Invocations] = field(factory=dict)

    def route(self, name: str, service: str) -> RouteCounters:
        self.routes.append(Route(name, service, self.ledger.open(service)))
        return self.routes[-1].counters

    def facts(self) -> Facts:
        return Facts(
            version="1.2.3",
            routes=self.routes,
            services=self.services,
            pools=self.pools,
            invocations=self.invocations,
            connections={"web": 3, "other": 2},
            unrouted=self.unrouted,
            ledger=self.ledger,
            reloads=self.reloads,
            lost_lines=7,
            lost_spans=8,
        )

    def text(self) -> str:
        return b"".join(Metrics(self.facts).text()).decode()

    def values(self) -> dict[tuple[str, Labels], float]:
        return dict(samples(self.text()))

    def value(self, name: str, **labels: str) -> float:
        return self.values()[name, frozenset(labels.items())]


def samples(text: str) -> Iterator[tuple[tuple[str, Labels], float]]:
    """Read the text as Prometheus's own library for Python does."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.startswith("process_"):
                yield (sample.name, frozenset(sample.labels.items())), sample.value


def count(counters: RouteCounters, status: int = 200, code: str = "", took: float = 0.1) -> None:
    exchange = Exchange("web", "127.0.0.1", 100.0)
    exchange.status, exchange.code = status, code
    exchange.bytes_in, exchange.bytes_out = 5, 10
    exchange.first_byte_at = 100.0 + took / 2 if status else 0.0
    counters.record(exchange, took)


@pytest.fixture
def busy() -> Gateway:
    """A gateway that has done a bit of everything, with names that need care."""
    gateway = Gateway(
        reloads=Reloads(2, 1, is_last_successful=False, last_at=9.5, last_success_at=8.5)
    )
    one = gateway.route("one", "pool")
    two = gateway.route(ODD, "pool")
    who = gateway.route("who", "whoami@internal")
    for status in (200, 204, 302, 404, 499, 503, 101, 0):
        count(one, status, took=0.003)
    count(two, 502, "UPSTREAM_CONNECT", took=70.0)
    count(two, 200, took=0.0005)
    count(who)
    gateway.unrouted = {"web": RouteCounters(), "gone": RouteCounters()}
    count(gateway.unrouted["web"], 404, "NO_ROUTE")
    count(gateway.unrouted["gone"], 404, "NO_ROUTE")
    first, second = Backend("http://10.0.0.1:80"), Backend("http://10.0.0.2:80")
    twin = Backend("http://10.0.0.2:80")
    first.acquire()
    second.acquire().release()
    second.available = False
    second.failures = 4
    gateway.services = {"pool": (first, second, twin)}
    gateway.pools = {first: Pool(5, 2), second: Pool(1, 1)}
    gateway.invocations = {"auth": Invocations()}
    gateway.invocations["auth"].count = 6
    gateway.invocations["auth"].answered(0.5)
    return gateway


def test_the_text_says_what_the_collector_says(busy: Gateway) -> None:
    """Both ways out read the same table; prometheus_client's own writer is the judge."""
    registry = CollectorRegistry()
    registry.register(Metrics(busy.facts))
    by_the_library = dict(samples(generate_latest(registry).decode()))
    assert busy.values() == by_the_library
    assert len(by_the_library) > 100


def test_every_family_has_its_head_once_and_its_series_behind_it(busy: Gateway) -> None:
    """As the format demands: HELP, TYPE, then all samples of that name."""
    names = [line.split(" ")[2] for line in busy.text().splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    ours = [name for name in names if not name.startswith("process_")]
    assert ours == [each.name for each in (*COUNTS, *TIMES)]
    assert {"process_cpu_seconds_total", "process_open_fds"} <= set(names)


def test_no_series_is_there_twice(busy: Gateway) -> None:
    """Also of a server that a service lists twice: Prometheus would refuse the whole answer."""
    found = [each for each, _ in samples(busy.text())]
    assert len(found) == len(set(found))


def test_every_request_counts_once(busy: Gateway) -> None:
    """Also one without a route, without a status, or of an entrypoint that is gone."""
    assert busy.value("gateway_requests_total") == 13
    assert busy.value("gateway_request_bytes_total") == 65
    assert busy.value("gateway_response_bytes_total") == 130
    by_class = [busy.value("gateway_responses_total", status_class=f"{n}xx") for n in (2, 3, 4, 5)]
    assert by_class == [4, 1, 4, 2]
    assert busy.value("gateway_entrypoint_unrouted_requests_total", entrypoint="web") == 1
    gone = ("gateway_entrypoint_unrouted_requests_total", frozenset({("entrypoint", "gone")}))
    assert gone not in busy.values()


def test_errors_are_counted_by_code_and_each_code_is_there_from_the_start(busy: Gateway) -> None:
    """So an alert sees the first error as an increase."""
    assert busy.value("gateway_errors_total", code="NO_ROUTE") == 2
    assert busy.value("gateway_errors_total", code="UPSTREAM_CONNECT") == 1
    for code in FAULTS:
        assert Gateway().value("gateway_errors_total", code=code) == 0


def test_routers_and_services_have_their_own(busy: Gateway) -> None:
    """A service has what all its routers have; what it is called may hold any character."""
    assert busy.value("gateway_router_requests_total", router=ODD) == 2
    assert busy.value("gateway_router_errors_total", router="one") == 3
    assert busy.value("gateway_router_latency_microseconds_total", router="one") == 7 * 1500 - 1
    assert busy.value("gateway_service_requests_total", service="pool") == 10
    assert busy.value("gateway_service_errors_total", service="pool") == 4
    assert busy.value("gateway_service_requests_total", service="whoami@internal") == 1


def test_times_are_histograms_in_seconds(busy: Gateway) -> None:
    """Cumulative, ending at infinity with the number of all, by router and service."""
    labels = {"router": ODD, "service": "pool"}
    name = "gateway_request_duration_seconds"
    buckets = [
        busy.value(f"{name}_bucket", le=bound, **labels)
        for bound in [*(str(each) for each in BOUNDS), "+Inf"]
    ]
    assert buckets == [1] * len(BOUNDS) + [2]
    assert busy.value(f"{name}_count", **labels) == 2
    assert busy.value(f"{name}_sum", **labels) == 70.0005
    first_byte = "gateway_time_to_first_byte_seconds_count"
    assert busy.value(first_byte, router="one", service="pool") == 7  # one never had a first byte


def test_backends_tell_how_they_are(busy: Gateway) -> None:
    """One line for each URL of a service, in which twins are added up."""
    first = {"service": "pool", "backend": "http://10.0.0.1:80"}
    second = {"service": "pool", "backend": "http://10.0.0.2:80"}
    assert busy.value("gateway_backend_in_flight", **first) == 1
    assert busy.value("gateway_backend_in_flight", **second) == 0
    assert busy.value("gateway_backend_requests_total", **second) == 1
    assert busy.value("gateway_backend_failures_total", **second) == 4
    assert busy.value("gateway_backend_healthy", **first) == 1
    assert busy.value("gateway_backend_healthy", **second) == 1  # its twin is
    assert busy.value("gateway_backend_connections", state="active", **first) == 3
    assert busy.value("gateway_backend_connections", state="idle", **first) == 2


def test_connections_reloads_and_losses_are_told(busy: Gateway) -> None:
    """What the gateway knows besides its requests."""
    assert busy.value("gateway_active_connections") == 5
    assert busy.value("gateway_entrypoint_connections", entrypoint="web") == 3
    assert busy.value("gateway_config_last_reload_successful") == 0
    assert busy.value("gateway_config_last_reload_success_timestamp_seconds") == 8.5
    assert busy.value("gateway_config_last_reload_attempt_timestamp_seconds") == 9.5
    assert busy.value("gateway_config_reloads_total", outcome="success") == 2
    assert busy.value("gateway_config_reloads_total", outcome="failure") == 1
    assert busy.value("gateway_access_log_dropped_lines_total") == 7
    assert busy.value("gateway_tracing_lost_spans_total") == 8


def test_middlewares_tell_how_often_they_were_asked(busy: Gateway) -> None:
    """By whichever router."""
    assert busy.value("gateway_middleware_invocations_total", middleware="auth") == 6
    assert busy.value("gateway_middleware_refusals_total", middleware="auth") == 1
    assert busy.value("gateway_middleware_duration_seconds_sum", middleware="auth") == 0.5


def test_what_is_removed_from_the_configuration_is_gone(busy: Gateway) -> None:
    """Its series vanish, and no sum goes back."""
    before = busy.values()
    route = busy.routes.pop(1)
    route.counters.close()
    busy.ledger.settle({"pool", "whoami@internal"})
    del busy.pools[busy.services["pool"][0]]
    busy.services["pool"] = busy.services["pool"][1:]
    after = busy.values()
    for name, labels in after:
        assert ("router", ODD) not in labels, name
        assert ("backend", "http://10.0.0.1:80") not in labels, name
    for each in (("gateway_requests_total", frozenset()),
                 ("gateway_service_requests_total", frozenset({("service", "pool")}))):  # fmt: skip
        assert after[each] == before[each]


def test_the_page_is_fresh() -> None:
    """After a change of the table: python -m a3s_gateway.observability.metrics FILE."""
    assert PAGE.read_text(encoding="utf-8") == module.page()


def test_promtool_finds_nothing_but_the_name_that_is_kept(busy: Gateway) -> None:
    """Prometheus's own checker; microseconds are what dashboards of old know."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=busy.text(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = (done.stdout + done.stderr).splitlines()
    assert [line for line in said if "latency_microseconds" not in line] == []


# -- at size

ROUTERS = 1000


def large() -> Gateway:
    """A thousand routers, each with a service of its own, all of which were busy."""
    gateway = Gateway()
    for index in range(ROUTERS):
        counters = gateway.route(f"router-{index}", f"service-{index}")
        for took in (0.0004, 0.003, 0.02, 0.7):
            count(counters, took=took)
        backend = Backend(f"http://10.0.{index // 250}.{index % 250}:8080")
        gateway.services[f"service-{index}"] = (backend,)
        gateway.pools[backend] = Pool(3, 1)
    return gateway


def measured(metrics: Metrics) -> tuple[float, float]:
    """Return processor seconds of a scrape: in all, and of the longest piece."""
    times = [time.thread_time()]
    for piece in metrics.text():
        assert piece is not None
        times.append(time.thread_time())
    return times[-1] - times[0], max(later - sooner for sooner, later in pairwise(times))


def test_a_thousand_routers_are_scraped_in_no_time() -> None:
    """Less than 50 ms in all, and no piece between two rests that traffic would notice."""
    metrics = Metrics(large().facts)
    best: Any = [min(each) for each in zip(*(measured(metrics) for _ in range(5)), strict=True)]
    assert best[0] < 0.05
    assert best[1] < 0.005

"""The admin API over sockets: on its own listener, on a route, at start and at stop."""

from __future__ import annotations

import gc
import json
import os
import socket
import stat
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import evolve
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import LoopingCall
from twisted.logger import formatEvent, globalLogPublisher

from a3s_gateway import Gateway, GatewayConfig
from a3s_gateway.entrypoint.entrypoints_service import BindError
from a3s_gateway.gateway import State
from tests.support import GET, OK, Answer, Clients, GatewayTestCase, Peer, eventually, reactor

HERE = 'address = "127.0.0.1:0"'


def get(path: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: a", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class AdminTestCase(GatewayTestCase):
    """An operator beside the clients."""

    async def operator(self) -> Peer:
        """Connect to the API's own listener."""
        address = self.gateways[-1].admin_address()
        clients = Clients()
        if hasattr(address, "name"):
            reactor.connectUNIX(os.fsdecode(address.name), clients)
        else:
            reactor.connectTCP(address.host, address.port, clients)
        peer = await clients.made
        self.everyone.append(peer)
        return peer

    async def ask(self, path: str, *fields: str, method: str = "GET", body: bytes = b"") -> Answer:
        operator = await self.operator()
        operator.send(get(path, *fields, method=method, body=body))
        return await operator.response(method=method)

    def path(self) -> Path:
        """Make up a path at which nothing is."""
        return Path(self.mktemp()).absolute()

    async def told(self, path: str) -> Any:
        answer = await self.ask(path)
        assert answer.status == 200
        return json.loads(answer.body)


class ListenerTests(AdminTestCase):
    """What is on the wire."""

    async def test_it_tells_what_the_gateway_has_done(self) -> None:
        """A request through the gateway is in the next answer."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, admin=HERE)
        await self.exchange(GET)
        health = await self.told("/api/gateway/health")
        assert (health["state"], health["total_requests"]) == ("Running", 1)
        (service,) = await self.told("/api/gateway/services")
        assert service["backends"][0]["url"] == backend.url
        (route,) = await self.told("/api/gateway/routes")
        assert route == await self.told("/api/gateway/routes/all")

    async def test_a_connection_serves_one_request_after_the_other(self) -> None:
        """Nothing is cached, guessed, or told of the program that answers."""
        await self.gateway(admin=HERE)
        operator = await self.operator()
        for _ in range(2):
            operator.send(get("/api/gateway/version"))
            answer = await operator.response()
            assert answer.status == 200
            assert answer.head.find("content-type") == "application/json"
            assert answer.head.find("cache-control") == "no-store"
            assert answer.head.find("x-content-type-options") == "nosniff"
            assert answer.head.find("server") is None

    async def test_a_head_is_a_get_without_its_body(self) -> None:
        """The length is that of the body that is not there."""
        await self.gateway(admin=HERE)
        operator = await self.operator()
        operator.send(get("/livez", method="HEAD"), get("/livez"))
        without = await operator.response(method="HEAD")
        with_body = await operator.response()
        assert without.head.find("content-length") == with_body.head.find("content-length") == "3"
        assert with_body.body == b"ok\n"

    async def test_methods_tokens_and_paths_count(self) -> None:
        """As they do wherever the API is asked."""
        await self.gateway(admin=f'{HERE}\ntoken = "sesame"')
        assert (await self.ask("/api/gateway/health")).status == 401
        known = "Authorization: Bearer sesame"
        assert (await self.ask("/api/gateway/health", known)).status == 200
        assert (await self.ask("/api/gateway/health", known, known)).status == 401
        assert (await self.ask("/api/gateway/nothing", known)).status == 404
        answer = await self.ask("/api/gateway/health", known, method="DELETE")
        assert (answer.status, answer.head.find("allow")) == (405, "GET, HEAD")
        assert (await self.ask("/readyz")).status == 200

    async def test_a_body_that_nobody_reads_is_neither_kept_nor_endless(self) -> None:
        """A small one is dropped; one beyond all sense ends the connection."""
        await self.gateway(admin=HERE)
        assert (await self.ask("/livez", method="POST", body=b"x" * 1000)).status == 405
        operator = await self.operator()
        operator.send(get("/livez", "Content-Length: 100000000", method="POST"))
        operator.send(b"x" * 100_000)
        await operator.ended()

    async def test_a_unix_socket_is_for_its_owner(self) -> None:
        """Who may write the file may ask."""
        path = self.path()
        await self.gateway(admin=f'address = "unix:{path}"')
        assert (await self.ask("/livez")).status == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def test_what_it_can_do_is_not_on_an_entrypoint(self) -> None:
        """Unless a router leads there."""
        await self.gateway(admin=HERE, rule="Path(`/here`)")
        for path in ("/api/gateway/health", "/metrics", "/livez", "/readyz"):
            assert (await self.exchange(get(path))).status == 404

    async def test_it_can_be_turned_off(self) -> None:
        """Then nothing listens."""
        gateway = await self.gateway(admin="enabled = false")
        assert gateway.admin_address() is None

    async def test_no_log_line_tells_the_token(self) -> None:
        """Neither right nor wrong, nor where it was put by mistake."""
        lines: list[str] = []

        def note(event: Any) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        await self.gateway(admin=f'{HERE}\ntoken = "planted-token"', logged=True)
        known = "Authorization: Bearer planted-token"
        assert (await self.ask("/api/gateway/config", known)).status == 200
        assert (await self.ask("/api/gateway/health?planted-token")).status == 401
        assert (await self.exchange(get("/", known))).status == 200
        await self.gateways[-1].shutdown()
        said = "\n".join(lines)
        assert "admin: GET /api/gateway/config" in said
        assert "planted" not in said
        assert "planted" not in self.log.read_text()


class ProbeTests(AdminTestCase):
    """What an orchestrator sees of a stop."""

    async def test_it_is_not_ready_as_soon_as_a_drain_begins(self) -> None:
        """While an answer is still on its way: no new traffic is to come, and no kill."""
        backend = await self.backend()
        gateway = await self.gateway(backend.url, admin=HERE, shutdown_timeout="20s")
        assert (await self.ask("/readyz")).status == 200
        client = await self.client()
        client.send(GET)
        server = await backend.accept()
        await server.head()
        stopped = gateway.shutdown()
        assert (await self.ask("/readyz")).status == 503
        assert (await self.ask("/livez")).status == 200
        assert json.loads((await self.ask("/api/gateway/health")).body)["state"] == "Stopping"
        idle = await self.operator()
        server.send(OK)
        assert (await client.response()).status == 200
        await stopped
        await idle.ended()
        assert gateway.admin_address() is None


class StartTests(AdminTestCase):
    """Where it listens, or why not."""

    def taken(self) -> int:
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        port: int = other.getsockname()[1]
        return port

    async def test_an_address_that_was_asked_for_is_insisted_on(self) -> None:
        """The gateway does not start, and says where the address was written."""
        with self.assertRaises(BindError) as raised:
            await self.gateway(admin=f'address = "127.0.0.1:{self.taken()}"')
        (fault,) = raised.exception.diagnostics
        assert "the admin API cannot listen on 127.0.0.1:" in fault.message
        assert fault.span.line > 1
        gateway = self.gateways[-1]
        assert gateway.state().state is State.STOPPED
        assert (gateway.addresses(), gateway.admin_address()) == ({}, None)

    async def test_a_gateway_that_cannot_start_leaves_it_closed(self) -> None:
        """The API was open already when the entrypoint's port turned out to be taken."""
        with self.assertRaises(BindError):
            await self.gateway(admin=HERE, address=f"127.0.0.1:{self.taken()}")
        assert self.gateways[-1].admin_address() is None

    async def test_a_gateway_can_be_started_again_with_it(self) -> None:
        """On a fresh port, with fresh connections."""
        gateway = await self.gateway(admin=HERE)
        before = gateway.admin_address()
        await gateway.shutdown()
        await gateway.start()
        assert (await self.ask("/readyz")).status == 200
        clients = Clients()
        if gateway.admin_address().port != before.port:
            reactor.connectTCP("127.0.0.1", before.port, clients)
            with self.assertRaises(Refused):
                await clients.made


class RouteTests(AdminTestCase):
    """`api@internal` and `ping@internal` behind a router."""

    ROUTERS = """
        routers "operators" {
          rule = "PathPrefix(`/api/gateway`)"
          service = "api@internal"
          priority = 100
        }
        routers "ping" {
          rule = "Path(`/ping`)"
          service = "ping@internal"
          priority = 100
        }
    """

    async def test_a_route_leads_to_the_api(self) -> None:
        """Although its own listener is off; and the request is counted as any other."""
        await self.gateway(more=self.ROUTERS)
        answer = await self.exchange(get("/api/gateway/health"))
        assert answer.status == 200
        assert answer.head.find("content-type") == "application/json"
        assert json.loads(answer.body)["total_requests"] == 0
        again = await self.exchange(get("/api/gateway/health"))
        assert json.loads(again.body)["total_requests"] == 1
        assert (await self.exchange(get("/ping"))).body == b"OK\n"

    async def test_the_token_is_asked_for_on_a_route_too(self) -> None:
        """A public entrypoint makes nobody an operator."""
        await self.gateway(more=self.ROUTERS, admin='enabled = false\ntoken = "sesame"')
        refused = await self.exchange(get("/api/gateway/config"))
        assert refused.status == 401
        assert refused.head.find("www-authenticate") == 'Bearer realm="a3s-gateway"'
        answer = await self.exchange(get("/api/gateway/config", "Authorization: Bearer sesame"))
        assert answer.status == 200
        assert b"sesame" not in answer.body

    async def test_the_client_counts_and_not_what_it_says_of_itself(self) -> None:
        """Forwarded addresses are believed of trusted proxies alone."""
        only = 'enabled = false\nallowed_ips = ["192.0.2.1"]'
        asked = get("/api/gateway/health", "X-Forwarded-For: 192.0.2.1")
        await self.gateway(more=self.ROUTERS, admin=only)
        assert (await self.exchange(asked)).status == 403
        await self.gateway(
            more=self.ROUTERS, admin=only, entrypoint='trusted_proxies = ["127.0.0.1"]'
        )
        assert (await self.exchange(asked)).status == 200

    async def test_methods_count_on_a_route_too(self) -> None:
        """HEAD has no body, and a POST with one leaves the connection in order."""
        await self.gateway(more=self.ROUTERS)
        client = await self.client()
        client.send(get("/api/gateway/version", method="HEAD"))
        assert (await client.response(method="HEAD")).status == 200
        client.send(get("/api/gateway/version", method="POST", body=b"x" * 10))
        assert (await client.response()).status == 405
        client.send(get("/api/gateway/version"))
        assert (await client.response()).status == 200


class MetricsTests(AdminTestCase):
    """`/metrics` of a gateway that is at work."""

    def value(self, answer: Answer, name: str, **labels: str) -> float:
        for family in text_string_to_metric_families(answer.body.decode()):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        raise AssertionError(f"there is no {name} {labels}")

    async def test_every_outcome_is_counted_once(self) -> None:
        """An answer, a refusal, a route that is not there, a backend that is away."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, admin=HERE, rule="PathPrefix(`/a`)")
        for path in ("/a", "/a", "/nothing"):
            await self.exchange(get(path))
        await self.exchange(b"nonsense\r\n\r\n")
        url = backend.url
        await backend.port.stopListening()
        self.ports.clear()
        for peer in backend.open:
            peer.close()
        await eventually(lambda: not self.pools()[0].idle, "the idle connections to be gone")
        await self.exchange(get("/a"))
        answer = await self.ask("/metrics")
        assert answer.head.find("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        assert self.value(answer, "gateway_requests_total") == 5
        assert self.value(answer, "gateway_responses_total", status_class="2xx") == 2
        assert self.value(answer, "gateway_errors_total", code="NO_ROUTE") == 1
        assert self.value(answer, "gateway_errors_total", code="BAD_REQUEST") == 1
        assert self.value(answer, "gateway_errors_total", code="UPSTREAM_CONNECT") == 1
        assert self.value(answer, "gateway_router_requests_total", router="all") == 3
        assert self.value(answer, "gateway_service_errors_total", service="backend") == 1
        labels = {"router": "all", "service": "backend"}
        assert self.value(answer, "gateway_request_duration_seconds_count", **labels) == 3
        backend_labels = {"service": "backend", "backend": url}
        assert self.value(answer, "gateway_backend_failures_total", **backend_labels) == 1

    async def test_connections_are_counted_while_they_last(self) -> None:
        """Those of clients by entrypoint, those to a server by whether they are in use."""
        backend = await self.backend()
        await self.gateway(backend.url, admin=HERE)
        client = await self.client()
        client.send(GET)
        await (await backend.accept()).head()
        answer = await self.ask("/metrics")
        assert self.value(answer, "gateway_entrypoint_connections", entrypoint="web") == 1
        labels = {"service": "backend", "backend": backend.url}
        assert self.value(answer, "gateway_backend_in_flight", **labels) == 1
        active = "gateway_backend_connections"
        assert self.value(answer, active, state="active", **labels) == 1
        assert self.value(answer, "gateway_config_last_reload_successful") == 1
        assert self.value(answer, "gateway_config_last_reload_success_timestamp_seconds") > 1e9

    async def test_an_answer_of_megabytes_does_not_hold_up_traffic(self) -> None:
        """With a thousand routers, metrics and configuration take turns with everybody else."""
        routers = "\n".join(
            f'routers "r{n}" {{ rule = "Host(`h{n}.example`)"\n service = "whoami@internal" }}'
            for n in range(1000)
        )
        await self.gateway(admin=HERE, more=routers)
        gc.collect()
        gc.disable()  # a process of its own tells it to leave alone what is there at the start
        self.addCleanup(gc.enable)
        turns = [time.thread_time()]
        beat = LoopingCall(lambda: turns.append(time.thread_time()))
        for path in ("/metrics", "/api/gateway/config", "/api/gateway/routes"):
            operator = await self.operator()
            turns[:] = [time.thread_time()]
            beat.start(0)
            operator.send(get(path))
            answer = await operator.response()
            beat.stop()
            assert len(answer.body) > 100_000
            longest = max(later - sooner for sooner, later in pairwise(turns))
            # Of processor time, so that a busy machine counts little; the operator's end of the
            # connection lives in this process, too.
            assert longest < 0.01, (path, longest)
            assert len(turns) > 5


class ReloadTests(AdminTestCase):
    """`POST reload`, and what a reload changes of the API itself."""

    def text(self, path: str, admin: str = HERE) -> str:
        return f"""
            entrypoints "web" {{ address = "127.0.0.1:0" }}
            routers "all" {{ rule = "Path(`{path}`)"
              service = "ping@internal" }}
            access_log {{ enabled = false }}
            admin {{ {admin} }}
        """

    async def from_file(self) -> tuple[Gateway, Path]:
        file = self.path()
        file.write_text(self.text("/old"))
        gateway = Gateway(GatewayConfig.from_file(file), reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        return gateway, file

    async def test_a_changed_file_is_in_force_when_the_answer_comes(self) -> None:
        """And the metrics tell when that was."""
        _, file = await self.from_file()
        file.write_text(self.text("/new"))
        answer = await self.ask("/api/gateway/reload", method="POST")
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "reloaded"})
        assert (await self.exchange(get("/new"))).status == 200
        assert (await self.exchange(get("/old"))).status == 404
        text = (await self.ask("/metrics")).body
        assert b'gateway_config_reloads_total{outcome="success"} 1\n' in text

    async def test_a_file_at_fault_changes_nothing(self) -> None:
        """The answer has the faults, the metrics have the failure."""
        _, file = await self.from_file()
        file.write_text(self.text("/new").replace("ping@internal", "pong@internal"))
        answer = await self.ask("/api/gateway/reload", method="POST")
        assert answer.status == 422
        (fault,) = json.loads(answer.body)["faults"]
        assert 'there is no built-in service "pong@internal"' in fault["message"]
        assert (await self.exchange(get("/old"))).status == 200
        text = (await self.ask("/metrics")).body
        assert b"gateway_config_last_reload_successful 0\n" in text

    async def test_token_and_prefix_change_where_it_listens_already(self) -> None:
        """No connection is lost; the next request on it is asked for the new token."""
        gateway, _ = await self.from_file()
        operator = await self.operator()
        operator.send(get("/api/gateway/version"))
        assert (await operator.response()).status == 200
        admin = f'{HERE}\ntoken = "sesame"\npath_prefix = "/gw"'
        await gateway.reload(GatewayConfig.from_text(self.text("/old", admin)))
        operator.send(get("/gw/version"))
        assert (await operator.response()).status == 401
        operator.send(get("/gw/version", "Authorization: Bearer sesame"))
        assert (await operator.response()).status == 200

    async def test_it_moves_to_another_address_and_away(self) -> None:
        """The new one is open before the old one closes."""
        gateway, _ = await self.from_file()
        before = gateway.admin_address()
        path = self.path()
        moved = GatewayConfig.from_text(self.text("/old", f'address = "unix:{path}"'))
        await gateway.reload(moved)
        assert os.fsdecode(gateway.admin_address().name) == str(path)
        assert (await self.ask("/readyz")).status == 200
        clients = Clients()
        reactor.connectTCP(before.host, before.port, clients)
        with self.assertRaises(Refused):
            await clients.made
        await gateway.reload(evolve(moved, admin=evolve(moved.admin, enabled=False)))
        assert gateway.admin_address() is None
        await eventually(lambda: not path.exists(), "the socket to be gone")

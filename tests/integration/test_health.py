"""Servers that die, hang, answer 500 and come back, as clients and the log see them."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import LogLevel, capturedLogs, formatEvent

from a3s_gateway import Gateway, GatewayConfig
from a3s_gateway.config.address import Address
from a3s_gateway.gateway import BindError
from a3s_gateway.service.backend import Backend as Server
from a3s_gateway.service.health import Standing
from tests.certificates import make_ca
from tests.integration.test_tls import TlsTestCase
from tests.support import GET, OK, Backend, Blackhole, GatewayTestCase, eventually, reactor

ERROR = b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno"
SILENCE = b""


# Intervals are far below what anybody would configure, so that tests do not wait.
def block(name: str, **keys: str) -> str:
    """Write a block; the values are HCL."""
    return "\n".join([f"{name} {{", *(f"{key} = {value}" for key, value in keys.items()), "}\n"])


def check(**more: str) -> str:
    """Configure a probe that finds out at the second failure."""
    keys = {"path": '"/health"', "interval": '"20ms"', "unhealthy_threshold": "2"}
    return block("health_check", **(keys | more))


def connect_check() -> str:
    """Configure a probe that only connects."""
    return block("health_check", interval='"20ms"', unhealthy_threshold="2")


def outlier(**more: str) -> str:
    """Configure an ejection after two failures, for a fifth of a second."""
    return block("passive_health", **({"failures": "2", "ejection": '"200ms"'} | more))


def is_probe(path: str = "/health") -> str:
    return f"GET {path} HTTP/1.1"


class HealthTestCase(GatewayTestCase):
    """Has what these tests have in common."""

    def servers(self) -> tuple[Server, ...]:
        return self.gateways[-1].snapshot().services["backend"]

    async def until(self, server: int, *, available: bool) -> None:
        """Wait for a verdict."""
        await eventually(
            lambda: self.servers()[server].available == available,
            f"server {server} to be {'available' if available else 'unavailable'}",
        )

    async def statuses(self, count: int) -> list[int]:
        """Ask one after the other, each time on a connection of its own."""
        return [(await self.exchange(GET)).status for _ in range(count)]

    async def die(self, backend: Backend) -> int:
        """Close the listener and every connection; returns the port that was its own."""
        port: int = backend.port.getHost().port
        await backend.port.stopListening()
        self.ports.remove(backend.port)
        for peer in backend.open:
            peer.reset()
        return port

    async def come_back(self, backend: Backend, port: int) -> None:
        backend.port = await TCP4ServerEndpoint(reactor, port, 1024, "127.0.0.1").listen(backend)
        self.ports.append(backend.port)


def real(backend: Backend) -> int:
    """How many requests of clients came."""
    return sum(head.first == "GET / HTTP/1.1" for head in backend.requests)


class ActiveTests(HealthTestCase):
    """Probes."""

    async def test_a_server_whose_health_page_fails_gets_no_requests(self) -> None:
        """Clients notice nothing; one line says that it is down, one that it is back."""
        good, bad = await self.backend(OK), await self.backend(ERROR)
        with capturedLogs() as events:
            await self.gateway(good.url, bad.url, balancing=check())
            await self.until(1, available=False)
            before = real(bad)
            assert await self.statuses(4) == [200] * 4
            assert real(bad) == before
            bad.answer = OK
            await self.until(1, available=True)
            assert await self.statuses(2) == [200] * 2
            assert real(bad) == before + 1
        lines = [formatEvent(e) for e in events if " of backend " in str(formatEvent(e))]
        assert lines == [
            f"backend {bad.url} of backend is down: it answered 500",
            f"backend {bad.url} of backend is up again",
        ]

    async def test_a_server_that_dies_is_left_out_until_it_is_back(self) -> None:
        """Nobody has to tell the gateway of either."""
        good, bad = await self.backend(OK), await self.backend(OK)
        await self.gateway(good.url, bad.url, balancing=check())
        await eventually(lambda: bad.requests, "a probe")
        port = await self.die(bad)
        await self.until(1, available=False)
        assert "refused" in self.servers()[1].active.fault
        assert await self.statuses(3) == [200] * 3
        await self.come_back(bad, port)
        await self.until(1, available=True)

    async def test_a_server_that_hangs_is_left_out(self) -> None:
        """No answer in time is no answer; the connection of the probe is dropped."""
        good, bad = await self.backend(OK), await self.backend(SILENCE)
        await self.gateway(good.url, bad.url, balancing=check(timeout='"30ms"'))
        await self.until(1, available=False)
        assert self.servers()[0].available
        assert self.servers()[1].active.fault == "no answer within 0.03 s"
        await eventually(lambda: len(bad.peers) > 2 and len(bad.open) <= 1, "old probes to go")

    async def test_when_no_server_is_well_the_gateway_says_so_and_recovers(self) -> None:
        """503 at once instead of a request into the void; no restart is needed afterwards."""
        only = await self.backend(ERROR)
        await self.gateway(only.url, balancing=check())
        await self.until(0, available=False)
        answer = await self.exchange(GET)
        assert (answer.status, answer.error["code"]) == (503, "NO_HEALTHY_BACKEND")
        only.answer = OK
        await self.until(0, available=True)
        assert await self.statuses(1) == [200]

    async def test_a_redirect_is_an_answer_and_not_followed(self) -> None:
        """It is well within 200-399; whoever wants 200 alone can say so."""
        elsewhere = await self.backend(OK)
        moved = b"HTTP/1.1 302 Found\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n"
        backend = await self.backend(moved % elsewhere.url.encode())
        await self.gateway(backend.url, balancing=check())
        await eventually(lambda: len(backend.requests) > 3, "probes")
        assert self.servers()[0].available
        assert elsewhere.peers == []
        await self.gateway(backend.url, balancing=check(status='"200,204"'))
        await self.until(0, available=False)
        assert self.servers()[0].active.fault == "it answered 302"
        assert elsewhere.peers == []

    async def test_a_probe_is_the_request_that_is_configured(self) -> None:
        """Method, path below that of the server, query, Host, fields; nothing of a client's."""
        backend = await self.backend(OK)
        keys = {"path": '"/up?full=1"', "method": '"HEAD"', "host": '"well.example"'}
        balancing = check(**keys, headers='{ X-Key = "k" }')
        await self.gateway(f"{backend.url}/app/", balancing=balancing)
        await eventually(lambda: backend.requests, "a probe")
        head = backend.requests[0]
        assert head.first == "HEAD /app/up?full=1 HTTP/1.1"
        assert head.fields == [
            ("Host", "well.example"),
            ("User-Agent", "a3s-gateway-health-check"),
            ("X-Key", "k"),
        ]

    async def test_another_port_can_answer_for_the_server(self) -> None:
        """The page of an agent beside the server decides; it gets no requests itself."""
        backend, agent = await self.backend(OK), await self.backend(OK)
        port = agent.port.getHost().port
        await self.gateway(backend.url, balancing=check(port=str(port)))
        await eventually(lambda: agent.requests, "a probe")
        assert agent.requests[0].find("host") == f"127.0.0.1:{port}"
        assert await self.statuses(1) == [200]
        assert (real(backend), real(agent)) == (1, 0)
        agent.answer = ERROR
        await self.until(0, available=False)

    async def test_without_a_path_a_connection_is_all_that_is_asked_for(self) -> None:
        """A server that accepts is up, whatever it would answer; one that refuses is down."""
        backend = await self.backend(ERROR)
        await self.gateway(backend.url, balancing=connect_check())
        await eventually(lambda: self.servers()[0].active.successes > 3, "probes")
        assert backend.requests == []
        port = await self.die(backend)
        await self.until(0, available=False)
        await self.come_back(backend, port)
        await self.until(0, available=True)

    async def test_thresholds_count_probes_in_a_row(self) -> None:
        """Three failures take it out, two successes bring it back."""
        backend = await self.backend(OK)
        await self.gateway(
            backend.url, balancing=check(unhealthy_threshold="3", healthy_threshold="2")
        )
        server = self.servers()[0]
        backend.answer = ERROR
        await eventually(lambda: server.active.failures == 2, "two failures")
        assert server.available
        await self.until(0, available=False)
        assert server.active.failures == 3
        backend.answer = OK
        await eventually(lambda: server.active.successes == 1, "one success")
        assert not server.available
        await self.until(0, available=True)

    async def test_an_answer_that_never_ends_is_judged_by_its_head(self) -> None:
        """A stream as health page holds no connection for longer than a probe may take."""
        backend = await self.backend(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await self.gateway(backend.url, balancing=check(timeout='"50ms"'))
        await eventually(lambda: len(backend.peers) > 4 and len(backend.open) <= 1, "probes")
        assert self.servers()[0].active.failures == 0
        assert self.servers()[0].active.successes > 2

    async def test_a_short_answer_is_read_to_its_end(self) -> None:
        """A server does not find its probes reset, and log it, each time."""
        backend = await self.backend(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await self.gateway(backend.url, balancing=check())
        peer = await backend.accept()
        await eventually(lambda: self.servers()[0].active.successes, "the verdict")
        peer.send(b"ok")
        assert await peer.ended() == "closed"

    async def test_a_server_on_a_unix_socket_is_probed_there(self) -> None:
        """As its requests are."""
        backend = await self.backend(OK, path=self.mktemp())
        await self.gateway(backend.url, balancing=check())
        await eventually(lambda: backend.requests, "a probe")
        backend.answer = ERROR
        await self.until(0, available=False)

    async def test_a_gateway_that_stops_in_the_middle_of_a_probe_leaves_nothing(self) -> None:
        """The connection of the probe is gone when the gateway is."""
        backend = await self.backend(SILENCE)
        gateway = await self.gateway(backend.url, balancing=check())
        peer = await backend.accept()
        await gateway.shutdown()
        await peer.ended()
        assert len(backend.peers) == 1

    async def test_probes_are_no_requests(self) -> None:
        """They are neither in the access log nor in any counter."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, balancing=check(), logged=True)
        await eventually(lambda: len(backend.requests) > 2, "probes")
        server = self.servers()[0]
        assert (server.requests, server.in_flight) == (0, 0)
        assert await self.logged() == []


class StockActiveTests(ActiveTests):
    """The same over Twisted's transports."""

    stock = True


class TlsProbeTests(TlsTestCase):
    """Probes of servers that are spoken to by TLS."""

    def ca_block(self, path: object) -> str:
        return f'tls {{ ca_file = "{path}" }}'

    async def test_a_probe_by_https_trusts_whom_requests_trust(self) -> None:
        """With the right authority the server is up."""
        backend = await self.tls_backend()
        await self.gateway(self.url(backend), balancing=check() + self.ca_block(self.ca.cert_path))
        await eventually(lambda: backend.requests, "a probe")
        server = self.gateways[-1].snapshot().services["backend"][0]
        await eventually(lambda: server.active.successes, "a success")
        assert backend.requests[0].first == is_probe()

    async def test_a_certificate_that_requests_would_refuse_is_no_health(self) -> None:
        """Also where the probe only connects: the handshake is part of it."""
        backend = await self.tls_backend()
        other = make_ca()
        for probe in (check(), connect_check()):
            balancing = probe + self.ca_block(other.cert_path)
            await self.gateway(self.url(backend), balancing=balancing)
            server = self.gateways[-1].snapshot().services["backend"][0]
            await eventually(lambda s=server: not s.available, "the verdict")
            assert "certificate" in server.active.fault
        assert backend.requests == []


class StockTlsProbeTests(TlsProbeTests):
    """The same over Twisted's transports."""

    stock = True


class PassiveTests(HealthTestCase):
    """Real requests."""

    async def until_half_open(self, server: int) -> None:
        await self.until(server, available=True)
        assert self.servers()[server].outlier.standing is Standing.HALF_OPEN

    async def test_a_server_that_answers_500_is_left_out_and_comes_back(self) -> None:
        """Clients meet two errors, then none; one good answer later it serves again."""
        good, bad = await self.backend(OK), await self.backend(ERROR)
        await self.gateway(good.url, bad.url, balancing=outlier())
        assert sorted(await self.statuses(4)) == [200, 200, 500, 500]
        assert not self.servers()[1].available
        assert await self.statuses(4) == [200] * 4
        bad.answer = OK
        await self.until_half_open(1)
        assert await self.statuses(2) == [200] * 2
        assert not self.servers()[1].is_ejected
        assert real(bad) == 3

    async def test_a_trial_that_fails_is_a_longer_ejection(self) -> None:
        """One client pays for the attempt; the next attempt is further away."""
        good, bad = await self.backend(OK), await self.backend(ERROR)
        await self.gateway(good.url, bad.url, balancing=outlier())
        await self.statuses(4)
        first = self.servers()[1].outlier.length
        await self.until_half_open(1)
        assert sorted(await self.statuses(2)) == [200, 500]
        assert not self.servers()[1].available
        assert self.servers()[1].outlier.length > 1.7 * first
        assert await self.statuses(3) == [200] * 3

    async def test_only_one_request_at_a_time_tries_a_server_out(self) -> None:
        """While the trial has no answer the others go elsewhere."""
        good, bad = await self.backend(OK), await self.backend(ERROR)
        await self.gateway(good.url, bad.url, balancing=outlier())
        await self.statuses(4)
        bad.answer = SILENCE
        await self.until_half_open(1)
        trying = await self.client()
        while not self.servers()[1].in_flight:
            trying.send(GET)
            await eventually(
                lambda: b"ok" in trying.received or self.servers()[1].in_flight, "a request"
            )
            trying.received.clear()
        assert await self.statuses(4) == [200] * 4
        assert real(bad) == 3
        await eventually(lambda: len(bad.requests) == 3, "the trial")
        bad.open[-1].send(OK)
        await trying.response()
        assert not self.servers()[1].is_ejected

    async def test_a_client_that_gives_the_trial_up_does_not_keep_the_server_out(self) -> None:
        """The next request tries; whoever left says nothing about the server."""
        good, bad = await self.backend(OK), await self.backend(ERROR)
        await self.gateway(good.url, bad.url, balancing=outlier())
        await self.statuses(4)
        bad.answer = SILENCE
        await self.until_half_open(1)
        server = self.servers()[1]
        while not server.in_flight:
            trying = await self.client()
            trying.send(GET)
            await eventually(
                lambda t=trying: t.received or server.in_flight, "an answer or a trial"
            )
        assert server.outlier.standing is Standing.ON_TRIAL
        trying.reset()
        await eventually(lambda: not server.in_flight, "the trial to end")
        assert server.outlier.standing is Standing.HALF_OPEN
        bad.answer = OK
        assert await self.statuses(2) == [200] * 2
        assert not server.is_ejected

    async def test_a_server_that_cannot_be_connected_to_is_left_out(self) -> None:
        """Its requests go to another server without a wait; after a while it is tried again."""
        good = await self.backend(OK)
        with Blackhole() as nowhere:
            balancing = 'connect_timeout = "50ms"\n' + outlier()
            await self.gateway(nowhere, good.url, balancing=balancing)
            assert await self.statuses(4) == [200] * 4
            server = self.servers()[0]
            assert (server.requests, server.is_ejected) == (2, True)
            assert await self.statuses(4) == [200] * 4
            assert server.requests == 2
            await self.until_half_open(0)
            assert await self.statuses(2) == [200] * 2
            assert (server.requests, server.is_ejected) == (3, True)

    async def test_a_server_that_hangs_is_left_out(self) -> None:
        """After two clients have waited for nothing no other has to."""
        good, bad = await self.backend(OK), await self.backend(SILENCE)
        balancing = 'request_timeout = "50ms"\n' + outlier()
        await self.gateway(good.url, bad.url, balancing=balancing)
        assert sorted(await self.statuses(4)) == [200, 200, 504, 504]
        assert await self.statuses(4) == [200] * 4

    async def test_a_server_that_resets_connections_is_left_out(self) -> None:
        """Before its answer, or in the middle of it."""
        for start in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"):
            good, bad = await self.backend(OK), await self.backend()
            await self.gateway(good.url, bad.url, balancing=outlier())
            server = self.servers()[1]
            for _ in range(2):
                client = await self.client()
                while not server.in_flight:
                    client.send(GET)
                    await eventually(
                        lambda c=client, s=server: b"ok" in c.received or s.in_flight, "a request"
                    )
                    client.received.clear()
                peer = await bad.accept()
                await peer.head()
                peer.send(start)
                if start:
                    await client.until(lambda c=client: b"half" in c.received, "half an answer")
                peer.reset()
                await eventually(lambda s=server: not s.in_flight, "the end")
                client.reset()
            assert server.is_ejected
            assert await self.statuses(3) == [200] * 3

    async def test_clients_that_go_away_do_not_speak_against_a_server(self) -> None:
        """However many lose their patience."""
        slow = await self.backend(SILENCE)
        good = await self.backend(OK)
        await self.gateway(slow.url, good.url, balancing=outlier())
        server = self.servers()[0]
        for _ in range(6):
            client = await self.client()
            client.send(GET)
            await eventually(lambda c=client: server.in_flight or c.received, "it to arrive")
            client.reset()
            await eventually(lambda: not server.in_flight, "it to be dropped")
        assert server.requests == 3
        assert server.outlier.recent_failures == 0

    async def test_the_only_server_is_never_left_out(self) -> None:
        """Its own errors go through, and its first good answer is the next one."""
        only = await self.backend(ERROR)
        await self.gateway(only.url, balancing=outlier(max_ejected_percent="100"))
        assert await self.statuses(10) == [500] * 10
        only.answer = OK
        assert await self.statuses(1) == [200]

    async def test_the_only_server_that_dies_serves_again_as_soon_as_it_is_back(self) -> None:
        """No restart, no reload, no wait."""
        only = await self.backend(OK)
        await self.gateway(only.url, balancing=outlier())
        port = await self.die(only)
        assert await self.statuses(8) == [502] * 8
        await self.come_back(only, port)
        assert await self.statuses(1) == [200]

    async def test_a_server_that_is_left_out_is_the_last_resort(self) -> None:
        """The others do not answer at all; once it has answered well it serves again."""
        dying, flaky = await self.backend(OK), await self.backend(ERROR)
        await self.gateway(dying.url, flaky.url, balancing=outlier(ejection='"300s"'))
        await self.statuses(4)
        server = self.servers()[1]
        assert server.is_ejected
        await self.die(dying)
        assert await self.statuses(1) == [500]  # its own answer is better than none
        assert server.is_ejected
        flaky.answer = OK
        with capturedLogs() as events:
            assert await self.statuses(6) == [200] * 6
        assert [each.is_ejected for each in self.servers()] == [True, False]
        lines = [str(formatEvent(e)) for e in events if e["log_level"] is not LogLevel.debug]
        assert f"backend {flaky.url} of backend answers well again" in lines

    async def test_what_probes_find_down_is_no_last_resort(self) -> None:
        """Whoever configures probes decides by them who gets requests."""
        dying, sick = await self.backend(OK), await self.backend(OK)
        await self.gateway(dying.url, sick.url, balancing=check(unhealthy_threshold="3"))
        sick.answer = ERROR
        await self.until(1, available=False)
        before = real(sick)
        await self.die(dying)
        answer = await self.exchange(GET)
        assert answer.status in (502, 503)
        assert real(sick) == before

    async def test_it_is_on_with_its_defaults(self) -> None:
        """Nothing has to be configured: the fifth failure in half a minute is the last."""
        good, bad = await self.backend(OK), await self.backend(ERROR)
        await self.gateway(good.url, bad.url)
        assert (await self.statuses(10)).count(500) == 5
        assert await self.statuses(6) == [200] * 6
        assert 27 <= self.servers()[1].outlier.length <= 30

    async def test_statuses_are_those_configured(self) -> None:
        """A service may find 500 ordinary, and 429 not."""
        good, bad = await self.backend(OK), await self.backend(ERROR)
        await self.gateway(good.url, bad.url, balancing=outlier(statuses="[429]"))
        assert (await self.statuses(8)).count(500) == 4
        bad.answer = b"HTTP/1.1 429 Slowly\r\nContent-Length: 0\r\n\r\n"
        assert (await self.statuses(8)).count(429) == 2

    async def test_an_ejection_is_said_once(self) -> None:
        """With the reason, and for how long."""
        good, bad = await self.backend(OK), await self.backend(ERROR)
        with capturedLogs() as events:
            await self.gateway(good.url, bad.url, balancing=outlier())
            await self.statuses(12)
        warnings = [str(formatEvent(e)) for e in events if e["log_level"] is LogLevel.warn]
        assert len(warnings) == 1
        assert warnings[0].startswith(f"backend {bad.url} of backend is left out for 0.")
        assert warnings[0].endswith(" s: it answered 500")

    async def test_the_ejected_server_is_called_back_when_probes_take_the_other(self) -> None:
        """A server that fails some requests is better than none."""
        dying, flaky = await self.backend(OK), await self.backend(OK)
        balancing = check() + outlier(statuses="[503]", ejection='"300s"')
        await self.gateway(dying.url, flaky.url, balancing=balancing)
        flaky.answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        server = self.servers()[1]
        while not server.is_ejected:
            await self.exchange(GET)
        flaky.answer = OK
        await self.die(dying)
        await self.until(0, available=False)
        await self.until(1, available=True)
        assert await self.statuses(3) == [200] * 3


class StockPassiveTests(PassiveTests):
    """The same over Twisted's transports."""

    stock = True


class ReloadTests(HealthTestCase):
    """What is known of servers outlives a configuration."""

    def config(self, *urls: str, balancing: str = "") -> GatewayConfig:
        servers = "\n".join(f'servers {{ url = "{url}" }}' for url in urls)
        return GatewayConfig.from_text(f"""
            entrypoints "web" {{ address = "127.0.0.1:0" }}
            routers "all" {{ rule = "PathPrefix(`/`)"
              service = "backend" }}
            services "backend" {{ load_balancer {{ {balancing}
              {servers} }} }}
            admin {{ enabled = false }}
            access_log {{ enabled = false }}
            shutdown_timeout_secs = 0
        """)

    async def start(self, config: GatewayConfig) -> Gateway:
        gateway = Gateway(config, reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        return gateway

    async def test_a_server_that_is_left_out_stays_so(self) -> None:
        """Neither verdict is forgotten by a reload that leaves the servers alone."""
        good, bad, ill = await self.backend(OK), await self.backend(ERROR), await self.backend(OK)
        ill_page = b"HTTP/1.1 418 Short\r\nContent-Length: 0\r\n\r\n"
        urls = (good.url, bad.url, ill.url)
        balancing = check(status='"200,500"') + outlier(ejection='"300s"', statuses="[500]")
        gateway = await self.start(self.config(*urls, balancing=balancing))
        while not self.servers()[1].is_ejected:
            await self.exchange(GET)
        ill.answer = ill_page
        await self.until(2, available=False)
        more = block("pool", max_idle_connections="7")
        await gateway.reload(self.config(*urls, balancing=balancing + more))
        assert [server.available for server in self.servers()] == [True, False, False]
        assert await self.statuses(4) == [200] * 4
        ill.answer = OK
        await self.until(2, available=True)

    async def test_probes_end_with_the_check_and_with_the_server(self) -> None:
        """Nobody is asked in the name of a configuration that is gone."""
        stays, goes = await self.backend(OK), await self.backend(OK)
        gateway = await self.start(self.config(stays.url, goes.url, balancing=check()))
        await eventually(lambda: stays.requests and goes.requests, "probes of both")
        await gateway.reload(self.config(stays.url, balancing=check()))
        before = len(goes.peers)
        probed = len(stays.requests)
        await eventually(lambda: len(stays.requests) > probed + 3, "further probes")
        assert len(goes.peers) == before
        stays.answer = ERROR
        await self.until(0, available=False)
        await gateway.reload(self.config(stays.url))
        assert self.servers()[0].available
        before = len(stays.peers)
        stays.answer = OK
        assert await self.statuses(3) == [200] * 3
        assert all(head.first == "GET / HTTP/1.1" for head in stays.requests[-3:])
        assert len(stays.peers) <= before + 1

    async def test_a_reload_that_fails_changes_no_probe(self) -> None:
        """The page that the refused configuration wanted to be asked for is never asked for."""
        backend = await self.backend(OK)
        gateway = await self.start(self.config(backend.url, balancing=check()))
        await eventually(lambda: backend.requests, "a probe")
        with Blackhole() as taken:
            wrong = self.config(backend.url, balancing=check(path='"/other"'))
            address = Address.parse(taken.removeprefix("http://"))
            web = evolve(wrong.entrypoints["web"], address=address)
            wrong = evolve(wrong, entrypoints={"web": web})
            with self.assertRaises(BindError):
                await gateway.reload(wrong)
        probed = len(backend.requests)
        await eventually(lambda: len(backend.requests) > probed + 3, "further probes")
        assert {head.first for head in backend.requests} == {is_probe()}


class StockReloadTests(ReloadTests):
    """The same over Twisted's transports."""

    stock = True

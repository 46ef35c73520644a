"""Rate limits, circuit breakers and further tries on real sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.logger import LogEvent, globalLogPublisher

from a3s_gateway import Gateway, GatewayConfig
from tests.redis_server import RedisServer
from tests.support import (
    GET,
    OK,
    PATIENCE,
    Answer,
    Backend,
    Clients,
    GatewayTestCase,
    eventually,
    gather,
    reactor,
)  # fmt: skip

FAILED = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


class ChainTestCase(GatewayTestCase):
    """Routes everything through one middleware, named `it`."""

    async def through(self, block: str, *backends: Backend, **options: Any) -> Gateway:
        rule = 'PathPrefix(`/`)"\n middlewares = ["it"] # "'
        more = f'middlewares "it" {{\n{block}\n}}'
        return await self.gateway(*(b.url for b in backends), rule=rule, more=more, **options)

    async def statuses(self, count: int) -> list[int]:
        return [(await self.exchange(GET)).status for _ in range(count)]


class RateLimitTests(ChainTestCase):
    """`rate-limit`."""

    async def test_a_client_that_asks_too_often(self) -> None:
        """It is refused, with a date and when to come again; the log says why."""
        await self.through('type = "rate-limit"\n rate = 0.01\n burst = 2', logged=True)
        assert await self.statuses(2) == [200, 200]
        answer = await self.exchange(GET)
        assert (answer.status, answer.error["code"]) == (429, "RATE_LIMITED")
        assert answer.error["error"] == "Rate limit exceeded"
        assert answer.head.find("date")
        assert answer.head.find("retry-after") in {"99", "100"}
        assert answer.head.find("ratelimit-remaining") == "0"
        lines = await self.logged()
        assert [line["code"] for line in lines] == [None, None, "RATE_LIMITED"]

    async def test_by_the_name_of_the_key(self) -> None:
        """However many addresses and keys somebody has."""
        more = """
            middlewares "keys" { type = "api-key"
              clients = [{ name = "acme", key = "a1" }, { name = "acme", key = "a2" },
                         { name = "globex", key = "g1" }] }
            middlewares "it" { type = "rate-limit"
              rate = 0.01
              burst = 1
              source = "api-key" }
        """
        await self.gateway(rule='PathPrefix(`/`)"\n middlewares = ["keys", "it"] # "', more=more)
        statuses = []
        for key in (b"a1", b"a2", b"g1", b"wrong"):
            head = b"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % key
            statuses.append((await self.exchange(head)).status)
        assert statuses == [200, 429, 200, 401]

    async def test_a_reload_keeps_what_was_counted(self) -> None:
        """Unless the block is another: then its buckets are full."""
        gateway = await self.through('type = "rate-limit"\n rate = 0.01\n burst = 1')
        assert await self.statuses(2) == [200, 429]
        address = gateway.config().entrypoints["web"].address

        def text(rate: str) -> str:
            return f"""
                entrypoints "web" {{ address = "{address}" }}
                routers "renamed" {{ rule = "PathPrefix(`/`)"
                  service = "ping@internal"
                  middlewares = ["it"] }}
                middlewares "it" {{ type = "rate-limit"
                  rate = {rate}
                  burst = 1 }}
                access_log {{ enabled = false }}
                admin {{ enabled = false }}
                shutdown_timeout_secs = "0s"
            """

        await gateway.reload(GatewayConfig.from_text(text("0.01")))
        assert await self.statuses(1) == [429]
        await gateway.reload(GatewayConfig.from_text(text("0.02")))
        assert await self.statuses(2) == [200, 429]


def accepts(path: Path) -> bool:
    """Tell whether somebody listens there: the file is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class RedisLimitTests(ChainTestCase):
    """`rate-limit-redis`, with a Redis that has its bad days."""

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisServer()
        self.addCleanup(self.redis.close)
        self.log_of_application: list[str] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)

    def note(self, event: LogEvent) -> None:
        self.log_of_application.append(repr(event))

    async def limited(self, more: str = "", *, rate: str = "0.001", burst: int = 5) -> Gateway:
        block = f"""type = "rate-limit-redis"
            redis_url = "{self.redis.url}"
            rate = {rate}
            burst = {burst}
            {more}"""
        gateway = await self.through(block)
        await eventually(lambda: self.limit(gateway).redis.is_connected, "Redis is there")
        return gateway

    def limit(self, gateway: Gateway) -> Any:
        leased = gateway.snapshot().generation.pool._kept  # type: ignore[attr-defined]  # noqa: SLF001
        (found,) = [each.value for key, each in leased.items() if key[0] == "middleware"]  # type: ignore[index]
        return found

    async def ask(self, gateway: Gateway) -> Answer:
        client = await self.client(gateway)
        client.send(GET)
        return await client.response()

    async def test_two_gateways_share_one_limit_exactly(self) -> None:
        """However the requests are spread, and at the same time."""
        one, other = await self.limited(burst=7), await self.limited(burst=7)
        answers = await gather(*(self.ask(each) for each in [one, other] * 10))
        assert sorted(answer.status for answer in answers) == [200] * 7 + [429] * 13
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.error["error"] == "Rate limit exceeded (distributed)"
        assert int(refused.head.find("retry-after") or 0) in {999, 1000}
        (key,) = (await self.redis.command("KEYS", "*")).splitlines()
        assert key == "a3s:ratelimit:it:127.0.0.1"
        assert 6_900_000 < int(await self.redis.command("PTTL", key)) <= 7_000_000

    async def test_two_processes_share_one_limit_exactly(self) -> None:
        """Each with a socket of its own in the folder of Redis."""
        sockets = [self.process(name) for name in ("one", "two")]
        for each in sockets:
            await eventually(partial(accepts, each), "it listens")
        answers = await gather(*(self.ask_at(each) for each in sockets * 10))
        assert sorted(answer.status for answer in answers) == [200] * 7 + [429] * 13

    def process(self, name: str) -> Path:
        """Start a gateway as one does, and end it after the test."""
        socket, file = self.redis.folder / name, self.redis.folder / f"{name}.hcl"
        file.write_text(f"""
            entrypoints "web" {{ address = "unix:{socket}" }}
            routers "all" {{ rule = "PathPrefix(`/`)"
              service = "ping@internal"
              middlewares = ["shared"] }}
            middlewares "shared" {{ type = "rate-limit-redis"
              redis_url = "{self.redis.url}"
              on_error = "closed"
              timeout = "5s"
              rate = 0.001
              burst = 7
              source = "global" }}
            admin {{ enabled = false }}
        """)
        command = [sys.executable, "-m", "a3s_gateway", "run", "--config", str(file)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)

        def end() -> None:
            process.terminate()
            process.wait(PATIENCE)

        self.addCleanup(end)
        return socket

    async def ask_at(self, socket: Path) -> Answer:
        clients = Clients()
        reactor.connectUNIX(str(socket), clients)
        client = await clients.made
        self.everyone.append(client)
        client.send(GET)
        return await client.response()

    async def test_tokens_come_back_by_the_clock_of_redis(self) -> None:
        """And a bucket that is full again is gone."""
        gateway = await self.limited(rate="20", burst=1)
        assert (await self.ask(gateway)).status == 200

        async def keys() -> str:
            return await self.redis.command("KEYS", "*")

        while await keys():
            pass
        assert (await self.ask(gateway)).status == 200

    async def test_redis_restarts(self) -> None:
        """Requests pass meanwhile; then the limit is in force again, by itself."""
        gateway = await self.limited(burst=1)
        assert [(await self.ask(gateway)).status for _ in range(2)] == [200, 429]
        self.redis.stop()
        await eventually(lambda: not self.limit(gateway).redis.is_connected, "it is noticed")
        assert [(await self.ask(gateway)).status for _ in range(2)] == [200, 200]
        self.redis.start()
        await eventually(lambda: self.limit(gateway).redis.is_connected, "it is back")
        assert [(await self.ask(gateway)).status for _ in range(2)] == [200, 429]

    async def test_redis_stalls(self) -> None:
        """The first request waits for as long as it may, the others not at all."""
        gateway = await self.limited('timeout = "200ms"\n on_error = "closed"', burst=1)
        os.kill(self.redis.pid, signal.SIGSTOP)
        try:
            begin = reactor.seconds()
            answer = await self.ask(gateway)
            assert (answer.status, answer.error["code"]) == (503, "RATE_LIMIT_UNAVAILABLE")
            assert 0.2 <= reactor.seconds() - begin < 1
            begin = reactor.seconds()
            assert (await self.ask(gateway)).status == 503
            assert reactor.seconds() - begin < 0.2
        finally:
            os.kill(self.redis.pid, signal.SIGCONT)
        await eventually(lambda: self.limit(gateway).redis.is_connected, "it is back")
        # The request that gave up may have been counted when Redis went on.
        assert (await self.ask(gateway)).status in {200, 429}

    async def test_redis_refuses_the_login(self) -> None:
        """Until it is set right there; the password is in no log."""
        await self.redis.command("CONFIG", "SET", "requirepass", "another")
        block = f'type = "rate-limit-redis"\n redis_url = "{self.redis.url}"\n rate = 0.01'
        gateway = await self.through(block)
        await eventually(lambda: "WRONGPASS" in str(self.log_of_application), "it is told")
        assert (await self.ask(gateway)).status == 200
        password = RedisServer.PASSWORD
        await self.redis.command("CONFIG", "SET", "requirepass", password, password="another")
        await eventually(lambda: self.limit(gateway).redis.is_connected, "it is let in")
        assert [(await self.ask(gateway)).status for _ in range(2)] == [200, 429]
        assert not [line for line in self.log_of_application if password in line]

    async def test_nothing_is_left_of_it(self) -> None:
        """A gateway that stops closes its connections to Redis."""
        gateway = await self.limited()
        assert (await self.redis.command("CLIENT", "LIST")).count("\n") == 1
        await gateway.shutdown()
        while (await self.redis.command("CLIENT", "LIST")).count("\n"):
            pass


class CircuitBreakerTests(ChainTestCase):
    """`circuit-breaker`."""

    async def test_a_service_that_cannot_be_reached(self) -> None:
        """Is not asked any more, until one request has tried; metrics tell."""
        backend = await self.backend()
        block = 'type = "circuit-breaker"\n failure_threshold = 2\n cooldown_secs = "200ms"'
        gateway = await self.through(block, backend, balancing="passive_health { failures = 100 }")
        client = await self.client()
        for _ in range(2):
            client.send(GET)
            peer = await backend.accept()
            await peer.head()
            peer.reset()
            assert (await client.response()).status == 502
        answer = await self.exchange(GET)
        assert (answer.status, answer.error["code"]) == (503, "CIRCUIT_OPEN")
        assert answer.head.find("retry-after") == "1"

        def metric(name: str) -> str:
            text = b"".join(gateway.metrics().text()).decode()
            labels = '{middleware="it",service="backend"}'
            (line,) = [e for e in text.splitlines() if e.startswith(f"{name}{labels} ")]
            return line.rpartition(" ")[2]

        assert metric("gateway_circuit_breaker_state") == "2"
        assert metric("gateway_circuit_breaker_opened_total") == "1"
        backend.answer = OK
        while (await self.exchange(GET)).status != 200:
            pass
        assert metric("gateway_circuit_breaker_state") == "0"
        assert await self.statuses(2) == [200, 200]


class RetryTests(ChainTestCase):
    """`retry`."""

    RETRY = 'type = "retry"\n retry_interval_ms = 1\n'

    async def test_another_server_is_asked(self) -> None:
        """Each request is tried where it has not failed yet; nothing stays busy."""
        bad, worse, good = [await self.backend(each) for each in (FAILED, FAILED, OK)]
        await self.through(
            self.RETRY + "budget_percent = 300", bad, worse, good, logged=True,
            balancing="passive_health { failures = 1000 }",
        )  # fmt: skip
        assert await self.statuses(9) == [200] * 9
        assert len(bad.requests) + len(worse.requests) <= 18
        assert self.in_flight() == [0, 0, 0]
        assert {line["backend"] for line in await self.logged()} == {good.url}

    async def test_the_only_server_is_asked_again(self) -> None:
        """Also over a new connection, with the whole body."""
        backend = await self.backend()
        await self.through(self.RETRY, backend, logged=True)
        client = await self.client()
        client.send(PUT)
        peer = await backend.accept()
        await peer.head()
        assert await peer.bytes(5) == b"hello"
        peer.reset()
        peer = await backend.accept()
        head = await peer.head()
        assert head.find("content-length") == "5"
        assert await peer.bytes(5) == b"hello"
        peer.send(OK)
        assert (await client.response()).body == b"ok"
        (line,) = await self.logged()
        assert (line["status"], line["attempts"]) == (200, 2)

    async def test_after_the_first_byte_it_is_too_late(self) -> None:
        """An answer that breaks off is cut off, never begun anew."""
        backend = await self.backend()
        await self.through(self.RETRY, backend)
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await client.head()
        assert await client.bytes(4) == b"half"
        peer.reset()
        assert await client.ended()
        assert len(backend.peers) == 1

    async def test_a_client_that_goes_while_it_waits(self) -> None:
        """Nobody is asked again for it."""
        backend = await self.backend(FAILED)
        await self.through(
            'type = "retry"\n retry_interval_ms = "1h"\n max_interval_ms = "1h"', backend
        )
        client = await self.client()
        client.send(GET)
        await eventually(lambda: len(backend.requests) == 1, "it was asked")
        client.reset()
        gateway = self.gateways[0]
        await eventually(lambda: gateway.snapshot().generation.holds == 0, "it is over")
        assert len(backend.requests) == 1
        assert self.in_flight() == [0]

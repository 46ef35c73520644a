"""Start, drain and stop, as clients, backends and the program around a gateway see them."""

from __future__ import annotations

import contextlib  # trial reads a name `suppress` of this module
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent

from a3s_gateway import ConfigError, Gateway, GatewayConfig
from a3s_gateway.gateway import BindError, State
from tests.support import GET, OK, GatewayTestCase, Peer, eventually

reactor: Any = global_reactor

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
LONG = "30s"  # more than any of these tests takes


def open_files() -> set[Path]:
    """What this process holds open."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it is the folder itself, and closed by now
            found.add(each.readlink())
    return found


MIRRORED = """
services "one" {
  load_balancer {
    servers { url = "http://127.0.0.1:1" }
  }
  mirror { service = "two" }
}
services "two" {
  load_balancer {
    servers { url = "http://127.0.0.1:2" }
  }
}
"""


class DrainTests(GatewayTestCase):
    """What becomes of connections when the gateway stops."""

    async def draining(self, *urls: str, patience: str = LONG) -> Gateway:
        return await self.gateway(*urls, shutdown_timeout=patience)

    async def test_nobody_is_accepted_any_more(self) -> None:
        """While something still runs, a new client is refused: it goes to another gateway."""
        backend = await self.backend()
        gateway = await self.draining(backend.url)
        address = gateway.addresses()["web"]
        client = await self.client()
        client.send(GET)
        there = await backend.accept()
        await there.head()
        stopped = gateway.shutdown()
        assert gateway.state().state is State.STOPPING
        with self.assertRaises(Refused):
            await self.connect(address)
        there.send(OK)
        assert (await client.response()).status == 200
        await stopped

    async def connect(self, address: Any) -> Peer:
        endpoint = TCP4ClientEndpoint(reactor, address.host, address.port)
        return await connectProtocol(endpoint, Peer())

    async def test_idle_connections_are_closed_at_once(self) -> None:
        """Kept connections, of clients and to backends, are not waited for."""
        backend = await self.backend(OK)
        gateway = await self.draining(backend.url)
        client, silent = await self.client(), await self.client()
        client.send(GET)
        await client.response()
        await gateway.shutdown().addTimeout(5, reactor)
        assert await client.ended() == "closed"
        assert await silent.ended() == "closed"
        await eventually(lambda: not backend.open, "the backend's connection closed")

    async def test_a_running_request_is_answered_and_told_to_close(self) -> None:
        """Its answer says that the connection ends here."""
        backend = await self.backend()
        gateway = await self.draining(backend.url)
        client = await self.client()
        client.send(GET)
        there = await backend.accept()
        await there.head()
        stopped = gateway.shutdown()
        there.send(OK)
        answer = await client.response()
        assert answer.body == b"ok"
        assert answer.head.find("connection") == "close"
        assert await client.ended() == "closed"
        await stopped
        assert gateway.state().state is State.STOPPED

    async def test_an_open_stream_goes_on_to_its_end(self) -> None:
        """An answer whose head is out cannot say `close` any more; its connection ends with it."""
        backend = await self.backend()
        gateway = await self.draining(backend.url)
        client = await self.client()
        client.send(GET)
        there = await backend.accept()
        await there.head()
        there.send(CHUNKED)
        await client.head()
        assert await client.chunk() == b"hello"
        stopped = gateway.shutdown()
        there.send(b"5\r\nworld\r\n")
        assert await client.chunk() == b"world"
        there.send(b"0\r\n\r\n")
        assert await client.chunk() == b""
        assert await client.ended() == "closed"
        await stopped

    async def test_an_upload_goes_on_to_its_end(self) -> None:
        """A client that is sending may send the rest, and gets its answer."""
        backend = await self.backend()
        gateway = await self.draining(backend.url)
        client = await self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        there = await backend.accept()
        await there.head()
        assert await there.bytes(5) == b"hello"
        stopped = gateway.shutdown()
        client.send(b"world")
        assert await there.bytes(5) == b"world"
        there.send(OK)
        answer = await client.response()
        assert (answer.status, answer.head.find("connection")) == (200, "close")
        await stopped

    async def test_pipelined_requests_end_with_the_one_that_runs(self) -> None:
        """The answer in progress says `close`: so the client knows that no other was heard."""
        backend = await self.backend()
        gateway = await self.draining(backend.url)
        client = await self.client()
        client.send(GET * 3)
        there = await backend.accept()
        await there.head()
        stopped = gateway.shutdown()
        there.send(OK)
        assert (await client.response()).head.find("connection") == "close"
        assert await client.ended() == "closed"
        await stopped
        assert bytes(there.received) == b""
        assert len(backend.peers) == 1

    async def test_a_head_that_has_begun_is_answered(self) -> None:
        """Half a request is running already: the client could not know."""
        backend = await self.backend(OK)
        gateway = await self.draining(backend.url)
        client = await self.client()
        client.send(GET[:10])
        (ours,) = self.connections()
        await eventually(lambda: not ours._codec.is_idle, "half a head is there")  # noqa: SLF001
        stopped = gateway.shutdown()
        client.send(GET[10:])
        answer = await client.response()
        assert (answer.status, answer.head.find("connection")) == (200, "close")
        await stopped

    async def test_what_takes_too_long_is_cut_off(self) -> None:
        """After `shutdown_timeout_secs` the client is told why, and the log says how many were."""
        backend = await self.backend()
        gateway = await self.draining(backend.url, patience="50ms")
        client = await self.client()
        client.send(GET)
        there = await backend.accept()
        await there.head()
        with capturedLogs() as events:
            await gateway.shutdown()
        answer = await client.response()
        assert (answer.status, answer.error["code"]) == (503, "SHUTTING_DOWN")
        assert await client.ended() == "closed"
        await there.ended()
        assert self.in_flight() == [0]
        warnings = [formatEvent(e) for e in events if e["log_level"] is LogLevel.warn]
        assert warnings == ["1 connections did not finish in time and were cut off"]

    async def test_an_answer_that_has_begun_is_cut_off(self) -> None:
        """It must not look complete, so the client is reset."""
        backend = await self.backend()
        gateway = await self.draining(backend.url, patience="50ms")
        client = await self.client()
        client.send(GET)
        there = await backend.accept()
        await there.head()
        there.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await eventually(lambda: b"half" in client.received, "the answer has begun")
        await gateway.shutdown()
        assert await client.ended() == "reset"

    async def test_a_shutdown_can_be_cut_short(self) -> None:
        """Whoever has no patience left ends the wait."""
        backend = await self.backend()
        gateway = await self.draining(backend.url)
        client = await self.client()
        client.send(GET)
        await (await backend.accept()).head()
        stopped = gateway.shutdown()
        gateway.cut_off()
        await stopped.addTimeout(5, reactor)
        assert (await client.response()).status == 503

    async def test_a_delay_leaves_load_balancers_time_to_notice(self) -> None:
        """Not ready any more, and serving as before: nobody has to be refused."""
        backend = await self.backend(OK)
        gateway = await self.gateway(
            backend.url, shutdown_delay="300ms", admin='address = "127.0.0.1:0"'
        )
        kept = await self.client()
        stopped = gateway.shutdown()
        admin = gateway.admin_address()
        asking = await self.connect(admin)
        self.everyone.append(asking)
        asking.send(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await asking.response()).status == 503
        for client in (kept, kept, await self.client()):
            client.send(GET)
            answer = await client.response()
            assert (answer.status, answer.head.find("connection")) == (200, None)
        assert gateway.state().state is State.STOPPING
        since = reactor.seconds()
        await stopped
        assert reactor.seconds() - since < 5
        assert await kept.ended() == "closed"

    async def test_a_delay_can_be_cut_short(self) -> None:
        """By whoever has no patience left; it is not waited for again afterwards."""
        backend = await self.backend(OK)
        gateway = await self.gateway(backend.url, shutdown_delay="1h")
        stopped = gateway.shutdown()
        await deferLater(reactor, 0)
        gateway.cut_off()
        await stopped.addTimeout(5, reactor)
        assert gateway.state().state is State.STOPPED

    async def test_every_request_of_the_drain_is_logged(self) -> None:
        """The access log is closed last: also what was cut off stands in it."""
        backend = await self.backend()
        gateway = await self.gateway(backend.url, logged=True, shutdown_timeout="0s")
        client = await self.client()
        client.send(GET)
        await (await backend.accept()).head()
        (line,) = await self.logged()
        assert (line["status"], line["code"]) == (503, "SHUTTING_DOWN")
        assert gateway.health().total_requests == 1


class DrainOnTwistedsTransportsTests(DrainTests):
    """The same on Twisted's own transports."""

    stock = True


class StartTests(GatewayTestCase):
    """How a gateway begins, and how it fails to."""

    def configuration(self, *addresses: str, more: str = "") -> GatewayConfig:
        entrypoints = "\n".join(
            f'entrypoints "e{index}" {{ address = "{address}" }}'
            for index, address in enumerate(addresses)
        )
        router = 'routers "all" {\n rule = "PathPrefix(`/`)"\n service = "ping@internal"\n}'
        log = more or "access_log { enabled = false }"
        return GatewayConfig.from_text(
            f"{entrypoints}\n{router}\n{log}\nadmin {{ enabled = false }}"
        )

    def made(self, config: GatewayConfig) -> Gateway:
        gateway = Gateway(config, reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        return gateway

    def taken(self) -> int:
        """Take a port for the time of this test."""
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        port: int = other.getsockname()[1]
        return port

    async def test_a_name_to_listen_on(self) -> None:
        """`localhost` is looked up."""
        gateway = self.made(self.configuration("localhost:0"))
        await gateway.start()
        assert gateway.addresses()["e0"].host == "127.0.0.1"

    async def test_every_interface_to_listen_on(self) -> None:
        """`:port` is open to IPv4, whatever else it is open to."""
        gateway = self.made(self.configuration(":0"))
        await gateway.start()
        port = gateway.addresses()["e0"].port
        with socket.create_connection(("127.0.0.1", port), 5):
            pass

    async def test_addresses_that_cannot_be_had_are_all_told(self) -> None:
        """Each with its place and a remedy."""
        gateway = self.made(
            self.configuration(
                f"127.0.0.1:{self.taken()}", "192.0.2.1:8080", "no-such-host.invalid:8080"
            )
        )
        with self.assertRaises(BindError) as caught:
            await gateway.start()
        shown = caught.exception.render()
        assert [each.span.line for each in caught.exception.diagnostics] == [1, 2, 3]
        assert 'entrypoint "e0" cannot listen on 127.0.0.1:' in shown
        assert "Address already in use" in shown
        assert "hint: no interface of this machine has that address" in shown
        assert 'address = "no-such-host.invalid:8080"' in shown

    async def test_a_start_that_fails_leaves_nothing_open(self) -> None:
        """Neither the listeners that could be opened, nor the log, nor who waits for the end."""
        path = Path(self.mktemp())
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        gateway = self.made(
            self.configuration(
                f"127.0.0.1:{port}", f"unix:{path}", f"127.0.0.1:{self.taken()}",
                more=f'access_log {{ path = "{self.log}" }}',
            )
        )  # fmt: skip
        stopped = gateway.wait_for_shutdown()
        with self.assertRaises(BindError):
            await gateway.start()
        assert gateway.state().state is State.STOPPED
        assert "cannot listen" in gateway.state().last_error
        assert gateway.addresses() == {}
        assert not gateway.running
        await stopped
        await eventually(lambda: not path.exists(), "the socket's file is gone")
        socket.create_server(("127.0.0.1", port)).close()
        assert self.log not in open_files()

    async def test_a_start_that_failed_may_be_tried_again(self) -> None:
        """Once what was in the way is gone."""
        other = socket.create_server(("127.0.0.1", 0))
        gateway = self.made(self.configuration(f"127.0.0.1:{other.getsockname()[1]}"))
        with self.assertRaises(BindError):
            await gateway.start()
        other.close()
        await gateway.start()
        assert gateway.state().state is State.RUNNING
        assert gateway.state().last_error == ""

    async def test_an_access_log_that_cannot_be_opened(self) -> None:
        """The fault stands at its path, and nothing was listened on."""
        more = 'access_log {\n  path = "/no/such/folder/access.log"\n}'
        gateway = self.made(self.configuration("127.0.0.1:0", more=more))
        with self.assertRaises(ConfigError) as caught:
            await gateway.start()
        (fault,) = caught.exception.diagnostics
        assert "No such file or directory" in fault.message
        assert fault.hint == "create the folder /no/such/folder"
        assert fault.span.line > 1
        assert gateway.addresses() == {}

    async def test_what_is_not_there_yet_is_refused_before_the_start(self) -> None:
        """With its place; nothing of the configuration is ignored."""
        with self.assertRaisesRegex(ConfigError, "not yet available: mirroring"):
            Gateway(
                GatewayConfig.from_text(MIRRORED),
                reactor,
            )

    async def test_it_cannot_be_started_twice(self) -> None:
        """The second start is an error of the program, and the gateway goes on."""
        gateway = self.made(self.configuration("127.0.0.1:0"))
        await gateway.start()
        with self.assertRaisesRegex(RuntimeError, "a gateway that is running cannot be started"):
            await gateway.start()
        assert gateway.state().state is State.RUNNING

    async def test_it_can_be_started_again_after_a_stop(self) -> None:
        """As every service of Twisted can."""
        gateway = await self.gateway()
        await gateway.shutdown()
        await gateway.start()
        assert (await self.exchange(GET)).status == 200
        assert gateway.health().total_requests == 1

    async def test_shutdown_twice(self) -> None:
        """Both wait for the same end; a third one has nothing to wait for."""
        gateway = await self.gateway()
        first, second = gateway.shutdown(), gateway.shutdown()
        await first
        await second
        self.successResultOf(gateway.shutdown())

    async def test_shutdown_before_the_start(self) -> None:
        """Who waits is told at once."""
        gateway = self.made(self.configuration("127.0.0.1:0"))
        waiting = gateway.wait_for_shutdown()
        self.successResultOf(gateway.shutdown())
        self.successResultOf(waiting)
        assert gateway.state().state is State.STOPPED

    async def test_one_who_waits_may_give_up(self) -> None:
        """The others are told all the same."""
        gateway = await self.gateway()
        impatient, patient = gateway.wait_for_shutdown(), gateway.wait_for_shutdown()
        impatient.addErrback(lambda _: None)
        impatient.cancel()
        await gateway.shutdown()
        self.successResultOf(patient)

    async def test_health_tells_what_happens(self) -> None:
        """Uptime, clients and requests, also those that no route matched."""
        gateway = await self.gateway(rule="Path(`/here`)")
        assert gateway.health().uptime_secs >= 0
        client = await self.client()
        client.send(b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n", GET)
        assert [(await client.response()).status for _ in range(2)] == [200, 404]
        health = gateway.health()
        assert (health.state, health.active_connections, health.total_requests) == ("running", 1, 2)
        assert gateway.config().routers["all"].rule == "Path(`/here`)"
        await gateway.shutdown()
        assert gateway.health().uptime_secs == 0

    async def test_before_the_start_there_is_nothing_to_see(self) -> None:
        """No addresses, no requests, and no snapshot."""
        gateway = self.made(self.configuration("127.0.0.1:0"))
        assert gateway.addresses() == {}
        assert gateway.health().total_requests == 0
        with self.assertRaises(RuntimeError):
            gateway.snapshot()


class StartOnTwistedsTransportsTests(StartTests):
    """The same on Twisted's own transports."""

    stock = True


class ServiceTests(GatewayTestCase):
    """What is told of backends that fail."""

    async def test_a_backend_that_fails_is_told_of_once(self) -> None:
        """A thousand failures a second make one line in ten seconds; each is counted."""
        gateway = await self.gateway("http://127.0.0.1:1")
        with capturedLogs() as events:
            for _ in range(3):
                assert (await self.exchange(GET)).status == 502
        lines = [formatEvent(e) for e in events if e["log_level"] is LogLevel.warn]
        reason = "Connection was refused by other side: 111: Connection refused."
        assert lines == [f"backend http://127.0.0.1:1 failed: UPSTREAM_CONNECT: {reason}"]
        assert gateway.snapshot().services["backend"][0].failures == 3


class OrderTests(GatewayTestCase):
    """Who owns what the gateway opens."""

    async def test_it_is_a_child_like_any_other(self) -> None:
        """Its parts are named, and go with it."""
        gateway = await self.gateway()
        assert {"observability", "entrypoints"} <= {each.name for each in gateway}
        done: Deferred[None] = gateway.stopService()
        await done
        assert list(gateway) == []

"""Datagrams through a running gateway: clients and servers are plain sockets."""

from __future__ import annotations

import os
import shutil
import socket
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.utils import getProcessOutput
from twisted.names import dns, server
from twisted.names.common import ResolverBase

from a3s_gateway import Gateway, GatewayConfig
from tests.support import GatewayTestCase, eventually, passed, reactor

LARGEST = 65_507  # bytes; what UDP can carry over IPv4


class Echo(DatagramProtocol):
    """A server that answers with what it got, behind its own mark; or not, if it is silent."""

    def __init__(self, mark: bytes = b"", *, is_silent: bool = False) -> None:
        self.mark = mark
        self.is_silent = is_silent
        self.received: list[tuple[bytes, Any]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))
        if not self.is_silent:
            self.answer(datagram, addr)

    def answer(self, datagram: bytes, addr: Any) -> None:
        assert self.transport is not None
        self.transport.write(self.mark + datagram, addr)


class Client:
    """A connected socket, which takes answers from the address that it asked alone."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        self.socket.setblocking(False)  # noqa: FBT003
        self.socket.connect((host, port))
        self.send = self.socket.send

    def find(self) -> bytes | None:
        try:
            return self.socket.recv(65_535)
        except (BlockingIOError, ConnectionRefusedError):
            return None

    async def receive(self) -> bytes:
        found: list[bytes] = []

        def look() -> bool:
            data = self.find()
            if data is not None:
                found.append(data)
            return data is not None

        await eventually(look, "a datagram")
        return found[0]

    async def ask(self, data: bytes) -> bytes:
        self.send(data)
        return await self.receive()


class UdpTestCase(GatewayTestCase):
    """Starts gateways and servers of datagrams."""

    def setUp(self) -> None:
        super().setUp()
        self.datagram_ports: dict[DatagramProtocol, Any] = {}

    async def tearDown(self) -> None:
        await super().tearDown()
        for port in self.datagram_ports.values():
            await port.stopListening()

    def server(self, protocol: DatagramProtocol, host: str = "127.0.0.1", port: int = 0) -> str:
        """Let it listen; return its URL."""
        listening = reactor.listenUDP(port, protocol, host, maxPacketSize=65_535)
        self.datagram_ports[protocol] = listening
        shown = f"[{host}]" if ":" in host else host
        return f"udp://{shown}:{listening.getHost().port}"

    async def stop(self, protocol: DatagramProtocol) -> None:
        await self.datagram_ports.pop(protocol).stopListening()

    def text(
        self,
        *urls: str,
        address: str = "127.0.0.1:0",
        entrypoint: str = "",
        balancing: str = "",
        rule: str = "HostSNI(`*`)",
        admin: str = "enabled = false",
    ) -> str:
        servers = "\n".join(f'servers {{ url = "{url}" }}' for url in urls)
        return f"""
            entrypoints "dns" {{ address = "{address}"
              protocol = "udp"
              {entrypoint} }}
            routers "names" {{ rule = "{rule}"
              entrypoints = ["dns"]
              service = "resolvers" }}
            services "resolvers" {{ load_balancer {{ {balancing}
              {servers} }} }}
            access_log {{ path = "{self.log}" }}
            admin {{ {admin} }}
            shutdown_timeout_secs = "5s"
        """

    async def udp(self, *urls: str, **options: Any) -> Gateway:
        """Start a gateway before these servers."""
        config = GatewayConfig.from_text(self.text(*urls, **options))
        gateway = Gateway(config, reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        return gateway

    def client(self, host: str = "127.0.0.1") -> Client:  # type: ignore[override]
        client = Client(host, self.gateways[-1].addresses()["dns"].port)
        self.addCleanup(client.socket.close)
        return client

    def metric(self, name: str) -> dict[tuple[str, ...], float]:
        """Read one metric by the values of its labels, but for those that are 0."""
        for metric in self.gateways[-1].metrics().collect():
            for sample in metric.samples:
                if sample.name == name:
                    return {
                        tuple(s.labels.values()): s.value
                        for s in metric.samples
                        if s.name == name and s.value
                    }
        raise AssertionError(f"there is no metric {name}")

    def resolvers(self) -> list[Any]:
        return list(self.gateways[-1].snapshot().services["resolvers"])


class UdpTests(UdpTestCase):
    """Over our poller."""

    # -- there and back

    async def test_there_and_back(self) -> None:
        """Each client has its server, and gets its answers."""
        await self.udp(self.server(Echo(b"a:")), self.server(Echo(b"b:")))
        one, other = self.client(), self.client()
        assert [await one.ask(b"1"), await other.ask(b"2")] == [b"a:1", b"b:2"]
        assert [await one.ask(b"3"), await other.ask(b"4")] == [b"a:3", b"b:4"]
        assert [each.in_flight for each in self.resolvers()] == [1, 1]

    async def test_datagrams_of_every_size(self) -> None:
        """Nothing is cut, joined or split; the largest goes both ways."""
        await self.udp(self.server(Echo()))
        client = self.client()
        for size in (0, 1, 512, 1472, 9000, LARGEST):
            data = os.urandom(size)
            assert await client.ask(data) == data

    async def test_ipv4_and_ipv6_on_either_side(self) -> None:
        """In every combination; on all addresses the answer comes from the one that was asked."""
        for host in ("127.0.0.1", "::1"):
            url = self.server(Echo(), host)
            for address, asked in (
                ("127.0.0.1:0", "127.0.0.1"),
                ("[::1]:0", "::1"),
                ("0.0.0.0:0", "127.0.0.7"),
                (":0", "127.0.0.8"),
                (":0", "::1"),
                ("localhost:0", "127.0.0.1"),
            ):
                await self.udp(url, address=address)
                assert await self.client(asked).ask(b"hello") == b"hello", (host, address)

    async def test_a_server_by_name(self) -> None:
        """Its name is looked up; what comes meanwhile waits."""
        echo = Echo(b"a:")
        port = self.server(echo).rpartition(":")[2]
        await self.udp(f"localhost:{port}")
        client = self.client()
        client.send(b"1")
        assert await client.ask(b"2") == b"a:1"
        assert await client.receive() == b"a:2"

    async def test_one_who_only_listens_is_not_cut(self) -> None:
        """A server may go on for long after the only question."""
        echo = Echo(is_silent=True)
        url = self.server(echo)
        await self.udp(url, entrypoint='udp_session_timeout_secs = "300ms"')
        client = self.client()
        client.send(b"subscribe")
        await eventually(lambda: echo.received, "the question")
        for index in range(4):
            await passed(0.2)
            echo.answer(b"%d" % index, echo.received[0][1])
            assert await client.receive() == b"%d" % index
        await eventually(lambda: not self.gateways[-1].health().active_connections, "silence")

    # -- servers that fail

    async def test_a_server_that_is_not_there(self) -> None:
        """The question goes to the other one; after some the dead one is left out."""
        dead = Echo()
        url = self.server(dead)
        await self.stop(dead)
        await self.udp(url, self.server(Echo(b"b:")), balancing="passive_health { failures = 2 }")
        for _ in range(6):
            assert await self.client().ask(b"x") == b"b:x"
        assert [each.failures for each in self.resolvers()] == [2, 0]
        assert [each.available for each in self.resolvers()] == [False, True]

    async def test_a_server_that_goes_away(self) -> None:
        """Its sessions end; the client's next question is answered by another."""
        leaving = Echo(b"a:")
        await self.udp(self.server(leaving), self.server(Echo(b"b:")))
        client = self.client()
        assert await client.ask(b"1") == b"a:1"
        await self.stop(leaving)
        client.send(b"lost")
        await eventually(lambda: not self.gateways[-1].health().active_connections, "its end")
        assert await client.ask(b"2") == b"b:2"

    async def test_no_server_at_all(self) -> None:
        """It is logged and counted; nothing stays open."""
        dead = Echo()
        url = self.server(dead)
        await self.stop(dead)
        await self.udp(url)
        self.client().send(b"x")
        await eventually(
            lambda: self.metric("gateway_udp_dropped_datagrams_total"), "it is dropped"
        )
        assert self.metric("gateway_udp_dropped_datagrams_total") == {("dns", "no_backend"): 1}
        assert self.gateways[-1].health().active_connections == 0
        (line,) = await self.logged()
        assert (line["code"], line["attempts"]) == ("NO_HEALTHY_BACKEND", 1)

    async def test_probes_at_another_port(self) -> None:
        """A server of names has a page of its own for its health."""
        page = await self.backend(b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n")
        assert page.port is not None
        port = page.port.getHost().port
        check = f"""health_check {{
            path = "/health"
            port = {port}
            interval = "20ms"
            unhealthy_threshold = 1
        }}"""
        await self.udp(self.server(Echo()), balancing=check)
        await eventually(lambda: not self.resolvers()[0].available, "it is down")
        assert page.requests[0].first == "GET /health HTTP/1.1"

    # -- limits

    async def test_who_may_not_send(self) -> None:
        """Is not answered, and does not reach a server; it is counted and not logged."""
        echo = Echo()
        await self.udp(self.server(echo), entrypoint='allowed_ips = ["10.0.0.0/8"]', address=":0")
        self.client().send(b"x")
        self.client("::1").send(b"x")
        dropped = "gateway_udp_dropped_datagrams_total"
        await eventually(lambda: self.metric(dropped) == {("dns", "denied"): 2}, "both are dropped")
        assert (echo.received, await self.logged()) == ([], [])

    async def test_a_rule_by_address(self) -> None:
        """Takes the clients that it names, and no others."""
        await self.udp(self.server(Echo()), address="0.0.0.0:0", rule="!ClientIP(`127.0.0.1`)")
        self.client().send(b"x")
        dropped = "gateway_udp_dropped_datagrams_total"
        await eventually(lambda: self.metric(dropped) == {("dns", "no_route"): 1}, "it is dropped")

    async def test_sessions_beyond_the_limit(self) -> None:
        """The most silent one goes; who speaks stays."""
        await self.udp(self.server(Echo()), entrypoint="udp_max_sessions = 2")
        clients = [self.client() for _ in range(3)]
        for client in (clients[0], clients[1], clients[0], clients[2]):
            await client.ask(b"x")
        assert self.gateways[-1].health().active_connections == 2
        gone = [line["client_ip"] for line in await self.logged() if line["code"]]
        assert gone == ["127.0.0.1"]

    async def test_one_that_floods_does_not_stall_another(self) -> None:
        """Its datagrams may be lost, the other's are not."""
        await self.udp(self.server(Echo()))
        noisy, quiet = self.client(), self.client()
        for round_ in range(5):
            for _ in range(500):
                try:
                    noisy.send(bytes(1000))
                except BlockingIOError:
                    break
            while (answer := await quiet.ask(b"%d" % round_)) != b"%d" % round_:
                assert answer  # pragma: no cover - one of a round before

    # -- what is told

    async def test_what_is_logged_and_counted(self) -> None:
        """One line for a session, with its bytes; datagrams are counted as they go."""
        await self.udp(self.server(Echo(b"a:")), entrypoint='udp_session_timeout_secs = "50ms"')
        client = self.client()
        await client.ask(b"1")
        await client.ask(b"22")
        await eventually(lambda: not self.gateways[-1].health().active_connections, "its end")
        assert self.metric("gateway_udp_datagrams_total") == {("in", "dns"): 2, ("out", "dns"): 2}
        assert self.metric("gateway_udp_bytes_total") == {("in", "dns"): 3, ("out", "dns"): 7}
        assert self.metric("gateway_router_requests_total") == {("names",): 1}
        (line,) = await self.logged()
        assert (line["protocol"], line["entrypoint"], line["router"]) == ("UDP", "dns", "names")
        assert (line["service"], line["attempts"], line["code"]) == ("resolvers", 1, None)
        assert line["backend"].startswith("udp://127.0.0.1:")
        assert (line["client_ip"], line["status"]) == ("127.0.0.1", 0)
        assert (line["request_bytes"], line["response_bytes"]) == (3, 7)
        assert line["duration_ms"] >= 50 > line["first_byte_ms"] > 0

    # -- changes

    async def reload(self, *urls: str, **options: Any) -> None:
        await self.gateways[-1].reload(GatewayConfig.from_text(self.text(*urls, **options)))

    async def test_a_session_lives_on_through_a_reload(self) -> None:
        """With the same server; one whose server is gone begins anew."""
        first, second = Echo(b"a:"), Echo(b"b:")
        urls = [self.server(first), self.server(second)]
        await self.udp(*urls)
        one, other = self.client(), self.client()
        assert [await one.ask(b"1"), await other.ask(b"1")] == [b"a:1", b"b:1"]
        await self.reload(*reversed(urls))
        assert [await one.ask(b"2"), await other.ask(b"2")] == [b"a:2", b"b:2"]
        assert {addr for _, addr in first.received} == {first.received[0][1]}
        await self.reload(urls[1])
        sessions = self.gateways[-1].health
        await eventually(lambda: sessions().active_connections == 1, "its session is over")
        assert [await one.ask(b"3"), await other.ask(b"3")] == [b"b:3", b"b:3"]

    async def test_an_entrypoint_that_comes_and_goes(self) -> None:
        """Its port is free again when it is gone."""
        url = self.server(Echo())
        gateway = await self.udp(url)
        port = gateway.addresses()["dns"].port
        assert await self.client().ask(b"x") == b"x"
        await gateway.reload(GatewayConfig.from_text("admin { enabled = false }"))
        assert gateway.addresses() == {}

        await eventually(lambda: not self.is_bound(port), "the port is free")

    def is_bound(self, port: int) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                return True
        return False

    # -- the end

    async def test_a_question_is_answered_during_a_drain(self) -> None:
        """Then the gateway stops, and does not wait for silence."""
        echo = Echo(is_silent=True)
        gateway = await self.udp(self.server(echo))
        asks, listens = self.client(), self.client()
        echo.is_silent = False
        await listens.ask(b"x")
        echo.is_silent = True
        asks.send(b"question")
        await eventually(lambda: len(echo.received) == 2, "the question")
        begin = reactor.seconds()
        stopped = gateway.shutdown()
        assert not stopped.called
        echo.answer(b"answer", echo.received[-1][1])
        assert await asks.receive() == b"answer"
        await stopped
        assert reactor.seconds() - begin < 1.5
        assert [line["code"] for line in await self.logged()] == [None, None]

    async def test_nothing_is_left_open(self) -> None:
        """However sessions end, their descriptors and counts are given back."""
        dead = Echo()
        url = self.server(dead)
        await self.stop(dead)
        gateway = await self.udp(
            self.server(Echo()),
            url,
            entrypoint='udp_session_timeout_secs = "50ms"\nudp_max_sessions = 20',
        )
        await self.client().ask(b"x")
        await eventually(lambda: not gateway.health().active_connections, "silence")
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        for _ in range(10):
            clients = [Client("127.0.0.1", gateway.addresses()["dns"].port) for _ in range(30)]
            for client in clients:
                client.send(b"x")
            await clients[-1].receive()
            for client in clients:
                client.socket.close()
        await eventually(lambda: not gateway.health().active_connections, "silence")
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        assert [each.in_flight for each in self.resolvers()] == [0, 0]
        assert gateway._generation is not None  # noqa: SLF001
        assert gateway._generation.holds == 0  # noqa: SLF001


class StockUdpTests(UdpTests):
    """Over the reactor itself."""

    stock = True


class Zone(ResolverBase):  # type: ignore[misc]
    """Knows one name."""

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any) -> Deferred[Any]:
        payload = dns.Record_A("192.0.2.7", ttl=60)
        if type == dns.TXT:
            payload = dns.Record_TXT(*([b"x" * 250] * 12), ttl=60)
        return succeed(([dns.RRHeader(name, type, cls, 60, payload, auth=True)], [], []))


class DnsTests(UdpTestCase):
    """A server of names behind the gateway, asked by dig."""

    async def test_dig(self) -> None:
        """It answers, also with more than fits into one packet on the wire."""
        dig = shutil.which("dig")
        assert dig is not None
        names = dns.DNSDatagramProtocol(server.DNSServerFactory(clients=[Zone()]))
        await self.udp(self.server(names), address="0.0.0.0:0")
        port = str(self.gateways[-1].addresses()["dns"].port)
        asked = ["@127.0.0.9", "-p", port, "+tries=1", "+time=5", "+bufsize=4096", "+ignore"]
        output = await getProcessOutput(dig, [*asked, "gateway.test", "A"], reactor=reactor)
        assert b"status: NOERROR" in output
        assert b"192.0.2.7" in output
        asked += ["+short", "gateway.test", "TXT"]
        output = await getProcessOutput(dig, asked, reactor=reactor)
        assert output.count(b"x" * 250) == 12

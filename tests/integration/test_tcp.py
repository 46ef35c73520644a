"""TCP through the gateway: routing, tunnels, and their ends, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any, ClassVar

from twisted.internet import reactor as global_reactor
from twisted.internet.endpoints import connectProtocol
from twisted.internet.threads import deferToThread

from a3s_gateway import Gateway, GatewayConfig
from a3s_gateway.protocol.proxy_protocol import write_proxy_header
from a3s_gateway.proxy.tcp import BULK as BEFORE_SPLICE
from a3s_gateway.proxy.tcp import TunnelEnd
from a3s_gateway.transport.endpoints import client_endpoint, server_endpoint
from a3s_gateway.transport.splice import HAS_SPLICE
from a3s_gateway.transport.tcp import BULK_READ_SIZE
from a3s_gateway.transport.tls_client import ClientTls
from a3s_gateway.transport.tls_context import client_context
from a3s_gateway.transport.tls_server import ServerPolicy, server_tls
from tests.certificates import Authority, issue, make_ca
from tests.support import GET, OK, Backend, GatewayTestCase, Peer, eventually, passed

reactor: Any = global_reactor
BULK = 3_000_000  # bytes


class TcpTestCase(GatewayTestCase):
    """Starts gateways whose entrypoint speaks TCP."""

    async def tunnel(
        self,
        *backends: Backend | str,
        rule: str = "HostSNI(`*`)",
        router: str = "",
        entrypoint: str = "",
        balancing: str = "",
        more: str = "",
        scheme: str = "tcp",
        shutdown_timeout: str = "0s",
    ) -> Gateway:
        """Start a gateway with one router and one service; backends may be HOST:PORT."""
        places = [
            each if isinstance(each, str) else f"127.0.0.1:{each.port.getHost().port}"
            for each in backends
        ]
        servers = "\n".join(f'servers {{ url = "{scheme}://{place}" }}' for place in places)
        text = f"""
            entrypoints "web" {{ address = "127.0.0.1:0"
              protocol = "tcp"
              {entrypoint} }}
            routers "all" {{ rule = "{rule}"
              service = "backend"
              {router} }}
            services "backend" {{ load_balancer {{ {balancing}
              {servers} }} }}
            {more}
            access_log {{ path = "{self.log}" }}
            admin {{ enabled = false }}
            shutdown_timeout_secs = "{shutdown_timeout}"
        """
        gateway = Gateway(GatewayConfig.from_text(text), reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        return gateway

    async def pair(self, backend: Backend) -> tuple[Peer, Peer]:
        """Connect a client, and give both ends."""
        count = len(backend.peers)
        client = await self.client()
        await eventually(lambda: len(backend.peers) > count, "the backend to be connected to")
        return client, backend.peers[-1]

    async def stop(self, backend: Backend) -> None:
        """Have nobody listen where a backend did."""
        self.ports.remove(backend.port)
        await backend.port.stopListening()

    def in_flight(self) -> int:
        services = self.gateways[-1].snapshot().services.values()
        return sum(each.in_flight for backends in services for each in backends)

    async def all_is_over(self) -> None:
        """Wait until nothing is counted as under way."""
        gateway = self.gateways[-1]
        await eventually(lambda: not self.in_flight(), "leases to be released")
        await eventually(lambda: not gateway.health().active_connections, "connections to end")
        assert not any(pool.open for pool in gateway.snapshot().pools.values())


class TestTunnels(TcpTestCase):
    """What goes in comes out, and ends as it ended."""

    async def test_bytes_go_both_ways_and_are_logged(self) -> None:
        """One line for each connection."""
        backend = await self.backend()
        await self.tunnel(backend)
        client, server = await self.pair(backend)
        client.send(b"ping")
        assert await server.bytes(4) == b"ping"
        server.send(b"pong!")
        assert await client.bytes(5) == b"pong!"
        client.close()
        assert await server.ended() == "closed"
        await self.all_is_over()
        [line] = await self.logged()
        url = f"tcp://127.0.0.1:{backend.port.getHost().port}"
        shown = {name: line[name] for name in ("protocol", "backend", "router", "service", "code")}
        assert shown == {
            "protocol": "TCP", "backend": url, "router": "all", "service": "backend", "code": None,
        }  # fmt: skip
        assert (line["request_bytes"], line["response_bytes"], line["status"]) == (4, 5, 200)

    async def test_the_server_may_speak_first(self) -> None:
        """SMTP and MySQL do."""
        backend = await self.backend()
        await self.tunnel(backend)
        client, server = await self.pair(backend)
        server.send(b"220 mail\r\n")
        assert await client.bytes(10) == b"220 mail\r\n"

    async def test_a_client_that_has_said_all_can_still_read(self) -> None:
        """Its FIN is passed on after its last byte."""
        backend = await self.backend()
        await self.tunnel(backend)
        port = self.gateways[-1].addresses()["web"].port
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"x" * BULK)
            await eventually(lambda: backend.peers, "a connection")
            sock.shutdown(socket.SHUT_WR)
            server = backend.peers[0]
            assert len(await server.bytes(BULK)) == BULK
            assert await server.ended() == "closed"
            await deferToThread(self.drained, sock)
        await self.all_is_over()

    @staticmethod
    def drained(sock: socket.socket) -> None:
        sock.settimeout(10)
        while sock.recv(65536):
            pass

    async def test_bulk_goes_both_ways_unharmed(self) -> None:
        """Past this process, where the system can do that."""
        backend = await self.backend()
        await self.tunnel(backend)
        client, server = await self.pair(backend)
        shown = self.count_shown()
        blob = bytes(range(256)) * (BULK // 256)
        client.send(blob)
        assert await server.bytes(len(blob)) == blob
        server.send(blob)
        assert await client.bytes(len(blob)) == blob
        if HAS_SPLICE and not self.stock:  # until it was known to be bulk, and no further
            assert sum(shown) <= 2 * (BEFORE_SPLICE + BULK_READ_SIZE)
        client.send(b"small")
        assert await server.bytes(5) == b"small"
        server.close()
        assert await client.ended() == "closed"
        await self.all_is_over()
        [line] = await self.logged()
        assert (line["request_bytes"], line["response_bytes"]) == (len(blob) + 5, len(blob))

    def count_shown(self) -> list[int]:
        """Note the sizes of what passes through this process from now on."""
        sizes: list[int] = []
        real = TunnelEnd.dataReceived

        def counted(end: TunnelEnd, data: bytes) -> None:
            sizes.append(len(data))
            real(end, data)

        self.patch(TunnelEnd, "dataReceived", counted)
        return sizes

    async def test_who_does_not_read_holds_the_other_back(self) -> None:
        """However much there is to send; then it all comes."""
        backend = await self.backend()
        await self.tunnel(backend)
        client, server = await self.pair(backend)
        client.stop_reading()
        server.send(b"z" * 40_000_000)
        await passed(0.3)
        assert client.total < 40_000_000
        client.read_on()
        assert len(await client.bytes(40_000_000)) == 40_000_000
        client.reset()
        await server.ended()
        await self.all_is_over()

    async def test_a_reset_is_passed_on(self) -> None:
        """In either direction, with a code that says whose it was."""
        backend = await self.backend()
        await self.tunnel(backend)
        client, server = await self.pair(backend)
        client.send(b"x")
        await server.bytes(1)
        client.reset()
        assert await server.ended() == "reset"
        client, server = await self.pair(backend)
        server.send(b"x")
        await client.bytes(1)
        server.reset()
        assert await client.ended() == "reset"
        await self.all_is_over()
        assert [line["code"] for line in await self.logged()] == ["CLIENT_GONE", "UPSTREAM_RESET"]

    async def test_silence_ends_it(self) -> None:
        """In both directions; a byte in either keeps it alive."""
        backend = await self.backend()
        await self.tunnel(backend, balancing='stream_idle_timeout = "300ms"')
        client, server = await self.pair(backend)
        for _ in range(3):
            await passed(0.2)
            server.send(b"x")
            await client.until(lambda: client.received, "a byte")
            client.received.clear()
        await client.ended()
        await server.ended()
        await self.all_is_over()
        assert [line["code"] for line in await self.logged()] == ["IDLE_TIMEOUT"]

    async def test_no_tunnel_lasts_longer_than_it_may(self) -> None:
        """Where a limit is configured."""
        backend = await self.backend()
        await self.tunnel(backend, balancing='stream_total_timeout = "200ms"')
        client, server = await self.pair(backend)
        await client.ended()
        await server.ended()
        await self.all_is_over()

    async def test_the_next_server_is_tried(self) -> None:
        """When one cannot be connected to."""
        gone, backend = await self.backend(), await self.backend()
        await self.tunnel(gone, backend)
        await self.stop(gone)
        for _ in range(2):
            client, server = await self.pair(backend)
            client.send(b"x")
            assert await server.bytes(1) == b"x"
            client.close()
        await self.all_is_over()
        attempts = [line["attempts"] for line in await self.logged()]
        assert max(attempts) == 2

    async def test_without_a_server_the_client_is_let_go(self) -> None:
        """And the log says why."""
        gone = await self.backend()
        await self.tunnel(gone)
        await self.stop(gone)
        client = await self.client()
        await client.ended()
        await self.all_is_over()
        [line] = await self.logged()
        assert (line["code"], line["status"]) == ("UPSTREAM_CONNECT", 502)

    async def test_a_tunnel_outlives_a_reload(self) -> None:
        """And new ones go where the new configuration says."""
        old, new = await self.backend(), await self.backend()
        gateway = await self.tunnel(old)
        client, server = await self.pair(old)
        text = f"""
            entrypoints "web" {{ address = "127.0.0.1:0"
              protocol = "tcp" }}
            routers "all" {{ rule = "HostSNI(`*`)"
              service = "backend" }}
            services "backend" {{ load_balancer {{
              servers {{ url = "127.0.0.1:{new.port.getHost().port}" }} }} }}
            admin {{ enabled = false }}
        """
        before = gateway.snapshot().generation
        await gateway.reload(GatewayConfig.from_text(text))
        _, fresh = await self.pair(new)
        client.send(b"still")
        assert await server.bytes(5) == b"still"
        assert before.holds == 1
        client.close()
        await eventually(lambda: not before.holds, "the old generation to end")
        fresh.close()
        await self.all_is_over()

    async def test_a_stop_waits_for_tunnels_and_then_cuts_them(self) -> None:
        """After `shutdown_timeout_secs`."""
        backend = await self.backend()
        gateway = await self.tunnel(backend, shutdown_timeout="300ms")
        client, server = await self.pair(backend)
        stopping = gateway.shutdown()
        client.send(b"x")
        assert await server.bytes(1) == b"x"
        assert await client.ended() == "reset"
        await server.ended()
        await stopping
        assert [line["code"] for line in await self.logged()] == ["SHUTTING_DOWN"]


class TestTunnelsOnStockTransports(TestTunnels):
    """The same on Twisted's own."""

    stock = True


class TestServerNames(TcpTestCase):
    """TLS, looked at and passed through, or taken off."""

    ca: ClassVar[Authority]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.ca = make_ca()

    def tls_block(self, name: str) -> str:
        cert, key = issue(self.ca, [name])
        return f'tls {{\n cert_file = "{cert}"\n key_file = "{key}"\n }}'

    async def tls_backend(self, name: str, answer: bytes | None = None) -> Backend:
        """Listen as a server that speaks TLS."""
        backend = Backend(answer)
        tls = server_tls([issue(self.ca, [name])], ServerPolicy())
        endpoint = server_endpoint(reactor, "127.0.0.1", 0, tls=tls, stock=True)
        backend.port = await endpoint.listen(backend)
        self.ports.append(backend.port)
        self.backends.append(backend)
        return backend

    async def tls_client(self, name: str) -> Peer:
        """Ask for a name; fails unless whoever answers has a certificate for it."""
        port = self.gateways[-1].addresses()["web"].port
        tls = ClientTls(client_context(ca_file=self.ca.cert_path), name)
        endpoint = client_endpoint(reactor, "127.0.0.1", port, tls=tls, stock=True)
        peer = await connectProtocol(endpoint, Peer())
        self.everyone.append(peer)
        return peer

    async def test_each_name_reaches_its_server_with_tls_untouched(self) -> None:
        """The certificates are the servers' own."""
        one, two = await self.tls_backend("a.example"), await self.tls_backend("b.example")
        port = two.port.getHost().port
        more = f"""
            routers "b" {{ rule = "HostSNI(`b.example`)"
              service = "b" }}
            services "b" {{ load_balancer {{ servers = [{{ url = "tcp://127.0.0.1:{port}" }}] }} }}
        """
        await self.tunnel(one, rule="HostSNI(`a.example`)", more=more)
        for name, backend in (("a.example", one), ("b.example", two)):
            client = await self.tls_client(name)
            client.send(name.encode())
            assert await backend.peers[-1].bytes(9) == name.encode()
            client.close()
        await self.all_is_over()
        lines = await self.logged()
        assert [line["host"] for line in lines] == ["a.example", "b.example"]

    async def test_a_hello_may_come_in_pieces(self) -> None:
        """A byte at a time, even."""
        backend = await self.backend()
        await self.tunnel(backend, rule="HostSNI(`db.example`)")
        wire = client_hello("db.example")
        client = await self.client()
        for index in range(0, len(wire), 37):
            client.send(wire[index : index + 37])
            await passed(0.003)
        await eventually(lambda: backend.peers, "the backend to be connected to")
        assert await backend.peers[0].bytes(len(wire)) == wire

    async def test_tls_ends_here_where_the_entrypoint_has_a_certificate(self) -> None:
        """The server gets what was encrypted, and the client its answer."""
        backend = await self.backend()
        entrypoint = self.tls_block("db.example")
        await self.tunnel(backend, rule="HostSNI(`db.example`)", entrypoint=entrypoint)
        client = await self.tls_client("db.example")
        await eventually(lambda: backend.peers, "the backend to be connected to")
        client.send(b"in clear")
        assert await backend.peers[0].bytes(8) == b"in clear"
        backend.peers[0].send(b"answer")
        assert await client.bytes(6) == b"answer"
        backend.peers[0].close()
        assert await client.ended() == "closed"
        await self.all_is_over()

    async def test_a_lone_catch_all_takes_tls_off_without_a_look(self) -> None:
        """The name stands in the log all the same."""
        backend = await self.backend()
        await self.tunnel(backend, entrypoint=self.tls_block("db.example"))
        client = await self.tls_client("db.example")
        client.send(b"x" * 200_000)
        await eventually(lambda: backend.peers, "the backend to be connected to")
        await backend.peers[0].bytes(200_000)
        client.close()
        await backend.peers[0].ended()
        await self.all_is_over()
        assert [line["host"] for line in await self.logged()] == ["db.example"]

    async def test_a_router_may_pass_through_what_others_take_off(self) -> None:
        """On one port."""
        plain, inner = await self.backend(), await self.tls_backend("inner.example")
        port = inner.port.getHost().port
        more = f"""
            routers "inner" {{ rule = "HostSNI(`inner.example`)"
              tls {{ passthrough = true }}
              service = "inner" }}
            services "inner" {{ load_balancer {{ servers = [{{ url = "127.0.0.1:{port}" }}] }} }}
        """
        await self.tunnel(plain, entrypoint=self.tls_block("outer.example"), more=more)
        through = await self.tls_client("inner.example")
        through.send(b"secret")
        assert await inner.peers[0].bytes(6) == b"secret"
        ended = await self.tls_client("outer.example")
        ended.send(b"open")
        await eventually(lambda: plain.peers, "the backend to be connected to")
        assert await plain.peers[0].bytes(4) == b"open"

    async def test_https_and_tcp_share_a_port(self) -> None:
        """TCP routers are asked first, by the name."""
        inner = await self.tls_backend("db.example")
        port = inner.port.getHost().port
        text = f"""
            entrypoints "web" {{ address = "127.0.0.1:0"
              {self.tls_block("www.example")} }}
            routers "www" {{ rule = "Host(`www.example`)"
              service = "whoami@internal" }}
            routers "db" {{ rule = "HostSNI(`db.example`)"
              entrypoints = ["web"]
              tls {{ passthrough = true }}
              service = "db" }}
            services "db" {{ load_balancer {{ servers = [{{ url = "127.0.0.1:{port}" }}] }} }}
            admin {{ enabled = false }}
        """
        gateway = Gateway(GatewayConfig.from_text(text), reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        www = await self.tls_client("www.example")
        www.send(b"GET / HTTP/1.1\r\nHost: www.example\r\n\r\n")
        assert (await www.response()).status == 200
        db = await self.tls_client("db.example")
        db.send(b"query")
        assert await inner.peers[0].bytes(5) == b"query"
        db.close()
        await inner.peers[0].ended()
        www.close()
        await self.all_is_over()

    async def test_servers_may_be_met_by_tls(self) -> None:
        """Their certificates are verified."""
        backend = await self.tls_backend("localhost")
        balancing = f'tls {{\n ca_file = "{self.ca.cert_path}"\n server_name = "localhost"\n }}'
        await self.tunnel(backend, balancing=balancing, scheme="tls")
        client = await self.client()
        client.send(b"hello")
        await eventually(lambda: backend.peers, "the backend to be connected to")
        assert await backend.peers[0].bytes(5) == b"hello"
        client.close()
        await backend.peers[0].ended()
        await self.all_is_over()

    async def test_who_does_not_speak_tls_gets_the_catch_all_only(self) -> None:
        """And nothing, where there is none."""
        backend = await self.backend()
        await self.tunnel(backend, rule="HostSNI(`db.example`)")
        client = await self.client()
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        await client.ended()
        assert not backend.peers
        await self.all_is_over()
        assert [line["code"] for line in await self.logged()] == ["NO_ROUTE"]

    async def test_nobody_waits_for_a_hello_for_ever(self) -> None:
        """Nor takes a broken one, nor remembers a client that went away."""
        backend = await self.backend()
        limits = "" if self.stock else 'timeouts { tls_handshake = "200ms" }'
        await self.tunnel(backend, rule="HostSNI(`db.example`)", entrypoint=limits)
        broken, gone, closed = await self.client(), await self.client(), await self.client()
        broken.send(b"\x16\x03\x01\x00\x00")
        gone.send(b"\x16\x03\x01")
        closed.send(b"\x16\x03\x01")
        await passed(0.05)
        gone.reset()
        closed.close()
        await broken.ended()
        codes = ["CLIENT_GONE", "CLIENT_GONE", "CLIENT_HELLO"]
        if not self.stock:
            slow = await self.client()
            slow.send(b"\x16\x03\x01")
            await slow.ended()
            codes.append("REQUEST_TIMEOUT")
        await self.all_is_over()
        assert sorted(line["code"] for line in await self.logged()) == codes


class TestServerNamesOnStockTransports(TestServerNames):
    """The same on Twisted's own."""

    stock = True


def client_hello(name: str) -> bytes:
    """Have OpenSSL begin a handshake."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


class TestWhoMayCome(TcpTestCase):
    """Limits, lists of addresses, and what proxies say of addresses."""

    async def test_too_many_are_closed_at_once_and_counted(self) -> None:
        """There is room again when one ends."""
        backend = await self.backend()
        await self.tunnel(backend, entrypoint="max_connections = 1")
        first, server = await self.pair(backend)
        second = await self.client()
        await second.ended()
        first.close()
        await server.ended()
        await self.all_is_over()
        third, _ = await self.pair(backend)
        third.close()
        await self.all_is_over()
        codes = [line["code"] for line in await self.logged()]
        assert codes == ["TOO_MANY_CONNECTIONS", None, None]

    async def test_a_filter_has_a_limit_of_its_own(self) -> None:
        """Counted by the middleware."""
        backend = await self.backend()
        more = 'middlewares "few" {\n type = "tcp-filter"\n max_connections = 1\n }'
        gateway = await self.tunnel(backend, router='middlewares = ["few"]', more=more)
        first, server = await self.pair(backend)
        second = await self.client()
        await second.ended()
        counted = gateway.snapshot().invocations["few"]
        assert (counted.count, counted.refused) == (2, 1)
        first.close()
        await server.ended()
        await self.all_is_over()
        await self.pair(backend)

    async def test_only_listed_addresses_may_connect(self) -> None:
        """To an entrypoint."""
        backend = await self.backend()
        await self.tunnel(backend, entrypoint='tcp_allowed_ips = ["10.0.0.0/8"]')
        client = await self.client()
        await client.ended()
        assert [line["code"] for line in await self.logged()] == ["CONNECTION_NOT_ALLOWED"]

    async def test_a_filter_lists_addresses_too(self) -> None:
        """For a router."""
        backend = await self.backend()
        more = 'middlewares "near" {\n type = "tcp-filter"\n allowed_ips = ["10.0.0.0/8"]\n }'
        await self.tunnel(backend, router='middlewares = ["near"]', more=more)
        client = await self.client()
        await client.ended()
        assert not backend.peers
        assert [line["code"] for line in await self.logged()] == ["CONNECTION_NOT_ALLOWED"]

    async def test_servers_are_told_who_connects(self) -> None:
        """By the PROXY protocol, before all else."""
        backend = await self.backend()
        await self.tunnel(backend, balancing="proxy_protocol = 1")
        client, server = await self.pair(backend)
        client.send(b"data")
        ours, theirs = client.transport.getHost(), client.transport.getPeer()
        line = f"PROXY TCP4 127.0.0.1 127.0.0.1 {ours.port} {theirs.port}\r\n".encode()
        assert await server.bytes(len(line) + 4) == line + b"data"


class TestProxies(TcpTestCase):
    """Proxies before us say whom they speak for."""

    proxies = 'proxy_protocol {\n trusted_ips = ["127.0.0.1"]\n }'

    async def test_a_proxy_says_for_whom_it_connects(self) -> None:
        """And what it says counts, for lists of addresses as well."""
        backend = await self.backend()
        entrypoint = f'{self.proxies}\n tcp_allowed_ips = ["192.0.2.0/24"]'
        await self.tunnel(backend, entrypoint=entrypoint, balancing="proxy_protocol = 2")
        client = await self.client()
        header = write_proxy_header(2, ("192.0.2.7", 4711), ("192.0.2.1", 443))
        client.send(header[:9])
        await passed(0.02)
        client.send(header[9:], b"data")
        await eventually(lambda: backend.peers, "the backend to be connected to")
        onward = await backend.peers[0].bytes(28 + 4)
        assert onward[16:20] == bytes((192, 0, 2, 7))
        assert onward[-4:] == b"data"
        client.close()
        await self.all_is_over()
        assert [line["client_ip"] for line in await self.logged()] == ["192.0.2.7"]

    async def test_a_proxy_must_say_it(self) -> None:
        """Otherwise anybody could come in its name."""
        backend = await self.backend()
        await self.tunnel(backend, entrypoint=self.proxies)
        client = await self.client()
        client.send(b"GET / HTTP/1.1\r\n")
        await client.ended()
        assert [line["code"] for line in await self.logged()] == ["PROXY_HEADER"]

    async def test_requests_come_through_such_proxies_too(self) -> None:
        """The backend and the log learn the client's address."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint=self.proxies, logged=True)
        client = await self.client()
        client.send(b"PROXY TCP4 192.0.2.9 192.0.2.1 1 2\r\n", GET)
        server = await backend.accept()
        assert (await server.head()).find("x-forwarded-for") == "192.0.2.9"
        server.send(OK)
        assert (await client.response()).status == 200
        client.close()
        assert [line["client_ip"] for line in await self.logged()] == ["192.0.2.9"]

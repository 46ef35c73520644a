"""Servers by name through a running gateway: on real sockets, with resolvers that tests write."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.names import dns, server
from twisted.names.common import ResolverBase
from twisted.names.error import DomainError

from a3s_gateway import GatewayConfig
from a3s_gateway.transport.nameservers import Nameservers
from tests.support import GET, GatewayTestCase, eventually, reactor
from tests.unit.transport.peers import Resolver


def ok(mark: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(mark)}\r\n\r\n{mark}".encode()


class Named(Factory):
    """A server that says who it is, once per connection."""

    noisy = False

    def __init__(self, host: str) -> None:
        self.host = host
        self.connections = 0

    def buildProtocol(self, addr: object) -> TwistedProtocol:
        self.connections += 1
        protocol = TwistedProtocol()
        protocol.dataReceived = lambda _: self.answer(protocol)  # type: ignore[method-assign]
        return protocol

    def answer(self, protocol: TwistedProtocol) -> None:
        answer = ok(self.host).replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
        protocol.transport.write(answer)  # type: ignore[union-attr]
        protocol.transport.loseConnection()  # type: ignore[union-attr]


class NamesCase(GatewayTestCase):
    """Has one port on several addresses."""

    async def listen(self, *hosts: str) -> int:
        """Listen on the same port of each."""
        port = 0
        for host in hosts:
            make = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
            listening = await make(reactor, port, 50, host).listen(Named(host))
            self.ports.append(listening)
            port = listening.getHost().port
        return port

    def resolve_with(self, *hosts: str) -> Resolver:
        kinds = [IPv6Address if ":" in host else IPv4Address for host in hosts]
        pairs = zip(kinds, hosts, strict=True)
        resolver = Resolver(*(kind("TCP", host, 0) for kind, host in pairs))
        before = reactor.installNameResolver(resolver)
        self.addCleanup(reactor.installNameResolver, before)
        return resolver

    async def told(self, count: int) -> list[str]:
        return [(await self.exchange(GET)).body.decode() for _ in range(count)]


class AddressesTests(NamesCase):
    """What requests meet."""

    async def test_every_address_is_used_in_turn(self) -> None:
        """By as many connections; all of them know the name from one lookup."""
        hosts = ["127.0.0.1", "127.0.0.2", "::1"]
        port = await self.listen(*hosts)
        resolver = self.resolve_with(*hosts)
        gateway = await self.gateway(f"http://backend.test:{port}")
        assert sorted(await self.told(6)) == sorted(hosts * 2)
        assert resolver.asked == ["backend.test"]
        assert gateway.facts().lookups == {"found": 1, "not_found": 0, "timeout": 0}

    async def test_where_nobody_listens_is_left_for_last(self) -> None:
        """The next address is tried within the same request, and no other one notices."""
        port = await self.listen("127.0.0.2")
        self.resolve_with("::1", "127.0.0.1", "127.0.0.2")
        await self.gateway(f"http://backend.test:{port}")
        assert await self.told(4) == ["127.0.0.2"] * 4

    async def test_a_name_without_addresses(self) -> None:
        """Is a 502 like any server that cannot be connected to."""
        resolver = self.resolve_with()
        await self.gateway("http://nowhere.test:80")
        answers = [await self.exchange(GET) for _ in range(2)]
        assert [answer.status for answer in answers] == [502, 502]
        assert b"UPSTREAM_CONNECT" in answers[0].body
        assert resolver.asked == ["nowhere.test"]

    async def test_services_share_what_is_known(self) -> None:
        """Probes, requests and tracing ask for a name once, also after a reload."""
        port = await self.listen("127.0.0.1")
        resolver = self.resolve_with("127.0.0.1")
        check = 'health_check { path = "/"\ninterval = "50ms" }'
        gateway = await self.gateway(f"http://backend.test:{port}", balancing=check)
        named = self.ports[-1].factory  # type: ignore[attr-defined]
        await eventually(lambda: named.connections > 2, "probes")
        assert await self.told(1) == ["127.0.0.1"]
        await gateway.reload(GatewayConfig.from_text(self.plain(port)))
        assert await self.told(1) == ["127.0.0.1"]
        assert resolver.asked == ["backend.test"]

    def plain(self, port: int, more: str = "") -> str:
        return f"""
            entrypoints "web" {{ address = "127.0.0.1:0" }}
            routers "all" {{ rule = "PathPrefix(`/`)"
              service = "backend" }}
            services "backend" {{ load_balancer {{
              servers = [{{ url = "http://backend.test:{port}/new" }}] }} }}
            admin {{ enabled = false }}
            access_log {{ enabled = false }}
            {more}
        """


class StockAddressesTests(AddressesTests):
    """On Twisted's own transports, whose endpoints race."""

    stock = True

    async def test_where_nobody_listens_is_left_for_last(self) -> None:
        """Somebody answers."""
        port = await self.listen("127.0.0.2")
        self.resolve_with("127.0.0.1", "127.0.0.2")
        await self.gateway(f"http://backend.test:{port}")
        assert await self.told(2) == ["127.0.0.2"] * 2


class Zone(ResolverBase):  # type: ignore[misc]
    """A name server that knows one name, as an alias."""

    records: ClassVar[dict[int, Any]] = {
        dns.A: [dns.Record_A("127.0.0.2", ttl=60)],
        dns.AAAA: [dns.Record_AAAA("::1", ttl=60)],
    }

    def __init__(self, ttl: int) -> None:
        super().__init__()
        self.ttl = ttl
        self.asked: list[tuple[bytes, int]] = []

    def _lookup(self, name: bytes, cls: int, type: int, timeout: Any) -> Deferred[Any]:
        self.asked.append((name, type))
        if name != b"backend.test":
            raise DomainError(name)
        alias = dns.RRHeader(name, dns.CNAME, cls, 60, dns.Record_CNAME(b"real.test", 60))
        found = [
            dns.RRHeader(b"real.test", type, cls, self.ttl, each, auth=True)
            for each in self.records[type]
        ]
        return succeed(([alias, *found], [], []))


class NameserversTests(NamesCase):
    """`providers.dns`."""

    def serve(self, ttl: int) -> tuple[Zone, str]:
        zone = Zone(ttl)
        protocol = dns.DNSDatagramProtocol(server.DNSServerFactory(clients=[zone]))
        port = reactor.listenUDP(0, protocol, "127.0.0.1")
        self.ports.append(port)
        return zone, f'providers {{ dns {{ nameservers = ["127.0.0.1:{port.getHost().port}"] }} }}'

    async def test_they_are_asked_for_both_families(self) -> None:
        """And the system is not."""
        zone, block = self.serve(60)
        resolver = self.resolve_with("127.0.0.1")
        port = await self.listen("127.0.0.2", "::1")
        await self.gateway(f"http://backend.test:{port}", more=block)
        assert sorted(await self.told(4)) == ["127.0.0.2", "127.0.0.2", "::1", "::1"]
        assert sorted(zone.asked) == [(b"backend.test", dns.A), (b"backend.test", dns.AAAA)]
        assert resolver.asked == []

    async def test_their_time_to_live_is_heeded(self) -> None:
        """The shortest on the way from an alias to the address."""
        for ttl, life in ((5, 5.0), (3600, 60.0)):
            self.serve(ttl)
            address = self.ports[-1].getHost()
            asked = Nameservers(reactor, [(address.host, address.port)], 5.0)
            answers: Deferred[float | None] = Deferred()
            asked.ask("backend.test", lambda _, ttl, done=answers: done.callback(ttl))
            assert await answers == life

    async def test_a_name_that_they_do_not_know(self) -> None:
        """It is not asked for elsewhere."""
        _, block = self.serve(60)
        gateway = await self.gateway("http://other.test:80", more=block)
        assert (await self.exchange(GET)).status == 502
        assert gateway.facts().lookups["not_found"] == 1

    async def test_localhost_is_the_systems(self) -> None:
        """RFC 6761: no name server is asked for it."""
        zone, block = self.serve(60)
        port = await self.listen("127.0.0.1")
        await self.gateway(f"http://localhost:{port}", more=block)
        assert await self.told(1) == ["127.0.0.1"]
        assert zone.asked == []


class DatagramTests(NamesCase):
    """The same for UDP."""

    async def test_sessions_take_turns(self) -> None:
        """Each goes to the next address of the name."""
        servers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        port = 0
        for each, host in zip(servers, ("127.0.0.1", "127.0.0.2"), strict=True):
            self.addCleanup(each.close)
            each.bind((host, port))
            each.setblocking(False)  # noqa: FBT003
            port = each.getsockname()[1]
        self.resolve_with("127.0.0.1", "127.0.0.2")
        gateway = await self.gateway(
            more=f"""
            entrypoints "udp" {{ address = "127.0.0.1:0"
              protocol = "udp" }}
            routers "udp" {{ rule = "HostSNI(`*`)"
              entrypoints = ["udp"]
              service = "udp" }}
            services "udp" {{ load_balancer {{
              servers = [{{ url = "udp://backend.test:{port}" }}] }} }}
            """
        )
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for client in clients:
            self.addCleanup(client.close)
            client.sendto(b"x", ("127.0.0.1", gateway.addresses()["udp"].port))
        for each in servers:
            await eventually(lambda each=each: self.has_one(each), "a datagram")

    def has_one(self, server: socket.socket) -> bool:
        try:
            return server.recv(10) == b"x"
        except BlockingIOError:
            return False

"""TLS on both sides of a gateway, over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import attrs
from OpenSSL import SSL
from twisted.internet import reactor as global_reactor
from twisted.internet.endpoints import connectProtocol
from twisted.logger import capturedLogs, formatEvent

from a3s_gateway import ConfigError, Gateway, GatewayConfig
from a3s_gateway.transport.endpoints import client_endpoint, server_endpoint
from a3s_gateway.transport.tls_client import ClientTls
from a3s_gateway.transport.tls_context import client_context
from a3s_gateway.transport.tls_faults import TlsError
from a3s_gateway.transport.tls_server import Certificates, ClientAuth, ServerPolicy, server_tls
from tests.certificates import Authority, issue, make_ca
from tests.support import GET, OK, Backend, GatewayTestCase, Peer, gather

reactor: Any = global_reactor


@attrs.frozen(eq=False)
class Asked(Certificates):
    """Those of a backend, which notes the names that it is asked for."""

    names: list[bytes | None] = attrs.field(factory=list)

    def context_for(self, name: bytes | None, *, is_strict: bool) -> SSL.Context | None:
        self.names.append(name)
        return super().context_for(name, is_strict=is_strict)


class TlsTestCase(GatewayTestCase):
    """Has an authority that all trust, and a certificate for localhost and 127.0.0.1."""

    ca: ClassVar[Authority]
    cert: ClassVar[Path]
    key: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.ca = make_ca()
        cls.cert, cls.key = issue(cls.ca, ["localhost", "127.0.0.1"])

    def tls_block(self, *lines: str, cert: Path | None = None) -> str:
        """The block of an entrypoint."""
        files = (f'cert_file = "{cert or self.cert}"', f'key_file = "{self.key}"')
        return "\n".join(["tls {", *files, *lines, "}"])

    async def tls_client(self, context: SSL.Context | None = None) -> Peer:
        """Connect to the gateway by TLS; fails as the handshake does."""
        port = self.gateways[-1].addresses()["web"].port
        tls = ClientTls(context or client_context(ca_file=self.ca.cert_path), "localhost")
        endpoint = client_endpoint(reactor, "127.0.0.1", port, tls=tls, stock=True)
        peer = await connectProtocol(endpoint, Peer())
        self.everyone.append(peer)
        return peer

    async def tls_backend(
        self, names: tuple[str, ...] = (), *, asks_for: Authority | None = None
    ) -> Backend:
        """Listen as a backend by TLS; its certificate is for `names`, by default its address."""
        cert, key = issue(self.ca, names) if names else (self.cert, self.key)
        auth = None
        if asks_for is not None:
            auth = ClientAuth("require", (str(asks_for.cert_path),))
        tls = server_tls([(cert, key)], ServerPolicy(client_auth=auth))
        tls.certificates = asked = Asked(*attrs.astuple(tls.certificates, recurse=False))
        self.names_asked_for = asked.names
        backend = Backend(OK)
        endpoint = server_endpoint(reactor, "127.0.0.1", 0, tls=tls, stock=True)
        backend.port = await endpoint.listen(backend)
        self.ports.append(backend.port)
        self.backends.append(backend)
        return backend

    def url(self, backend: Backend, host: str = "localhost") -> str:
        return f"https://{host}:{backend.port.getHost().port}"


class EntrypointTests(TlsTestCase):
    """TLS towards clients."""

    async def test_an_entrypoint_with_a_certificate_serves_https(self) -> None:
        """The client can verify it; backend and log learn that it came by https."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, entrypoint=self.tls_block(), logged=True)
        client = await self.tls_client()
        client.send(GET)
        assert (await client.response()).body == b"ok"
        assert backend.requests[0].find("x-forwarded-proto") == "https"
        client.close()
        await client.ended()
        assert [line["tls"] for line in await self.logged()] == [True]

    async def test_a_connection_serves_many_requests(self) -> None:
        """Keep-alive and pipelining do not depend on TLS."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, entrypoint=self.tls_block())
        client = await self.tls_client()
        client.send(GET * 3)
        assert [(await client.response()).status for _ in range(3)] == [200] * 3

    async def test_http_1_1_is_agreed_upon_where_http_2_is_turned_off(self) -> None:
        """A client that offers HTTP/2 first learns that it is to speak HTTP/1.1."""
        block = self.tls_block() + "\nhttp2 { enabled = false }"
        await self.gateway(entrypoint=block)
        offer = client_context(ca_file=self.ca.cert_path, alpn=(b"h2", b"http/1.1"))
        client = await self.tls_client(offer)
        assert client.transport.negotiatedProtocol == b"http/1.1"

    async def test_min_version_keeps_old_clients_out(self) -> None:
        """With "1.3" a client of TLS 1.2 does not get in, a newer one does."""
        await self.gateway(entrypoint=self.tls_block('min_version = "1.3"'))
        old = client_context(ca_file=self.ca.cert_path)
        old.set_max_proto_version(SSL.TLS1_2_VERSION)
        with self.assertRaisesRegex(TlsError, "protocol version"):
            await self.tls_client(old)
        client = await self.tls_client()
        assert client.transport.getHandle().get_protocol_version_name() == "TLSv1.3"

    async def test_by_default_tls_1_2_is_enough(self) -> None:
        """Clients of the last decade get in."""
        await self.gateway(entrypoint=self.tls_block())
        old = client_context(ca_file=self.ca.cert_path)
        old.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = await self.tls_client(old)
        client.send(GET)
        assert (await client.response()).status == 200

    async def test_plain_http_is_not_served_there(self) -> None:
        """A client that forgets the `s` is cut off, and the entrypoint goes on."""
        await self.gateway(entrypoint=self.tls_block())
        plain = await self.client()
        plain.send(GET)
        await plain.ended()
        client = await self.tls_client()
        client.send(GET)
        assert (await client.response()).status == 200

    async def test_idle_and_unfinished_handshakes_do_not_hold_up_a_shutdown(self) -> None:
        """Neither a kept connection nor one that never said a word is waited for."""
        gateway = await self.gateway(entrypoint=self.tls_block(), shutdown_timeout="30s")
        client = await self.tls_client()
        client.send(GET)
        await client.response()
        silent = await self.client()
        await gateway.shutdown().addTimeout(5, reactor)
        await client.ended()
        await silent.ended()


class HandshakeTimeoutTests(TlsTestCase):
    """Our transports only: Twisted's own have no such limit."""

    async def test_a_client_has_so_long_for_the_handshake(self) -> None:
        """A connection on which nothing is said does not stay."""
        limits = 'timeouts { tls_handshake = "100ms" }'
        await self.gateway(entrypoint=f"{self.tls_block()}\n{limits}")
        silent = await self.client()
        await silent.ended()


class FileTests(TlsTestCase):
    """Files that can be read and are of no use."""

    def faults(self, entrypoint: str = "", balancing: str = "") -> str:
        text = f"""
entrypoints "web" {{
  address = "127.0.0.1:0"
  {entrypoint}
}}
routers "all" {{
  rule = "PathPrefix(`/`)"
  service = "backend"
}}
services "backend" {{
  load_balancer {{
    servers = [{{ url = "https://localhost:1" }}]
    {balancing}
  }}
}}
"""
        gateway = Gateway(GatewayConfig.from_text(text), reactor, stock_transports=self.stock)
        error = self.failureResultOf(gateway.start(), ConfigError).value
        assert gateway.addresses() == {}
        return error.render()

    def test_a_key_of_another_certificate(self) -> None:
        """The fault stands at the key, with what to do."""
        _, other = issue(self.ca, ["localhost"], key_number=1)
        block = f'tls {{\n    cert_file = "{self.cert}"\n    key_file = "{other}"\n  }}'
        shown = self.faults(entrypoint=block)
        assert f"<text>:6:17: error: the key in {other} does not belong to" in shown
        assert "    key_file = " in shown
        assert "^^^^" in shown
        assert "hint: give the key that the certificate was issued for" in shown

    def test_all_files_are_tried_in_one_run(self) -> None:
        """Towards clients and towards servers: both faults are told."""
        spoilt = Path(self.mktemp())
        spoilt.write_text("not a certificate")
        shown = self.faults(
            entrypoint=self.tls_block(cert=spoilt), balancing=f'tls {{ ca_file = "{spoilt}" }}'
        )
        assert shown.count(f"error: {spoilt} holds no certificate in PEM format") == 2
        assert "cert_file =" in shown
        assert "ca_file =" in shown


class UpstreamTests(TlsTestCase):
    """TLS towards servers."""

    def trusting(self, *lines: str, ca: Authority | None = None) -> str:
        """The block of a service that trusts our authority, or another."""
        return "\n".join(["tls {", f'ca_file = "{(ca or self.ca).cert_path}"', *lines, "}"])

    async def refused(self, url: str, balancing: str) -> str:
        """Ask through a service that cannot trust its server; returns what is logged of it."""
        await self.gateway(url, balancing=balancing)
        with capturedLogs() as events:
            answer = await self.exchange(GET)
        assert answer.status == 502
        assert answer.error["code"] == "UPSTREAM_CONNECT"
        assert "localhost" not in answer.body.decode()
        (line,) = (formatEvent(e) for e in events if e.get("log_level").name == "warn")
        assert f"backend {url} failed: UPSTREAM_CONNECT: " in line
        return line

    async def test_a_verified_server(self) -> None:
        """Its name is asked for by SNI and checked; Host stays the client's."""
        backend = await self.tls_backend()
        await self.gateway(self.url(backend), balancing=self.trusting())
        assert (await self.exchange(GET)).body == b"ok"
        assert self.names_asked_for == [b"localhost"]
        assert backend.requests[0].find("host") == "a"

    async def test_an_address_instead_of_a_name(self) -> None:
        """A certificate may be for an address; SNI does not know any."""
        backend = await self.tls_backend()
        await self.gateway(self.url(backend, "127.0.0.1"), balancing=self.trusting())
        assert (await self.exchange(GET)).body == b"ok"
        assert self.names_asked_for in ([], [None])

    async def test_connections_are_kept(self) -> None:
        """One handshake serves many requests."""
        backend = await self.tls_backend()
        await self.gateway(self.url(backend), balancing=self.trusting())
        assert [(await self.exchange(GET)).status for _ in range(3)] == [200] * 3
        assert len(backend.peers) == 1

    async def test_an_unknown_authority(self) -> None:
        """By default the system's authorities count, which did not sign a test's certificate."""
        backend = await self.tls_backend()
        line = await self.refused(self.url(backend), "")
        assert "certificate" in line
        assert "not trusted" in line

    async def test_another_authority(self) -> None:
        """With ca_file only that one counts."""
        backend = await self.tls_backend()
        other = make_ca(name="Another authority")
        line = await self.refused(self.url(backend), self.trusting(ca=other))
        assert "not trusted" in line

    async def test_another_name(self) -> None:
        """The log says which names the certificate has, and which was expected."""
        backend = await self.tls_backend(("other.example",))
        line = await self.refused(self.url(backend), self.trusting())
        assert "it is for other.example, not for localhost" in line

    async def test_server_name_is_asked_for_and_expected(self) -> None:
        """A server that is known by another name than the URL's."""
        backend = await self.tls_backend(("other.example",))
        tls = self.trusting('server_name = "other.example"')
        await self.gateway(self.url(backend), balancing=tls)
        assert (await self.exchange(GET)).body == b"ok"
        assert self.names_asked_for == [b"other.example"]

    async def test_insecure_skip_verify(self) -> None:
        """Whoever asks for it by its full name gets any server."""
        backend = await self.tls_backend(("other.example",))
        tls = "tls { insecure_skip_verify = true }"
        await self.gateway(self.url(backend), balancing=tls)
        assert (await self.exchange(GET)).body == b"ok"

    async def test_a_server_that_asks_for_a_certificate_gets_it(self) -> None:
        """Our certificate is shown to whoever wants to see one."""
        backend = await self.tls_backend(asks_for=self.ca)
        ours, key = issue(self.ca, [], common_name="gateway")
        tls = self.trusting(f'cert_file = "{ours}"', f'key_file = "{key}"')
        await self.gateway(self.url(backend), balancing=tls)
        assert (await self.exchange(GET)).body == b"ok"

    async def test_a_server_that_asks_for_a_certificate_in_vain(self) -> None:
        """Without one there is no answer, and nobody takes that for one."""
        backend = await self.tls_backend(asks_for=self.ca)
        await self.gateway(self.url(backend), balancing=self.trusting())
        answer = await self.exchange(GET)
        assert answer.status == 502
        assert backend.requests == []

    async def test_a_server_that_speaks_plain_http(self) -> None:
        """`https` in the URL of a server that has no TLS."""
        backend = await self.backend()

        async def answer() -> str:
            (await backend.accept()).send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return ""

        line, _ = await gather(self.refused(self.url(backend), self.trusting()), answer())
        assert "with localhost" in line

    async def test_a_server_that_does_not_shake_hands(self) -> None:
        """The handshake is part of connecting, and has its time."""
        backend = await self.backend()
        patience = 'connect_timeout = "100ms"'
        await self.gateway(self.url(backend), balancing=f"{self.trusting()}\n{patience}")
        answer = await self.exchange(GET)
        assert (answer.status, answer.error["code"]) == (504, "UPSTREAM_TIMEOUT")


class EntrypointsOnTwistedsTransportsTests(EntrypointTests):
    """The same on Twisted's own transports."""

    stock = True


class FilesOnTwistedsTransportsTests(FileTests):
    """The same on Twisted's own transports."""

    stock = True


class UpstreamsOnTwistedsTransportsTests(UpstreamTests):
    """The same on Twisted's own transports."""

    stock = True

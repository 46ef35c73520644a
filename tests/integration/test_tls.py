# ruff: noqa: SLF001 - has the gateway look at files, as its timers do
"""TLS on both sides of a gateway, over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import attrs
from OpenSSL import SSL
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
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


class ManyCertificatesTests(TlsTestCase):
    """Names, clients' certificates, limits: what a `tls` block can say."""

    def certificates(self, *pairs: tuple[Path, Path]) -> str:
        each = ", ".join(f'{{ cert_file = "{c}", key_file = "{k}" }}' for c, k in pairs)
        return f"certificates = [{each}]"

    async def client_named(self, name: str, **options: Any) -> Peer:
        port = self.gateways[-1].addresses()["web"].port
        tls = ClientTls(client_context(ca_file=self.ca.cert_path, **options), name)
        endpoint = client_endpoint(reactor, "127.0.0.1", port, tls=tls, stock=True)
        peer = await connectProtocol(endpoint, Peer())
        self.everyone.append(peer)
        return peer

    async def test_each_name_has_its_certificate(self) -> None:
        """A client verifies whom it asked for; one block may have all certificates in the list."""
        pairs = [issue(self.ca, [name]) for name in ("localhost", "*.shop.example")]
        await self.gateway(entrypoint=f"tls {{ {self.certificates(*pairs)} }}")
        for name in ("localhost", "www.shop.example"):
            client = await self.client_named(name)
            client.send(GET)
            assert (await client.response()).status == 200
        with self.assertRaises(TlsError):
            await self.client_named("other.example")

    async def test_strict_names(self) -> None:
        """The client is told that there is nobody of that name."""
        await self.gateway(entrypoint=self.tls_block("strict_sni = true"))
        with self.assertRaisesRegex(TlsError, "unrecognized name"):
            await self.client_named("other.example")
        await self.client_named("localhost")

    async def test_backends_learn_who_the_client_is(self) -> None:
        """By fields that only the gateway may set, whatever the client sends, on each request."""
        backend = await self.backend(OK)
        asked = f'client_auth {{ ca_files = ["{self.ca.cert_path}"] }}'
        await self.gateway(backend.url, entrypoint=self.tls_block(asked))
        cert, key = issue(self.ca, ["alice.example"], common_name="Älice, of \u2603")
        client = await self.client_named("localhost", cert_file=cert, key_file=key)
        for lie in ("X-Client-Cert-Subject: CN=root", "x_client-cert_verified: true"):
            client.send(f"GET / HTTP/1.1\r\nHost: a\r\n{lie}\r\n\r\n".encode())
            assert (await client.response()).status == 200
        for request in backend.requests:
            assert request.all("x-client-cert-verified") == ["true"]
            assert request.all("x_client-cert_verified") == []
            subject = r"CN=\C3\84lice\, of \E2\98\83"
            assert request.all("x-client-cert-subject") == [subject]
            assert request.find("x-client-cert-issuer") == "CN=Test authority"
            assert request.find("x-client-cert-names") == "DNS:alice.example"
            assert len(request.find("x-client-cert-fingerprint") or "") == 64

    async def test_a_certificate_is_required(self) -> None:
        """Who has none does not get in."""
        asked = f'client_auth {{ ca_files = ["{self.ca.cert_path}"] }}'
        await self.gateway(entrypoint=self.tls_block(asked))
        client = await self.client_named("localhost")  # TLS 1.3 tells a client only afterwards
        client.send(GET)
        await client.ended()
        assert client.received == b""

    async def test_fields_of_certificates_are_not_for_clients(self) -> None:
        """Nobody is asked for a certificate, so nobody can say that there was one."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, entrypoint=self.tls_block())
        client = await self.client_named("localhost")
        client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\n"
            b"X-Client-Cert-Verified: true\r\nClient-Cert: :AA==:\r\n\r\n"
        )
        assert (await client.response()).status == 200
        assert not [n for n in backend.requests[0].names if "client-cert" in n]

    async def test_a_key_of_another_certificate_in_the_list(self) -> None:
        """The fault stands where the list names it."""
        cert, _ = issue(self.ca, ["localhost"])
        _, other = issue(self.ca, ["localhost"], key_number=1)
        text = f"""
entrypoints "web" {{
  address = "127.0.0.1:0"
  tls {{
    certificates = [
      {{ cert_file = "{cert}",
        key_file = "{other}" }},
    ]
  }}
}}
"""
        gateway = Gateway(GatewayConfig.from_text(text), reactor, stock_transports=self.stock)
        error = self.failureResultOf(gateway.start(), ConfigError).value
        assert f"<text>:7:21: error: the key in {other} does not belong to" in error.render()


class RenewalTests(TlsTestCase):
    """New files of certificates while the gateway runs."""

    def setUp(self) -> None:
        super().setUp()
        self.files = Path(self.mktemp()).absolute()
        self.files.mkdir()

    async def serve(self, name: str) -> Peer:
        self.put(issue(self.ca, ["localhost"], common_name=name))
        lines = [f'cert_file = "{self.files}/cert.pem"', f'key_file = "{self.files}/key.pem"']
        await self.gateway(entrypoint="\n".join(["tls {", *lines, "}"]))
        return await self.tls_client()

    def put(self, pair: tuple[Path, Path]) -> None:
        """Put both files in the place of those there are, as certbot and Kubernetes do."""
        for file, name in zip(pair, ("cert.pem", "key.pem"), strict=True):
            fresh = self.files / f"{name}.new"
            fresh.write_bytes(file.read_bytes())
            fresh.rename(self.files / name)

    async def look(self) -> None:
        """Do what is done every few seconds, until it would be noticed."""
        for _ in range(2):
            await Deferred.fromCoroutine(self.gateways[-1]._entrypoints.watch.look())

    async def shown(self) -> str:
        client = await self.tls_client()
        certificate = client.transport.getPeerCertificate().to_cryptography()
        return str(certificate.subject.rfc4514_string())

    def metric(self, line: str) -> bool:
        return line in b"".join(self.gateways[-1].metrics().text()).decode()

    async def test_a_renewed_certificate_is_shown(self) -> None:
        """To who connects from then on; who is connected notices nothing."""
        client = await self.serve("before")
        await self.look()
        assert await self.shown() == "CN=before"
        self.put(issue(self.ca, ["localhost"], common_name="after"))
        with capturedLogs() as events:
            await self.look()
        assert await self.shown() == "CN=after"
        assert [formatEvent(e) for e in events if e["log_namespace"].startswith("a3s")] == [
            "entrypoint web has new certificates"
        ]
        client.send(GET)
        assert (await client.response()).status == 200
        assert self.metric('gateway_tls_certificate_renewals_total{outcome="success"} 1')

    async def test_files_of_no_use_leave_in_force_what_was(self) -> None:
        """That is told once, and what comes after them is taken again."""
        await self.serve("before")
        await self.look()
        (self.files / "key.pem").write_text("half a k")
        with capturedLogs() as events:
            await self.look()
            await self.look()
        warnings = [formatEvent(e) for e in events if e["log_level"].name == "warn"]
        assert len(warnings) == 1
        assert "certificates of entrypoint web stay as they are" in warnings[0]
        assert "holds no private key" in warnings[0]
        assert await self.shown() == "CN=before"
        assert self.metric('gateway_tls_certificate_renewals_total{outcome="failure"} 1')
        self.put(issue(self.ca, ["localhost"], common_name="after"))
        await self.look()
        assert await self.shown() == "CN=after"

    async def test_files_that_are_being_written_are_left_alone(self) -> None:
        """The key comes a moment after its certificate: between them nobody complains."""
        await self.serve("before")
        watch = self.gateways[-1]._entrypoints.watch
        await self.look()
        cert, key = issue(self.ca, ["localhost"], common_name="after", key_number=1)
        (self.files / "cert.pem").write_bytes(cert.read_bytes())
        await Deferred.fromCoroutine(watch.look())
        (self.files / "key.pem").write_bytes(key.read_bytes())
        await Deferred.fromCoroutine(watch.look())
        assert await self.shown() == "CN=before"
        await Deferred.fromCoroutine(watch.look())
        assert await self.shown() == "CN=after"
        assert watch.failed == 0

    async def test_when_certificates_expire_is_a_metric(self) -> None:
        """So that somebody is woken up before that."""
        await self.serve("before")
        (identity,) = self.gateways[-1].certificates().by_entrypoint["web"]
        name = "gateway_tls_certificate_not_after_timestamp_seconds"
        labels = f'{{certificate="{self.files}/cert.pem",entrypoint="web"}}'
        assert self.metric(f"{name}{labels} {identity.not_after.timestamp()!r}")


class HandshakeLimitTests(TlsTestCase):
    """Our transports only: Twisted's own have no such limit."""

    async def test_so_many_handshakes_at_a_time(self) -> None:
        """Who does not say a word makes others wait, for as long as a handshake may take."""
        limits = 'timeouts { tls_handshake = "200ms" }'
        await self.gateway(entrypoint=f"{self.tls_block('max_handshakes = 1')}\n{limits}")
        silent = await self.client()
        client = await self.tls_client()
        assert silent.end
        others = [await self.tls_client() for _ in range(2)]  # done with it: no longer counted
        for each in (client, *others):
            each.send(GET)
            assert (await each.response()).status == 200


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


class ManyCertificatesOnTwistedsTransportsTests(ManyCertificatesTests):
    """The same on Twisted's own transports."""

    stock = True


class FilesOnTwistedsTransportsTests(FileTests):
    """The same on Twisted's own transports."""

    stock = True


class UpstreamsOnTwistedsTransportsTests(UpstreamTests):
    """The same on Twisted's own transports."""

    stock = True

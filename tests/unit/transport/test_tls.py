"""TLS on the socket: who is let in, what is negotiated, and how it ends."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    NoProtocol,
)
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IHandshakeListener, INegotiated, ISSLTransport
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread
from zope.interface import implementer
from zope.interface.verify import verifyObject

from a3s_gateway.transport.endpoints import client_endpoint, server_endpoint
from a3s_gateway.transport.tls import HandshakeTimeout
from a3s_gateway.transport.tls_client import ClientTls
from a3s_gateway.transport.tls_context import client_context
from a3s_gateway.transport.tls_faults import TlsError, TlsVerificationError
from a3s_gateway.transport.tls_server import ClientAuth, ServerPolicy, server_tls
from tests.certificates import issue, make_ca
from tests.unit.transport.peers import (
    HOST,
    ConnectionCase,
    HalfCloser,
    Recorder,
    Wiring,
    authority,
    identity,
    turns,
)

MEGABYTE = 1024 * 1024


@implementer(IHandshakeListener)
class Listener(Recorder):
    """Notes the order of what it is told, and pauses or writes as asked."""

    def __init__(self, *, pause: bool = False, greeting: bytes = b"") -> None:
        super().__init__()
        self.pause = pause
        self.greeting = greeting

    def connectionMade(self) -> None:
        self.events.append("made")
        if self.pause:
            self.transport.pauseProducing()
        if self.greeting:
            self.transport.write(self.greeting)
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        self.events.append("handshake")
        self.changed()


class Echo(Recorder):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class TlsCase(ConnectionCase):
    wiring = Wiring("tls")
    stock = False

    async def serve(self, context: SSL.Context, make: Any = Recorder, **options: Any) -> Any:
        endpoint = server_endpoint(
            reactor, HOST, 0, tls=context, stock=self.wiring.stock_server, **options
        )
        return await self.listen(make, endpoint)

    async def dial(
        self, port: Any, context: SSL.Context, name: str = "localhost", make: Any = Recorder
    ) -> Any:
        endpoint = client_endpoint(
            reactor,
            HOST,
            port.getHost().port,
            tls=ClientTls(context, name),
            stock=self.wiring.stock_client,
        )
        near = await connectProtocol(endpoint, make())
        self.addCleanup(self.end, near)
        return near

    async def refused(self, port: Any, context: SSL.Context, name: str = "localhost") -> Exception:
        """Connect in vain; the protocol must never be connected."""
        protocol = Recorder()
        with self.assertRaises(ConnectError) as caught:
            await self.dial(port, context, name, lambda: protocol)
        await turns()
        self.assertFalse(protocol.made)
        return caught.exception


class VerificationContract:
    """Whom a client believes; on ours and on Twisted's."""

    async def test_the_right_server(self) -> None:
        """A server with a certificate for the name, from a trusted issuer, is believed."""
        port, _ = await self.serve(server_tls([identity()]))
        context = client_context(ca_file=authority().cert_path)
        for name in ("localhost", "LOCALHOST", "localhost.", HOST):
            near = await self.dial(port, context, name)
            self.assertTrue(near.made)

    async def test_another_name(self) -> None:
        """The message says which names the certificate is for."""
        port, _ = await self.serve(server_tls([identity()]))
        context = client_context(ca_file=authority().cert_path)
        for name in ("other.example", "127.0.0.2", "sub.localhost"):
            error = await self.refused(port, context, name)
            self.assertIsInstance(error, TlsVerificationError)
            self.assertIn(f"it is for localhost, {HOST}, not for {name}", str(error))

    async def test_an_untrusted_issuer(self) -> None:
        """The message says whose issuer is not trusted; the system's roots are no exception."""
        port, _ = await self.serve(server_tls([identity()]))
        other = make_ca(name="Somebody else")
        for context in (client_context(ca_file=other.cert_path), client_context()):
            error = await self.refused(port, context)
            self.assertIsInstance(error, TlsVerificationError)
            self.assertIn("the issuer of CN=localhost (server) is not trusted", str(error))
            self.assertIn("expected localhost", str(error))

    async def test_an_expired_certificate(self) -> None:
        """The message says that it has expired."""
        expired = issue(authority(), ["localhost"], days=-1)
        port, _ = await self.serve(server_tls([expired]))
        error = await self.refused(port, client_context(ca_file=authority().cert_path))
        self.assertIn("CN=localhost (server) has expired", str(error))

    async def test_a_certificate_for_no_name(self) -> None:
        """A certificate without names is refused, whatever its subject says."""
        nameless = issue(authority(), [], common_name="localhost")
        port, _ = await self.serve(server_tls([nameless]))
        error = await self.refused(port, client_context(ca_file=authority().cert_path))
        self.assertIsInstance(error, TlsVerificationError)

    async def test_no_verification(self) -> None:
        """Who skips verification connects to anybody, under any name."""
        port, _ = await self.serve(server_tls([identity()]))
        near = await self.dial(port, client_context(insecure_skip_verify=True), "other.example")
        self.assertTrue(near.made)

    async def test_no_common_version(self) -> None:
        """A server that wants TLS 1.3 refuses a client that has 1.2 only."""
        port, _ = await self.serve(server_tls([identity()], ServerPolicy(min_version="1.3")))
        old = client_context(ca_file=authority().cert_path)
        old.set_options(SSL.OP_NO_TLSv1_3)
        error = await self.refused(port, old)
        self.assertIsInstance(error, TlsError)
        self.assertIn("protocol version", str(error))
        new = await self.dial(port, client_context(ca_file=authority().cert_path))
        self.assertEqual(new.transport.getHandle().get_protocol_version_name(), "TLSv1.3")

    async def test_a_client_certificate(self) -> None:
        """A server that asks for a certificate gets the client's."""
        asked = ClientAuth("require", (str(authority().cert_path),))
        port, factory = await self.serve(server_tls([identity()], ServerPolicy(client_auth=asked)))
        cert, key = issue(authority(), [], common_name="client 7")
        context = client_context(ca_file=authority().cert_path, cert_file=cert, key_file=key)
        near = await self.dial(port, context)
        near.transport.write(b"x")
        far = factory.built[0]
        await far.received(1)
        subject = far.transport.getPeerCertificate().to_cryptography().subject
        self.assertEqual(subject.rfc4514_string(), "CN=client 7")

    async def test_a_declined_protocol(self) -> None:
        """A client factory that builds nothing makes the caller hear of it."""

        class Declines(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> None:
                return None

        port, _ = await self.serve(server_tls([identity()]))
        endpoint = client_endpoint(
            reactor,
            HOST,
            port.getHost().port,
            tls=ClientTls(client_context(ca_file=authority().cert_path), "localhost"),
            stock=self.wiring.stock_client,
        )
        with self.assertRaises(NoProtocol):
            await endpoint.connect(Declines())

    async def test_a_server_that_speaks_no_tls(self) -> None:
        """The failure is one of TLS, and names the server."""
        port, _ = await self.listen(
            lambda: Listener(greeting=b"220 smtp.example\r\n" * 10),
            server_endpoint(reactor, HOST, 0, stock=self.wiring.stock_server),
        )
        error = await self.refused(port, client_context(ca_file=authority().cert_path))
        self.assertIsInstance(error, TlsError)
        self.assertIn("localhost", str(error))

    async def test_a_server_that_hangs_up(self) -> None:
        """A server that closes in the middle of the handshake is told apart from a refusal."""

        class HangsUp(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.loseConnection()

        port, _ = await self.listen(
            HangsUp, server_endpoint(reactor, HOST, 0, stock=self.wiring.stock_server)
        )
        error = await self.refused(port, client_context(ca_file=authority().cert_path))
        self.assertIsInstance(error, TlsError)


class OursVerificationTests(VerificationContract, TlsCase):
    wiring = Wiring("tls")


class StockVerificationTests(VerificationContract, TlsCase):
    wiring = Wiring("tls", stock_server=True, stock_client=True)


class NegotiationTests(TlsCase):
    async def test_interfaces(self) -> None:
        """The transport says that it is TLS, what was agreed, and whose certificate it saw."""
        far, near = await self.pair()
        for interface in (INegotiated, ISSLTransport):
            self.assertTrue(verifyObject(interface, near.transport))
        self.assertEqual(near.transport.negotiatedProtocol, b"http/1.1")
        certificate = near.transport.getPeerCertificate().to_cryptography()
        self.assertEqual(certificate.subject.rfc4514_string(), "CN=localhost")
        self.assertIsNone(far.transport.getPeerCertificate())
        self.assertEqual(far.transport.getHandle().get_servername(), b"localhost")

    async def test_the_servers_order_of_protocols(self) -> None:
        """Of the protocols that both know, the server takes the first of its own."""
        port, _ = await self.serve(
            server_tls([identity()], ServerPolicy(alpn=(b"h2", b"http/1.1")))
        )
        for offered, chosen in (
            ((b"http/1.1", b"h2"), b"h2"),
            ((b"http/1.1",), b"http/1.1"),
            ((b"spdy/3",), None),
            ((), None),
        ):
            context = client_context(ca_file=authority().cert_path, alpn=offered)
            near = await self.dial(port, context)
            self.assertEqual(near.transport.negotiatedProtocol, chosen)

    async def test_the_order_of_what_is_told(self) -> None:
        """A server's protocol is connected first, then the handshake is complete, then it reads."""
        far, near = await self.pair(Listener, Listener)
        near.transport.write(b"x")
        await far.received(1)
        self.assertEqual(far.events, ["made", "handshake"])
        self.assertEqual(near.events, ["made", "handshake"])

    async def test_writes_before_the_handshake_wait_for_it(self) -> None:
        """What a server writes as soon as it is connected arrives after the handshake."""
        text = b"welcome " * 100_000
        _, near = await self.pair(lambda: Listener(greeting=text))
        self.assertEqual(await near.received(len(text)), text)

    async def test_a_pause_before_the_handshake(self) -> None:
        """A pause holds back what is received, not the handshake."""
        far, near = await self.pair(lambda: Listener(pause=True))
        await far.until(lambda: "handshake" in far.events)
        near.transport.write(b"held")
        await turns(10)
        self.assertEqual(far.data, b"")
        far.transport.resumeProducing()
        self.assertEqual(await far.received(4), b"held")

    async def test_sessions_are_resumed(self) -> None:
        """A client that comes back saves the server a signature, in TLS 1.3 and in 1.2."""
        port, _ = await self.serve(server_tls([identity()]), Echo)
        address = (HOST, port.getHost().port)
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context = ssl.create_default_context(cafile=str(authority().cert_path))
            context.maximum_version = version
            session, reused = await deferToThread(visit, context, address, None)
            self.assertFalse(reused)
            _, reused = await deferToThread(visit, context, address, session)
            self.assertTrue(reused)

    async def test_a_renegotiation_in_the_middle(self) -> None:
        """A server that negotiates anew in TLS 1.2 loses no byte, whatever is being sent."""
        listening = socket.create_server((HOST, 0))
        self.addCleanup(listening.close)
        serving = deferToThread(negotiate_anew, listening)
        endpoint = client_endpoint(
            reactor,
            HOST,
            listening.getsockname()[1],
            tls=ClientTls(client_context(ca_file=authority().cert_path), "localhost"),
        )
        near = await connectProtocol(endpoint, Recorder())
        self.addCleanup(self.end, near)
        near.transport.write(b"x" * MEGABYTE)
        self.assertEqual(await near.received(11), b"beforeafter")
        near.transport.write(b"y" * MEGABYTE)
        near.transport.loseConnection()
        self.assertEqual(await serving, 2 * MEGABYTE)


def visit(context: ssl.SSLContext, address: Any, session: Any) -> tuple[Any, bool]:
    """Say one byte in a session, or in a new one; gives the session, and whether it was resumed."""
    with (
        socket.create_connection(address, timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as near,
    ):
        near.sendall(b"x")
        assert near.recv(1) == b"x"
        return near.session, bool(near.session_reused)


def negotiate_anew(listening: socket.socket) -> int:
    """Serve one client: handshake, text, another handshake, text; gives what it has sent."""
    raw, _ = listening.accept()
    with raw:
        far = server_tls([identity()]).open(raw)
        far.set_options(SSL.OP_NO_TLSv1_3)
        far.do_handshake()
        far.sendall(b"before")
        far.renegotiate()
        far.do_handshake()
        assert far.total_renegotiations() == 1
        far.sendall(b"after")
        count = 0
        while True:
            try:
                count += len(far.recv(65536))
            except SSL.ZeroReturnError:
                return count


class EndTests(TlsCase):
    async def test_close_notify(self) -> None:
        """A clean end is an end; the peer is told so."""
        far, near = await self.pair()
        far.transport.write(b"x" * MEGABYTE)
        far.transport.loseConnection()
        self.assertIs(await near.lost(), ConnectionDone)
        self.assertEqual(len(near.data), MEGABYTE)

    async def test_a_truncated_connection_is_lost(self) -> None:
        """An end of TCP without an end of TLS may hide that something is missing."""
        far, near = await self.pair()
        far.transport.write(b"half an answ")
        await near.received(12)
        far.transport.getHandle().sock_shutdown(socket.SHUT_WR)
        self.assertIs(await near.lost(), ConnectionLost)

    async def test_a_truncated_connection_while_paused(self) -> None:
        """A paused reader learns of a cut when it resumes, after what came before."""
        far, near = await self.pair()
        near.transport.pauseProducing()
        far.transport.write(b"half an answ")
        await turns()
        far.transport.abortConnection()
        await far.lost()
        await turns()
        near.transport.resumeProducing()
        self.assertIs(await near.lost(), ConnectionLost)
        self.assertEqual(near.data, b"half an answ")

    async def test_closing_before_the_handshake(self) -> None:
        """Without TLS there is nothing to close in order; what was written waits for it."""

        class Closes(Listener):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.loseConnection()

        _, near = await self.pair(lambda: Closes(greeting=b"bye"))
        self.assertEqual(await near.received(3), b"bye")
        self.assertIs(await near.lost(), ConnectionDone)
        port, factory = await self.serve(server_tls([identity()]), Closes)
        await self.refused(port, client_context(ca_file=authority().cert_path))
        self.assertIs(await factory.built[0].lost(), ConnectionAborted)

    async def test_ending_a_half_before_the_handshake(self) -> None:
        """The sending half is ended when there is TLS to end it with."""

        class EndsHalf(HalfCloser):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.write(b"all")
                self.transport.loseWriteConnection()

        far, near = await self.pair(EndsHalf, HalfCloser)
        await near.until(lambda: near.events == ["read"])
        self.assertEqual(near.data, b"all")
        near.transport.write(b"and back")
        self.assertEqual(await far.received(8), b"and back")

    async def test_no_handshake_in_time(self) -> None:
        """A client that connects and says nothing is cut off."""
        port, factory = await self.serve(server_tls([identity()]), handshake_timeout=0.05)
        with socket.create_connection((HOST, port.getHost().port)):
            far = await factory.accepted()
            self.assertIs(await far.lost(), HandshakeTimeout)

    async def test_half_a_handshake_in_time(self) -> None:
        """A client whose server says nothing gives up, within its time to connect."""
        port, factory = await self.listen(Recorder, server_endpoint(reactor, HOST, 0))
        endpoint = client_endpoint(
            reactor,
            HOST,
            port.getHost().port,
            timeout=0.05,
            tls=ClientTls(client_context(), "localhost"),
        )
        with self.assertRaises(ConnectTimeoutError):
            await endpoint.connect(Factory.forProtocol(Recorder))
        await factory.built[0].lost()

    async def test_cancelled_in_the_handshake(self) -> None:
        """Who stops waiting for a handshake leaves no connection behind."""
        port, factory = await self.listen(Recorder, server_endpoint(reactor, HOST, 0))
        endpoint = client_endpoint(
            reactor, HOST, port.getHost().port, tls=ClientTls(client_context(), "localhost")
        )
        accepted = Deferred.fromCoroutine(factory.accepted())
        connecting = endpoint.connect(Factory.forProtocol(Recorder))
        far = await accepted
        await far.received(1)
        connecting.cancel()
        self.failureResultOf(connecting)
        await far.lost()

    async def test_garbage_instead_of_a_handshake(self) -> None:
        """A client that speaks no TLS is told so, and its connection ends with OpenSSL's reason."""
        port, factory = await self.serve(server_tls([identity()]))
        with socket.create_connection((HOST, port.getHost().port)) as raw:
            far = await factory.accepted()
            raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIs(await far.lost(), SSL.Error)


class RecordTests(TlsCase):
    async def test_records_come_together(self) -> None:
        """A body is handed on in larger pieces than TLS carries it."""

        class Sizes(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.events.append(len(data))
                super().dataReceived(data)

        far, near = await self.pair(Sizes)
        near.transport.write(b"x" * (16 * MEGABYTE))
        await far.received(16 * MEGABYTE)
        self.assertGreater(max(far.events), 16384)

    async def test_openssl_keeps_no_bytes_back(self) -> None:
        """A reader that pauses after each piece misses nothing that the poller cannot signal."""

        class PausesItself(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.pauseProducing()
                assert self.transport.getHandle().pending() == 0
                super().dataReceived(data)

        far, near = await self.pair(PausesItself)
        for size in (16384, 1, 16384 * 40, 100):
            near.transport.write(b"x" * size)
        total = 16384 * 41 + 101
        while len(far.data) < total:
            before = len(far.data)
            far.transport.resumeProducing()
            await far.received(before + 1)

    async def test_an_end_behind_full_records(self) -> None:
        """What is read along with a body, such as its end, is acted on though nothing follows."""
        far, near = await self.pair()
        far.transport.write(b"x" * 16384)
        far.transport.loseConnection()
        self.assertIs(await near.lost(), ConnectionDone)
        self.assertEqual(len(near.data), 16384)

    async def test_an_end_behind_full_records_while_paused(self) -> None:
        """The end that was read along with the last record waits for the reader, too."""

        class PausesItself(Recorder):
            def dataReceived(self, data: bytes) -> None:
                self.transport.pauseProducing()
                super().dataReceived(data)

        far, near = await self.pair(HalfCloser, PausesItself)
        near.transport.pauseProducing()
        far.transport.write(b"x" * 16384)
        far.transport.loseWriteConnection()
        await far.until(lambda: far.events == ["write"])
        near.transport.resumeProducing()
        await near.received(16384)
        await turns(10)
        self.assertEqual(near.losses, [])
        near.transport.resumeProducing()
        self.assertIs(await near.lost(), ConnectionDone)

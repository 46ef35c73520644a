"""HTTP/2 as others' clients speak it, and what HTTP says beside frames."""

from __future__ import annotations

import shutil
import ssl

import httpx
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue

from a3s_gateway.protocol.http2 import frames
from tests.integration.test_http2 import HEAD, POST, Http2TestCase
from tests.integration.test_tls import TlsTestCase
from tests.support import OK, Peer, reactor


class RealClientTests(TlsTestCase):
    """HTTP/2 is agreed upon by ALPN, and spoken."""

    def url_of(self, scheme: str) -> str:
        return f"{scheme}://localhost:{self.gateways[-1].addresses()['web'].port}"

    async def test_httpx(self) -> None:
        """Bodies of many windows travel both ways, on one connection."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint=self.tls_block(), logged=True)
        trusting = ssl.create_default_context(cafile=str(self.ca.cert_path))

        def ask() -> list[tuple[str, int, bool]]:
            with httpx.Client(http1=False, http2=True, verify=trusting) as client:
                answers = [client.post(self.url_of("https"), content=BIG) for _ in range(3)]
                return [(a.http_version, a.status_code, a.content == BIG) for a in answers]

        asking = deferToThread(ask)
        peer = await backend.accept()
        for _ in range(3):
            await peer.head()
            self.assertTrue(await peer.bytes(len(BIG)) == BIG)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", BIG)
        self.assertEqual(await asking, [("HTTP/2", 200, True)] * 3)
        lines = await self.logged()
        self.assertEqual(
            [(line["protocol"], line["request_bytes"]) for line in lines],
            [("HTTP/2.0", 1_000_000)] * 3,
        )

    async def nghttp(self, *options: str) -> str:
        program = shutil.which("nghttp")
        assert program is not None, "Debian: apt-get install nghttp2-client"
        out, errors, code = await getProcessOutputAndValue(program, options, reactor=reactor)
        self.assertEqual((code, errors), (0, b""))
        return out.decode()

    async def test_nghttp(self) -> None:
        """By ALPN it gets what it asks for, many times at once."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, entrypoint=self.tls_block())
        said = await self.nghttp("-m8", "--no-verify-peer", "-v", self.url_of("https"))
        self.assertIn("The negotiated protocol: h2", said)
        self.assertEqual(said.count(":status: 200"), 8)

    async def test_nghttp_by_prior_knowledge_and_by_upgrade(self) -> None:
        """Both ways in on a cleartext port, which is the same as HTTP/1.1's."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        for options in ((), ("-u",)):
            said = await self.nghttp(*options, "-v", self.url_of("http"))
            self.assertIn(":status: 200", said)


class RealClientsOnTwistedsTransportsTests(RealClientTests):
    """The same on Twisted's own transports."""

    stock = True


class SemanticsTests(Http2TestCase):
    """What an answer has, and what comes before it."""

    async def asked(self, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> Peer:
        """Send a request; returns the backend's end, which has its head."""
        backend = await self.backend()
        await self.gateway(backend.url, shutdown_timeout="50ms")
        self.h2 = await self.http2()
        ends = method != b"POST"
        self.h2.ask(1, [(b":method", method), *HEAD[1:], *fields], ends=ends)
        peer = await backend.accept()
        self.seen = await peer.head()
        return peer

    async def test_a_body_is_asked_for_by_100(self) -> None:
        """The client hears of it only when the backend wants it."""
        peer = await self.asked(
            (b"expect", b"100-continue"), (b"content-length", b"4"), method=b"POST"
        )
        assert self.seen.find("expect") == "100-continue"
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await self.h2.head())[1][b":status"] == b"100"
        self.h2.data(1, b"body", ends=True)
        assert await peer.bytes(4) == b"body"
        peer.send(OK)
        assert (await self.h2.answer())[1][b":status"] == b"200"

    async def test_hints_come_before_the_answer(self) -> None:
        """103 is passed on with its fields; an expectation that nobody can meet is refused."""
        peer = await self.asked()
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        fields = (await self.h2.head())[1]
        assert (fields[b":status"], fields[b"link"]) == (b"103", b"</a>")
        peer.send(OK)
        assert (await self.h2.answer())[1][b":status"] == b"200"
        self.h2.ask(3, [*HEAD, (b"expect", b"wonders")], ends=False)
        assert (await self.h2.answer())[1][b":status"] == b"417"

    async def test_answers_without_a_body(self) -> None:
        """Their heads end the stream, and keep what they say of a length, but for 204."""
        cases = (
            (b"HEAD", b"200 OK\r\nContent-Length: 7", b"7"),
            (b"HEAD", b"200 OK\r\nTransfer-Encoding: chunked", None),
            (b"GET", b"204 No Content", None),
            (b"GET", b"304 Not Modified\r\nContent-Length: 9", b"9"),
        )
        backend = await self.backend()
        await self.gateway(backend.url)
        client = await self.http2()
        for number, (method, head, length) in enumerate(cases):
            client.ask(1 + 2 * number, [(b":method", method), *HEAD[1:]])
            peer = backend.peers[0] if backend.peers else await backend.accept()
            await peer.head()
            peer.send(b"HTTP/1.1 " + head + b"\r\n\r\n")
            _, flags, _, block = await client.until(frames.HEADERS)
            fields = dict(client.decoder.decode(block))
            assert flags & frames.END_STREAM
            assert (fields[b":status"], fields.get(b"content-length")) == (head[:3], length)

    async def test_what_takes_too_long_is_cut_off_at_a_shutdown(self) -> None:
        """A request without an answer gets one; an answer that has begun is reset."""
        peer = await self.asked()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await self.h2.head()
        self.h2.ask(3, POST, ends=False)
        await self.backends[0].accept()
        ending = self.gateways[-1].shutdown()
        resets, heads = {}, {}
        while True:
            kind, _, stream, payload = await self.h2.frame()
            if kind == frames.RST_STREAM:
                resets[stream] = frames.NUMBER.unpack(payload)[0]
            elif kind == frames.HEADERS:
                heads[stream] = dict(self.h2.decoder.decode(payload))
            elif kind == frames.GOAWAY and payload[:4] == frames.NUMBER.pack(3):
                break
        assert heads[3][b":status"] == b"503"
        self.h2.peer.close()
        await ending
        assert self.in_flight() == [0]


BIG = bytes(range(250)) * 4000

"""TCP clients that vanish before there is a tunnel leave nothing behind."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.certificates import issue, make_ca
from tests.integration.test_tcp import TcpTestCase
from tests.support import Blackhole, Peer, eventually, gather

TIMES = 40
AT_A_TIME = 25


def client_hello() -> bytes:
    """Return the first flight of a TLS client."""
    outgoing = ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="a.example"
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


class VanishingTests(TcpTestCase):
    """Descriptors and gauges are what they were before."""

    timeout = 60  # type: ignore[assignment]

    async def test_while_a_backend_is_connected_to(self) -> None:
        """The attempt is given up when the client resets: it does not go on to its timeout."""
        with Blackhole() as url:
            await self.tunnel(url.removeprefix("http://"))
            await self.nothing_is_left_of(self.reset_while_connecting)
            self.assertEqual({line["code"] for line in await self.logged()}, {"CLIENT_GONE"})

    async def test_within_our_tls_handshake(self) -> None:
        """Before it, with half a ClientHello, and when ours is the next word; closed or reset."""
        cert, key = issue(make_ca(), ["a.example"])
        block = f'tls {{\n cert_file = "{cert}"\n key_file = "{key}"\n }}'
        await self.tunnel(await self.backend(), entrypoint=block)
        await self.nothing_is_left_of(*(
            lambda said=said, end=end: self.said(said, end)  # type: ignore[misc]
            for said in (b"", client_hello()[:50], client_hello())
            for end in (Peer.close, Peer.reset)
        ))  # fmt: skip

    # -- the ways of a client

    async def reset_while_connecting(self) -> None:
        client = await self.client()
        client.send(b"hello")
        await eventually(self.in_flight, "an attempt")
        client.reset()

    async def said(self, words: bytes, end: Callable[[Peer], None]) -> None:
        client = await self.client()
        client.send(words)
        if len(words) > 100:  # it is whole
            await client.until(lambda: client.total, "a ServerHello")
        end(client)

    # -- what there is

    async def nothing_is_left_of(self, *ways: Callable[[], Awaitable[None]]) -> None:
        """Go each way, then many times, and compare."""
        await gather(*(way() for way in ways))
        await self.everybody_has_gone()
        before = self.descriptors(), self.gauges()
        for _ in range(TIMES):
            await gather(*(ways[n % len(ways)]() for n in range(AT_A_TIME)))
        await self.everybody_has_gone()
        self.assertEqual((self.descriptors(), self.gauges()), before)

    async def everybody_has_gone(self) -> None:
        await eventually(lambda: all(peer.end for peer in self.everyone), "the clients to be gone")
        await self.all_is_over()

    def descriptors(self) -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    def gauges(self) -> list[str]:
        """Every gauge that the gateway's traffic moves."""
        text = b"".join(self.gateways[-1].metrics().text()).decode()
        names = {line.split(" ")[2] for line in text.splitlines() if line.endswith(" gauge")}
        told = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] in names]
        return [line for line in told if line.startswith("gateway_")]

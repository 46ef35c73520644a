"""What has ended goes without the garbage collector, which does not look at what was frozen."""

from __future__ import annotations

import gc
from collections import Counter

from tests.http2 import Http2TestCase
from tests.support import GET, Backend, eventually


class GarbageTests(Http2TestCase):
    async def garbage_of(self, answer: bytes | None) -> Counter[str]:
        """Count what of ours is left in cycles after some exchanges, each on new connections."""
        return await self.garbage_behind(await self.backend(answer), answer)

    async def garbage_behind(self, backend: Backend, answer: bytes | None) -> Counter[str]:
        gateway = await self.gateway(
            backend.url, balancing='connect_timeout = "1s"\n pool { max_idle_connections = 0 }'
        )
        if answer is None:
            await backend.port.stopListening()
            self.ports.remove(backend.port)
        for round_ in range(2):
            if round_:
                gc.collect()
                gc.set_debug(gc.DEBUG_SAVEALL)
            for _ in range(10):
                client = await self.client()
                client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                await client.response()
                await client.ended()
        await eventually(lambda: not gateway.health().active_connections)
        try:
            gc.collect()
            kinds = Counter(type(each).__module__ for each in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        return Counter({k: n for k, n in kinds.items() if k.startswith("a3s_gateway.")})

    async def test_connections_that_end(self) -> None:
        """Neither a client's nor a backend's leaves a cycle behind."""
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
        self.assertEqual(await self.garbage_of(answer), Counter())

    async def test_answers_that_break_a_rule(self) -> None:
        """An error's traceback holds frames, and no frame may hold the error."""
        self.assertEqual(await self.garbage_of(b"HTTP/1.1 nonsense\r\n\r\n"), Counter())

    async def test_backends_that_cannot_be_connected_to(self) -> None:
        """Nor do attempts that fail."""
        self.assertEqual(await self.garbage_of(None), Counter())

    async def test_streams_and_connections_of_http_2(self) -> None:
        """Neither an exchange nor a connection that served it."""
        self.assertEqual(await self.garbage_behind(await self.h2_backend(), b""), Counter())

    async def test_streams_that_are_reset(self) -> None:
        """Nor one that a backend has broken off."""
        backend = await self.h2_backend()
        backend.resets = True
        self.assertEqual(await self.garbage_behind(backend, b""), Counter())

"""A fault of the gateway itself costs one exchange, whoever it befalls."""

from __future__ import annotations

from a3s_gateway.body import Body
from a3s_gateway.headers import EMPTY_HEADERS
from a3s_gateway.http import Exchange, Request, Response
from tests.support import GET, OK, GatewayTestCase


class Faulty:
    """A resource whose answers cannot be written, or that never gets so far."""

    tunnels = None

    def __init__(self, reason: str) -> None:
        self.reason = reason

    async def handle(self, request: Request) -> Response:
        if not self.reason:
            raise ZeroDivisionError
        return Response(200, EMPTY_HEADERS, Body.of(b"x"), self.reason)

    def refuse(self, exchange: Exchange) -> None:
        raise NotImplementedError


class OurOwnFaultsTests(GatewayTestCase):
    async def answer_of(self, resource: Faulty) -> bytes:
        backend = await self.backend(OK)
        gateway = await self.gateway(backend.url)
        [listener] = gateway._listeners()  # noqa: SLF001 - there is no other way to be at fault
        listener.factory.resource, good = resource, listener.factory.resource
        client = await self.client()
        client.send(GET)
        answer = await client.response()
        listener.factory.resource = good
        self.assertEqual((await self.exchange(GET)).status, 200)
        self.assertEqual((answer.status, answer.error["code"]), (500, "INTERNAL"))
        return answer.body

    async def test_a_handler_that_raises(self) -> None:
        """The client is told that it was us, and nothing of what it was."""
        body = await self.answer_of(Faulty(""))
        self.assertNotIn(b"Zero", body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_an_answer_that_cannot_be_written(self) -> None:
        """What no header can hold becomes a 500 as well."""
        await self.answer_of(Faulty("\N{SNOWMAN}"))
        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)

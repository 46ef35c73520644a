"""Middlewares of third parties, from the entry point to the backend."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred

from a3s_gateway import plugin
from a3s_gateway.body import Body, BodyTooLargeError
from a3s_gateway.config.kinds import TEXT, duration, integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key
from a3s_gateway.effects import Effects
from a3s_gateway.errors import GatewayError
from a3s_gateway.headers import Header, Headers
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.plugin import Plugin, plugins
from a3s_gateway.transport.names import Names
from tests.support import GET, OK, GatewayTestCase, eventually, reactor

BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"


# -- what somebody else might write


@frozen(kw_only=True)
class StampConfig(Settings):
    """Writes into the request and into the answer."""

    text: str = key(TEXT, "What is written.", example='"x"')


@define(eq=False)
class Stamp:
    config: StampConfig
    effects: Effects

    async def __call__(self, request: Request, next: Handler) -> Response:
        begin = self.effects.now()
        headers = request.headers.plus(Header.of("X-Stamp", self.config.text))
        response = await next(evolve(request, headers=headers, path="/stamped"))
        assert self.effects.now() >= begin
        return evolve(
            response, headers=response.headers.plus(Header.of("X-Stamped-By", self.config.text))
        )


@frozen(kw_only=True)
class DoorConfig(Settings):
    """Lets those in who know the word."""

    word: str = key(TEXT, "The word.", example='"please"')


@define(eq=False)
class Door:
    config: DoorConfig

    async def __call__(self, request: Request, next: Handler) -> Response:
        match request.headers.find("word"):
            case None:
                return Response(401, Headers.of(("X-Door", "closed")), Body.of(b"say the word\n"))
            case self.config.word:
                return await next(request)
            case "bug":
                message = "a fault of the middleware"
                raise ValueError(message)
            case _:
                raise GatewayError("BAD_REQUEST", "wrong word", "Wrong word")


@frozen(kw_only=True)
class ReaderConfig(Settings):
    """Reads the whole body before it is passed on."""

    limit: int = key(integer(1), "Bytes.", default=10)


@define(eq=False)
class Reader:
    config: ReaderConfig

    async def __call__(self, request: Request, next: Handler) -> Response:
        try:
            data = await request.body.read(self.config.limit)
        except BodyTooLargeError:
            return Response(413, Headers(), Body.of(b""))
        return await next(evolve(request, body=Body.of(data.upper())))


@frozen(kw_only=True)
class PatienceConfig(Settings):
    """Tries again after a while."""

    wait: float = key(duration(), "How long.", default=0.001)


@define(eq=False)
class Patience:
    config: PatienceConfig
    effects: Effects
    waits: int = field(default=0, init=False)

    async def __call__(self, request: Request, next: Handler) -> Response:
        response = await next(request)
        if response.status != 503:
            return response
        response.body.close()
        self.waits += 1
        try:
            await self.effects.sleep(self.config.wait)
        finally:
            self.waits -= 1
        return await next(request)


class Installed:
    """What an entry point is to whoever looks it up."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin

    def load(self) -> Plugin:
        return self.plugin


class MiddlewareTests(GatewayTestCase):
    """Each is installed beside the gateway, and named in its configuration."""

    def setUp(self) -> None:
        super().setUp()
        self.patiences: list[Patience] = []
        found = [
            Installed(Plugin("middleware", name, config, build))
            for name, config, build in (
                ("stamp", StampConfig, Stamp),
                ("door", DoorConfig, lambda config, _: Door(config)),
                ("reader", ReaderConfig, lambda config, _: Reader(config)),
                ("patience", PatienceConfig, self.make_patience),
            )
        ]
        self.patch(plugin, "entry_points", lambda group: found)
        plugins.cache_clear()
        self.addCleanup(plugins.cache_clear)

    def make_patience(self, config: PatienceConfig, effects: Effects) -> Patience:
        self.patiences.append(Patience(config, effects))
        return self.patiences[-1]

    async def test_advice_around_the_backend(self) -> None:
        """It changes what goes on and what comes back; the order is the one written."""
        backend = await self.backend(OK)
        await self.through(backend.url, 'stamp: text = "a"', 'stamp: text = "b"')
        answer = await self.exchange(GET)
        assert backend.requests[0].all("x-stamp") == ["a", "b"]
        assert backend.requests[0].first == "GET /stamped HTTP/1.1"
        assert answer.head.all("x-stamped-by") == ["b", "a"]
        assert answer.body == b"ok"

    async def test_an_answer_of_its_own(self) -> None:
        """The backend never hears of the request, and the log has the status."""
        backend = await self.backend(OK)
        await self.through(backend.url, 'stamp: text = "a"', 'door: word = "w"', logged=True)
        answer = await self.exchange(GET)
        assert (answer.status, answer.body) == (401, b"say the word\n")
        assert answer.head.find("x-door") == "closed"
        assert answer.head.find("x-stamped-by") == "a"
        welcome = await self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nWord: w\r\n\r\n")
        assert welcome.body == b"ok"
        lines = await self.logged()
        assert [(line["status"], line["attempts"]) for line in lines] == [(401, 0), (200, 1)]

    async def test_a_fault_that_it_raises_is_an_answer(self) -> None:
        """With its code, as from anywhere else in the gateway."""
        await self.through("http://127.0.0.1:1", 'door: word = "w"')
        answer = await self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nWord: x\r\n\r\n")
        assert (answer.status, answer.error["code"]) == (400, "BAD_REQUEST")
        assert answer.error["error"] == "Wrong word"

    async def test_an_error_in_it_is_not_the_clients_to_read(self) -> None:
        """Status 500 without a word of what went wrong; the log has the traceback."""
        await self.through("http://127.0.0.1:1", 'door: word = "w"')
        answer = await self.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nWord: bug\r\n\r\n")
        assert (answer.status, answer.error["code"]) == (500, "MIDDLEWARE_FAILED")
        assert b"fault of the middleware" not in answer.body
        (failure,) = self.flushLoggedErrors(ValueError)
        assert "a fault of the middleware" in failure.getErrorMessage()

    async def test_a_body_that_is_read(self) -> None:
        """What is passed on has a length of its own."""
        backend = await self.backend()
        await self.through(backend.url, "reader:")
        client = await self.client()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head, b"3\r\nabc\r\n")
        client.send(b"2\r\nde\r\n0\r\n\r\n")
        there = await backend.accept()
        received = await there.head()
        assert received.find("content-length") == "5"
        assert received.find("transfer-encoding") is None
        assert await there.bytes(5) == b"ABCDE"
        there.send(OK)
        assert (await client.response()).status == 200

    async def test_a_client_that_waits_to_be_asked_for_its_body(self) -> None:
        """The gateway asks, since it needs the body itself; the backend is not asked again."""
        backend = await self.backend()
        await self.through(backend.url, "reader:")
        client = await self.client()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        assert (await client.head()).status == 100
        assert backend.peers == []
        client.send(b"hello")
        there = await backend.accept()
        assert (await there.head()).find("expect") is None
        assert await there.bytes(5) == b"HELLO"
        there.send(OK)
        assert (await client.response()).status == 200

    async def test_a_body_that_is_too_large_to_be_read(self) -> None:
        """It is refused as soon as that is known, and the backend never hears of it."""
        backend = await self.backend(OK)
        await self.through(backend.url, "reader: limit = 4")
        answer = await self.exchange(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        )
        assert answer.status == 413
        assert backend.requests == []

    async def test_a_second_try(self) -> None:
        """Calling the rest of the chain twice asks twice; only the last answer is sent."""
        backend = await self.backend()
        await self.through(backend.url, "patience:", logged=True)
        client = await self.client()
        client.send(GET)
        there = await backend.accept()
        await there.head()
        there.send(BUSY)
        await there.head()
        there.send(OK)
        assert (await client.response()).body == b"ok"
        assert self.in_flight() == [0]
        (line,) = await self.logged()
        assert (line["status"], line["attempts"]) == (200, 2)

    async def test_a_client_that_goes_while_it_waits(self) -> None:
        """The wait ends with it, and nobody is asked a second time."""
        backend = await self.backend(BUSY)
        await self.through(backend.url, 'patience: wait = "1h"')
        client = await self.client()
        client.send(GET)
        await eventually(lambda: self.patiences[0].waits == 1, "it waits")
        client.reset()
        await eventually(lambda: self.patiences[0].waits == 0, "it waits no more")
        assert len(backend.requests) == 1
        assert self.in_flight() == [0]

    async def test_two_waits_in_a_row_do_not_mix(self) -> None:
        """Each request has its own."""
        backend = await self.backend(BUSY)
        await self.through(backend.url, "patience:", "patience:")
        answers = [await self.exchange(GET) for _ in range(2)]
        assert [answer.status for answer in answers] == [503, 503]
        assert len(backend.requests) == 8


class EffectsTests(GatewayTestCase):
    """The world that they are given."""

    async def test_sleep_can_be_awaited_by_anybody(self) -> None:
        """Also where Twisted drives the coroutine."""
        effects = Effects.on(reactor)
        begin = effects.now()

        async def wait() -> None:
            await effects.sleep(0.01)

        waited: Deferred[None] = Deferred.fromCoroutine(wait())
        await waited
        assert effects.now() - begin >= 0.009
        choose: Callable[[], float] = effects.random
        assert 0 <= choose() < 1

    async def test_resolve_can_be_awaited_by_anybody(self) -> None:
        """And tells addresses as text; of what is one already, the same."""
        effects = Effects.on(reactor, resolve=Names(reactor).resolve)

        async def resolve(host: str) -> list[str]:
            return await effects.resolve(host)

        assert "127.0.0.1" in await Deferred.fromCoroutine(resolve("localhost"))
        assert await Deferred.fromCoroutine(resolve("::1")) == ["::1"]

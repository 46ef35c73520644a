"""Middlewares around a handler, and what is counted on the way."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from a3s_gateway.body import NO_BODY
from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.headers import EMPTY_HEADERS
from a3s_gateway.http import Exchange, Handler, Request, Response
from a3s_gateway.observability.counters import Invocations, RouteCounters
from a3s_gateway.observability.observer import ExchangeObserver
from a3s_gateway.runtime.chain import chain
from a3s_gateway.task import Task


@define(eq=False)
class Told:
    """A clock and a diary."""

    time: float = 100.0
    order: list[str] = field(factory=list)

    def now(self) -> float:
        return self.time

    def step(self, name: str, takes: float = 0.0, times: int = 1, *, refuses: bool = False) -> Step:
        return Step(self, name, takes, times, refuses)

    async def endpoint(self, request: Request) -> Response:
        self.order.append("endpoint")
        self.time += 10
        return Response(200, EMPTY_HEADERS, NO_BODY)


@define(eq=False)
class Step:
    """Takes its time, then goes on, perhaps more than once, or refuses."""

    told: Told
    name: str
    takes: float
    times: int
    refuses: bool

    async def __call__(self, request: Request, next: Handler) -> Response:
        self.told.order.append(f"{self.name} in")
        self.told.time += self.takes
        if self.refuses:
            return to_response(GatewayError("NO_HEALTHY_BACKEND"), request)
        for _ in range(self.times):
            response = await next(request)
        self.told.order.append(f"{self.name} out")
        return response


def ask(handler: Handler, told: Told) -> Exchange:
    """Send a request through, and let the exchange end as an entrypoint does."""
    exchange = Exchange("web", "192.0.2.1", told.time)
    request = Request(
        "GET", "/", None, "a", "a", 11, "http", EMPTY_HEADERS, NO_BODY, "192.0.2.1", exchange
    )
    answers: list[Response] = []
    failures: list[BaseException] = []
    Task(handler(request), answers.append, failures.append).start()  # type: ignore[arg-type]
    assert not failures
    exchange.status = answers[0].status
    exchange.first_byte_at = told.time
    observe(exchange, told.now)
    return exchange


def observe(exchange: Exchange, now: Callable[[], float]) -> None:
    observer = ExchangeObserver(RouteCounters(), None, lambda _: None, now, now)
    observer.alarm = NoAlarm()
    observer.observe(None, exchange)
    observer.flush()


class NoAlarm:
    def set(self, delay: float) -> None:
        pass

    def cancel(self) -> None:
        pass


def test_the_first_middleware_listed_sees_a_request_first() -> None:
    """And the answer last."""
    told = Told()
    steps = [(told.step(name), Invocations()) for name in ("outer", "inner")]
    ask(chain(steps, told.endpoint, told.now), told)
    assert told.order == ["outer in", "inner in", "endpoint", "inner out", "outer out"]


def test_without_middlewares_there_is_the_handler_alone() -> None:
    """Nothing is wrapped around it."""
    told = Told()
    endpoint = told.endpoint
    assert chain([], endpoint, told.now) is endpoint


def test_each_step_is_timed_until_it_passes_the_request_on() -> None:
    """What the next one, or the backend, takes is not its own."""
    told, outer, inner = Told(), Invocations(), Invocations()
    steps = [(told.step("outer", 2), outer), (told.step("inner", 3), inner)]
    ask(chain(steps, told.endpoint, told.now), told)
    assert [(each.count, each.refused, each.duration.sum) for each in (outer, inner)] == [
        (1, 0, 2.0), (1, 0, 3.0),
    ]  # fmt: skip


def test_who_answers_itself_has_refused() -> None:
    """Those before it have not, and those after it were not asked."""
    told, first, second, third = Told(), Invocations(), Invocations(), Invocations()
    steps = [
        (told.step("first", 1), first),
        (told.step("second", 2, refuses=True), second),
        (told.step("third"), third),
    ]
    ask(chain(steps, told.endpoint, told.now), told)
    assert [(each.count, each.refused) for each in (first, second, third)] == [
        (1, 0), (1, 1), (0, 0),
    ]  # fmt: skip
    assert second.duration.sum == 2.0


def test_who_tries_again_is_timed_once() -> None:
    """What it waits for between two tries is the backend's time; inner steps count each try."""
    told, retry, inner = Told(), Invocations(), Invocations()
    steps = [(told.step("retry", 1, times=3), retry), (told.step("inner", 2), inner)]
    exchange = ask(chain(steps, told.endpoint, told.now), told)
    assert (retry.count, retry.duration.count, retry.duration.sum) == (1, 1, 1.0)
    assert (inner.count, inner.duration.count, inner.duration.sum) == (3, 3, 6.0)
    assert exchange.step is None


def test_who_is_waited_for_when_the_client_leaves_has_not_refused() -> None:
    """There was no answer."""
    told, invocations = Told(), Invocations()
    exchange = Exchange("web", "192.0.2.1", told.time)
    exchange.step, exchange.step_at = invocations, told.time
    observe(exchange, told.now)
    assert invocations.refused == 0

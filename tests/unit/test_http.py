"""Exchanges, and middlewares around a handler."""

from __future__ import annotations

from a3s_gateway.body import NO_BODY
from a3s_gateway.headers import EMPTY_HEADERS
from a3s_gateway.http import Exchange, Handler, Request, Response, compose
from a3s_gateway.task import Task


def exchange() -> Exchange:
    return Exchange("web", "192.0.2.1", 0.0)


def request(query: str | None = None) -> Request:
    return Request(
        "GET", "/a", query, "a", "a", 11, "http", EMPTY_HEADERS, NO_BODY, "192.0.2.1", exchange()
    )


def test_an_exchange_is_closed_once_and_in_reverse() -> None:
    """What was entered last is left first."""
    order: list[str] = []
    ours = exchange()
    ours.on_close(lambda: order.append("generation"))
    ours.on_close(lambda: order.append("lease"))
    ours.close()
    ours.close()
    assert order == ["lease", "generation"]


def test_what_is_added_while_closing_is_closed_too() -> None:
    """Nothing is forgotten in an exchange that ends while it is being built."""
    order: list[str] = []
    ours = exchange()
    ours.on_close(lambda: ours.on_close(lambda: order.append("late")))
    ours.close()
    assert order == ["late"]


def test_the_target_is_path_and_query() -> None:
    """An empty query is not the same as none."""
    assert [request(query).target for query in (None, "", "b=c")] == ["/a", "/a?", "/a?b=c"]


def test_the_first_middleware_listed_sees_a_request_first() -> None:
    """And the answer last."""
    order: list[str] = []

    class Step:
        def __init__(self, name: str) -> None:
            self.name = name

        async def __call__(self, request: Request, next: Handler) -> Response:
            order.append(f"{self.name} in")
            response = await next(request)
            order.append(f"{self.name} out")
            return response

    async def endpoint(request: Request) -> Response:
        order.append("endpoint")
        return Response(200, EMPTY_HEADERS, NO_BODY)

    answers: list[Response] = []
    handler = compose([Step("outer"), Step("inner")], endpoint)
    Task(handler(request()), answers.append, order.append).start()  # type: ignore[arg-type]
    assert [answer.status for answer in answers] == [200]
    assert order == ["outer in", "inner in", "endpoint", "inner out", "outer out"]


def test_without_middlewares_there_is_the_handler_alone() -> None:
    """Nothing is wrapped around it."""

    async def endpoint(request: Request) -> Response:
        raise NotImplementedError

    assert compose([], endpoint) is endpoint

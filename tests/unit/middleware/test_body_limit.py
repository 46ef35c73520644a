"""Large bodies, told and untold."""

from __future__ import annotations

import pytest
from attrs import evolve

from a3s_gateway.body import Body
from a3s_gateway.errors import GatewayError
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.http import Request, Response
from a3s_gateway.middleware.body_limit import BodyLimit, BodyLimitConfig, Limited
from a3s_gateway.task import Task
from a3s_gateway.testing import ask, request, response
from tests.bodies import Sink, Source

TEN = BodyLimit(BodyLimitConfig(max_body_bytes=10))


@pytest.mark.parametrize(("size", "status"), [(0, 200), (10, 200), (11, 413)])
def test_a_length_that_is_told(size: int, status: int) -> None:
    """Is judged before the backend hears of the request."""
    answer = ask(TEN, request(method="POST", body=bytes(size)))
    assert (answer.status, answer.forwarded is not None) == (status, status == 200)
    if status == 413:
        assert answer.code == "BODY_TOO_LARGE"
        assert b'"error": "Request body too large"' in answer.body


def test_nothing_is_told_to_the_backend() -> None:
    """No field of ours reaches it."""
    answer = ask(TEN, request(method="POST", body=b"x"))
    assert answer.forwarded is not None
    assert len(answer.forwarded.headers) == 0


def test_a_length_that_is_not_told() -> None:
    """What fits goes on as it comes, with its trailers; not a byte beyond the limit does."""
    inner, backend = Body(Source()), Sink()
    Limited(inner, 10).body.pipe(backend)
    inner.feed(b"12345")
    inner.feed(b"67890")
    assert (backend.got, backend.end) == (b"1234567890", None)
    trailers = Headers.of(("X-Sum", "1"))
    inner.end(trailers)
    assert backend.end is trailers


def test_one_that_is_too_large() -> None:
    """Fails where it crosses the limit, and stays so."""
    inner, backend = Body(Source()), Sink()
    Limited(inner, 10).body.pipe(backend)
    inner.feed(b"12345")
    inner.feed(b"678901")
    assert backend.got == b"12345"
    assert isinstance(backend.end, GatewayError)
    assert backend.end.fault.status == 413
    inner.feed(b"more")
    inner.end(EMPTY_HEADERS)
    assert backend.got == b"12345"


def test_one_that_has_come_already() -> None:
    """Is refused at once."""
    inner = Body(Source())
    inner.feed(bytes(11))
    asking = evolve(request(method="POST"), body=inner)
    answer = ask(TEN, asking)
    assert (answer.status, answer.forwarded) == (413, None)


def test_a_client_is_held_back_as_before() -> None:
    """And told when nobody wants the rest."""
    client = Source()
    body = Limited(Body(client), 10).body
    body.pause()
    body.resume()
    body.close()
    assert client.said == ["pause", "resume", "cancel"]


def test_a_failure_of_the_client_is_passed_on() -> None:
    """As itself."""
    inner, backend = Body(Source()), Sink()
    Limited(inner, 10).body.pipe(backend)
    error = ValueError("gone")
    inner.fail(error)
    assert backend.end is error


def test_a_client_that_waits_to_be_asked() -> None:
    """Is asked by whoever reads, or by the backend."""
    inner = Body(Source())
    inner.ask = lambda: None
    assert Limited(inner, 10).body.ask is inner.ask


def test_a_tunnel_has_no_body() -> None:
    """What follows a change of protocol is not touched."""
    inner = Body()
    seen: list[Request] = []

    async def backend(onward: Request) -> Response:
        seen.append(onward)
        return response()

    asking = evolve(request(), body=inner, upgrade="websocket")
    Task(TEN(asking, backend), lambda _: None, seen.append).start()  # type: ignore[arg-type]
    assert seen[0].body is inner

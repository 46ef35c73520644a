"""
Trying a middleware without a socket, a gateway or a reactor.

    answer = ask(Tenant(TenantConfig(header="X-Tenant"), effects()), request("/", X_Tenant="a"))
    assert answer.status == 200
    assert answer.forwarded.path == "/a/"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs
from attrs import define, field, frozen

from a3s_gateway.body import NO_BODY, Body
from a3s_gateway.effects import Effects
from a3s_gateway.errors import GatewayError, to_response
from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Middleware, Request, Response
from a3s_gateway.task import Task

CLIENT = "192.0.2.1"  # of `request`, unless another is asked for; RFC 5737


@define(eq=False)
class Clock:
    """The time that `effects` tells: it passes by sleeping, and when a test says so."""

    time: float = 1000.0
    naps: list[float] = field(factory=list, init=False)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once; `naps` tells how often, and for how long."""
        self.naps.append(seconds)
        self.time += seconds


def effects(clock: Clock | None = None, random: float = 0.5, **others: Any) -> Effects:
    """
    Make a world in which nothing happens by itself.

    Args:
        clock: Its time.
        random: What `Effects.random` always returns.
        others: Further functions of `Effects`; one that is not given fails where it is called.

    """
    clock = clock or Clock()
    given = {
        "now": lambda: clock.time,
        "sleep": clock.sleep,
        "random": lambda: random,
        "wall": lambda: 0.0,
        "name": "tested",
        **others,
    }
    names = [each.name for each in attrs.fields(Effects)]
    return Effects(**{name: given.get(name, _Missing(name)) for name in names})


@frozen
class _Missing:
    name: str

    def __call__(self, *_: object, **__: object) -> Any:
        raise AssertionError(f"this test gives no {self.name}: effects({self.name}=...)")


def request(
    target: str = "/",
    *,
    method: str = "GET",
    body: bytes = b"",
    client: str = CLIENT,
    host: str = "example.com",
    fields: Iterable[tuple[str, str]] = (),
    **headers: str,
) -> Request:
    """
    Make a request as an entrypoint does.

    Args:
        target: The path, canonical, and perhaps a query.
        method: As sent.
        body: All of it.
        client: Its address.
        host: What it asked for.
        fields: Header fields whose names or order matter.
        headers: Others, with `_` for `-`: `X_Tenant="a"`.

    """
    path, mark, query = target.partition("?")
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(
        method, path, query if mark else None, host, host, 11, "http",
        Headers.of(*fields, *named), Body.of(body) if body else NO_BODY, client,
        Exchange("web", client, 0.0, client, "0" * 32),
    )  # fmt: skip


def response(status: int = 200, body: bytes = b"ok", **headers: str) -> Response:
    """Make an answer as a backend gives it; `_` stands for `-` in the names of fields."""
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Response(status, Headers.of(*fields), Body.of(body))


@frozen(eq=False)
class Answer:
    """
    What the client gets, and what the backend got.

    Attributes:
        code: Of the gateway's own answers, else empty.
        forwarded: The request that reached the backend, the last one if it was tried again; None
            if none did.

    """

    status: int
    headers: Headers
    body: bytes
    code: str
    forwarded: Request | None


def ask(
    middleware: Middleware,
    request: Request,
    backend: Callable[[Request], Response] = lambda _: response(),
) -> Answer:
    """
    Let a request pass a middleware, with a backend behind it.

    Args:
        middleware: Anything that is called as one.
        request: Of `request`, mostly.
        backend: What it answers; it may raise `GatewayError` as the gateway does.

    Raises:
        AssertionError: The middleware waits for something that does not come.

    """
    seen: list[Request] = []
    results: list[Answer] = []
    errors: list[BaseException] = []

    async def last(onward: Request) -> Response:
        seen.append(onward)
        return backend(onward)

    async def whole() -> Answer:
        try:
            answered = await middleware(request, last)
        except GatewayError as error:
            answered = to_response(error, request)
        data = b"".join([chunk async for chunk in answered.body])
        code = answered.fault.code if answered.fault else ""
        return Answer(answered.status, answered.headers, data, code, seen[-1] if seen else None)

    task = Task(whole(), results.append, errors.append)
    task.start()
    if errors:
        raise errors[0]
    if not results:
        task.cancel()
        raise AssertionError("the middleware waits for something that does not come")
    request.exchange.close()
    return results[0]

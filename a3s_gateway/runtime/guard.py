"""A middleware that others have written, kept from doing harm where it fails or is slow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from a3s_gateway.config.middleware import PluginSettings
from a3s_gateway.errors import GatewayError, ProtocolError
from a3s_gateway.http import Handler, Middleware, Request, Response
from a3s_gateway.task import Task, Waiter

Complain = Callable[[str, Exception], None]  # with the middleware's name


class TooSlowError(Exception):
    """A middleware neither passed a request on nor answered it in time."""


@frozen(eq=False)
class Guard:
    """
    Answers by policy where the middleware inside fails.

    Args:
        middleware: What may fail.
        name: As the configuration calls it.
        settings: What to do then, and how long it may take.
        sleep: Waits for some seconds.
        complain: Hears of each failure.

    """

    middleware: Middleware
    name: str
    settings: PluginSettings
    sleep: Callable[[float], Awaitable[None]]
    complain: Complain

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Ask it; where it fails before it passed the request on, the policy decides."""
        attempt = _Attempt(self, request, next)
        try:
            return await attempt.run()
        except (GatewayError, ProtocolError):
            raise  # meant, by itself or by what comes after it
        except Exception as error:  # noqa: BLE001 - a cancelled request ends by GeneratorExit
            self.complain(self.name, error)
            may_pass = self.settings.on_error == "open" and not attempt.went_on
        if may_pass and not request.body.begun:
            return await next(request)
        raise GatewayError("MIDDLEWARE_FAILED", self.name)


class _Attempt:
    """One request inside the middleware: it has only so long to get out."""

    def __init__(self, guard: Guard, request: Request, next: Handler) -> None:
        self.went_on = False
        self._guard = guard
        self._next = next
        self._waiter: Waiter[Response] = Waiter()
        asked = guard.middleware(request, self._onward)
        self._inside: Task[Response] | None = Task(
            asked, self._waiter.resolve, self._failed
        )  # fmt: skip
        self._watch: Task[None] | None = None

    async def run(self) -> Response:
        assert self._inside is not None
        self._inside.start()
        if not self._waiter.is_set and not self.went_on:
            self._watch = Task(self._expire(), _nothing, _nothing)
            self._watch.start()
        try:
            return await self._waiter
        finally:
            self._end()

    def _onward(self, request: Request) -> Awaitable[Response]:
        self.went_on = True
        self._stop_watching()
        return self._next(request)

    def _failed(self, error: BaseException) -> None:
        self._waiter.reject(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    async def _expire(self) -> None:
        limit = self._guard.settings.time_limit
        await self._guard.sleep(limit)
        self._watch = None
        inside, self._inside = self._inside, None
        if inside is not None:
            inside.cancel()
        self._waiter.reject(TooSlowError(f"it did nothing for {limit:g} seconds"))

    def _stop_watching(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()

    def _end(self) -> None:
        self._stop_watching()
        inside, self._inside = self._inside, None
        if inside is not None:
            inside.cancel()


def _nothing(_: object) -> None:
    pass

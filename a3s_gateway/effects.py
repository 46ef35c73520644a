"""What a middleware needs of the world: it asks here, and tests answer as they like."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from time import monotonic, time
from typing import Any, Protocol, TypeVar, cast

from attrs import frozen
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool

from .body import NO_BODY, Body
from .headers import Headers
from .http import Response

T = TypeVar("T")


class Client(Protocol):
    """A server that is asked by the gateway itself, over connections that are kept."""

    def ask(
        self, method: str, headers: Headers, body: Body = NO_BODY, request_id: str = ""
    ) -> Awaitable[Response]:
        """
        Return the head of the answer, its body to follow; redirects are answers like others.

        Raises:
            UpstreamError: There is none, or not in time.

        """

    def close(self) -> None:
        """Close the connections."""


MakeClient = Callable[[str, float], Client]


class InThread(Protocol):
    """Runs a function that takes long where it holds up nobody."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Return what `work` returns, or raise what it raises."""


class RedisUnavailableError(Exception):
    """Redis did not answer, or not in time, or not as it should."""


class Redis(Protocol):
    """A connection to a Redis server; `transport.redis.Redis` is one."""

    def execute(self, *command: Any, within: float) -> Awaitable[Any]:
        """Send a command and return its answer, or raise `RedisUnavailableError`."""

    def close(self) -> None:
        """Close, and do not come back."""


class AwayError(Exception):
    """What a middleware asks is away; the text says why, and is for the log."""


Resolve = Callable[[str], Awaitable[list[str]]]


def _no_client(url: str, patience: float) -> Client:  # noqa: ARG001 - a stand-in
    raise ValueError("there are no clients here")


def _no_thread(work: Callable[[], T]) -> Awaitable[T]:  # noqa: ARG001 - a stand-in
    raise ValueError("there are no threads here")


def _nowhere(url: str) -> Redis:  # noqa: ARG001 - a stand-in
    raise ValueError("there is no Redis here")


def _unheard(name: str, error: Exception) -> None:
    """Stand in for the log."""


async def _unknown(name: str) -> list[str]:
    raise OSError(f"no address found for {name!r}")


@frozen
class Effects:
    """
    The world as functions.

    Attributes:
        now: Monotonic time in seconds, the clock of `Exchange.started_at`.
        sleep: Waits for some seconds; ends at once when the client goes away.
        random: Uniform in [0, 1).
        redis: Connects to what a URL names, and goes on doing so; whoever asks closes it.
        name: What the configuration calls who is given this.
        wall: Seconds since 1970, for what is told to others.
        resolve: Finds the addresses of a name, in the order to try them in; they are kept and
            shared with all who ask. Raises `OSError` if there are none.
        client: Makes one that asks the server of a URL (with path and query), and waits so many
            seconds for it.
        in_thread: Runs what takes long.
        complain: Tells the log what a middleware, by its name, cannot do its work for; of many
            alike it writes one.

    """

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]
    client: MakeClient = _no_client
    in_thread: InThread = _no_thread
    redis: Callable[[str], Redis] = _nowhere
    name: str = ""
    wall: Callable[[], float] = time
    resolve: Resolve = _unknown
    complain: Callable[[str, Exception], None] = _unheard

    @classmethod
    def on(
        cls,
        reactor: Any,
        client: MakeClient = _no_client,
        redis: Callable[[str], Redis] = _nowhere,
        resolve: Resolve = _unknown,
    ) -> Effects:
        """Wait by the timers of this reactor; what it cannot do by itself is given."""

        def sleep(seconds: float) -> Awaitable[None]:
            return cast(Awaitable[None], deferLater(reactor, seconds))

        def in_thread(work: Callable[[], T]) -> Awaitable[T]:
            running = deferToThreadPool(reactor, reactor.getThreadPool(), work)
            return cast(Awaitable[T], running)

        return cls(monotonic, sleep, random.random, client, in_thread, redis, resolve=resolve)

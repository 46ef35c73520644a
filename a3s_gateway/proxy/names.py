"""The addresses of a server: those of its name, looked up again when they are old."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.task import Waiter
from a3s_gateway.transport.dial import Lookup, Target, literal_target
from a3s_gateway.transport.timers import Timer, Timers

FRESH: Final = 30.0  # seconds; a lookup tells no TTL, and this is what names of services have
RETRY: Final = 1.0  # seconds until a name that was not found is asked for again


@define(eq=False)
class ServerAddresses:
    """
    Where one server is; every address that its name has gets its turn.

    A name is asked for when somebody wants it. Once known, nobody waits again: what is old is
    used while it is looked up anew, and stays when that fails.

    Args:
        host: A literal address or a name.
        resolver: The reactor's.
        timers: Limit how long a lookup may take.
        patience: That limit in seconds.
        now: Monotonic time in seconds.

    """

    host: str
    port: int
    resolver: Any
    timers: Timers
    patience: float
    now: Callable[[], float]
    _targets: list[Target] = field(factory=list, init=False)
    _is_literal: bool = field(default=False, init=False)
    _turn: int = field(default=0, init=False)
    _old_at: float = field(default=0.0, init=False)
    _waiting: list[Waiter[None]] = field(factory=list, init=False)
    _lookup: object = field(default=None, init=False)  # the one that counts, if there is one
    _limit: Timer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._limit = self.timers.timer(self._too_late)
        target = literal_target(self.host, self.port)
        if target is not None:
            self._targets, self._is_literal = [target], True

    async def next(self) -> Target:
        """
        Return the address whose turn it is.

        Raises:
            UpstreamConnectError: The name has none, or nobody said so in time.

        """
        if not self._is_literal and self._lookup is None and self.now() >= self._old_at:
            self._look_up()
        if not self._targets and self._lookup is not None:
            waiter: Waiter[None] = Waiter()
            self._waiting.append(waiter)
            await waiter
        if not self._targets:
            raise UpstreamConnectError("UPSTREAM_CONNECT", f"no address found for {self.host!r}")
        self._turn += 1
        return self._targets[self._turn % len(self._targets)]

    def close(self) -> None:
        """Ask no more; whoever waits is told that nothing was found."""
        self._found([])

    def _look_up(self) -> None:
        self._limit.set(self.patience)
        mine = self._lookup = object()

        def done(targets: list[Target]) -> None:
            if self._lookup is mine:
                self._found(targets)

        self.resolver.resolveHostName(Lookup(done), self.host, self.port)

    def _too_late(self) -> None:
        self._found([])

    def _found(self, targets: list[Target]) -> None:
        self._limit.cancel()
        self._lookup = None
        self._targets = _distinct(targets) or self._targets
        self._old_at = self.now() + (FRESH if targets else RETRY)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.resolve(None)


def _distinct(targets: list[Target]) -> list[Target]:
    """Drop what stands there twice; IPv4 first, as it is what most servers listen on."""
    return sorted(dict.fromkeys(targets), key=lambda each: each[0] != socket.AF_INET)

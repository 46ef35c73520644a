"""Reloads one after another; of several that wait only the newest is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from time import time

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from a3s_gateway.config.faults import ConfigError, ReadingError
from a3s_gateway.config.fragments import Reading
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.hcl.diagnostics import render

from .reload import Reloads

Around = Callable[[], AbstractContextManager[None]]

_EXPECTED = (ConfigError, ReadingError)  # what needs no traceback

_log = Logger()


@define(eq=False, slots=False)
class Reloader(Service):
    """
    Puts configurations in force, and tells what became of it.

    Args:
        read: Reads the files of the configuration in force again.
        change: Puts a configuration in force, or raises and leaves everything as it was.
        around: What is to be different in the process meanwhile.

    Attributes:
        outcomes: What became of the reloads so far.

    """

    name = "control"
    read: Callable[[], Awaitable[Reading]]
    change: Callable[[Reading], Awaitable[None]]
    around: Around = nullcontext
    outcomes: Reloads = field(factory=Reloads)
    _wanted: GatewayConfig | None = field(default=None, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _current: Deferred[None] | None = field(default=None, init=False)

    def reload(self, config: GatewayConfig | None = None) -> Deferred[None]:
        """
        Put a configuration in force; that which is on disk unless one is given.

        Fires when it is, or when a newer one is that was asked for meanwhile; fails with what
        is wrong with it, and nothing has changed.
        """
        waiter: Deferred[None] = Deferred()
        if not self.running:
            waiter.errback(Failure(RuntimeError("a gateway that does not run cannot be reloaded")))
            return waiter
        self._wanted = config
        self._waiting.append(waiter)
        if self._current is None:
            self._current = current = Deferred.fromCoroutine(self._work())
            if current.called:
                self._current = None
        return waiter

    def ask(self) -> None:
        """Reload what is on disk, for somebody who does not wait for it; the log tells the rest."""
        self.reload().addErrback(lambda _: None)

    def stopService(self) -> Deferred[None] | None:
        """Give up a reload that is under way."""
        super().stopService()
        current = self._current
        if current is not None:
            current.cancel()
        return current

    async def _work(self) -> None:
        try:
            while self._waiting and self.running:
                waiting, self._waiting = self._waiting, []
                failure = await self._attempt(self._wanted)
                for waiter in waiting:
                    waiter.callback(None) if failure is None else waiter.errback(failure)
        finally:
            self._current = None
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.errback(Failure(RuntimeError("the gateway stops")))

    async def _attempt(self, config: GatewayConfig | None) -> Failure | None:
        try:
            with self.around():
                reading = await self.read() if config is None else Reading(config)
                await self.change(reading)
        except CancelledError:
            return Failure(RuntimeError("the gateway stops"))
        except BaseException as error:  # noqa: BLE001 - whoever asked gets it
            self._note_failure(error)
            return Failure()
        self._note_success(reading.held_back)
        if warnings := reading.config.warnings:
            _log.warn("{warnings}", warnings=render(warnings, reading.config.sources))
        return None

    def _note_failure(self, error: BaseException) -> None:
        if isinstance(error, _EXPECTED):
            _log.error("the configuration was not reloaded:\n{error}", error=str(error))
        else:
            _log.failure("the configuration was not reloaded")
        now, failed = time(), self.outcomes.failed + 1
        self.outcomes = evolve(
            self.outcomes,
            failed=failed,
            is_last_successful=False,
            last_at=now,
            last_error=str(error) or type(error).__name__,
        )

    def _note_success(self, held_back: ConfigError | None) -> None:
        now, done = time(), self.outcomes.succeeded + 1
        whole = held_back is None
        self.outcomes = evolve(
            self.outcomes,
            succeeded=done,
            is_last_successful=whole,
            last_at=now,
            last_success_at=now if whole else self.outcomes.last_success_at,
            last_error="" if whole else str(held_back),
        )
        if whole:
            _log.info("reloaded the configuration; {count} reloads since the start", count=done)
            return
        text = "reloaded the configuration but for files at fault, whose last good versions stay"
        _log.error(text + ":\n{error}", error=str(held_back))

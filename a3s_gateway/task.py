"""Driving a coroutine at the price of a generator: one task, one value to wait for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Waiter(Generic[T]):
    """
    A value that is not there yet, awaited by one coroutine that a `Task` drives.

    A tenth of a Deferred's price, because it has one consumer and no callback chain.
    """

    __slots__ = ("_error", "_is_set", "_value", "task")

    def __init__(self) -> None:
        self.task: Task[Any] | None = None
        self._is_set = False
        self._value: T | None = None
        self._error: Exception | None = None

    @property
    def is_set(self) -> bool:
        """Whether a value or an error is there."""
        return self._is_set

    def resolve(self, value: T) -> None:
        """Provide the value and let the coroutine run on, now; later calls are ignored."""
        if self._is_set:
            return
        self._is_set = True
        self._value = value
        task = self.task
        if task is not None:
            self.task = None
            task.step()

    def reject(self, error: Exception) -> None:
        """Raise `error` where the coroutine waits, now; later calls are ignored."""
        if self._is_set:
            return
        self._is_set = True
        self._error = error
        task = self.task
        if task is not None:
            self.task = None
            task.step()

    def __await__(self) -> Generator[Any, None, T]:
        if not self._is_set:
            yield self
        error = self._error
        if error is not None:
            # Its traceback will hold this frame: neither may hold the error in turn.
            self._error = None
            try:
                raise error
            finally:
                del error
        return self._value  # type: ignore[return-value]  # set by resolve()


class Task(Generic[T]):
    """
    Runs a coroutine until it returns, fails or is cancelled.

    What it awaits is a `Waiter`, or anything with `addCallbacks` (a Twisted Deferred).

    Args:
        coroutine: What to run; `start` runs it to its first wait.
        on_result: Called with the returned value.
        on_error: Called with what it raised, or what `on_result` did. Neither is called after
            `cancel`.

    """

    __slots__ = ("_coroutine", "_deferred", "_on_error", "_on_result", "_running", "_waiter")

    def __init__(
        self,
        coroutine: Coroutine[Any, None, T],
        on_result: Callable[[T], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._coroutine: Coroutine[Any, None, T] | None = coroutine
        self._on_result = on_result
        self._on_error = on_error
        self._waiter: Waiter[Any] | None = None
        self._deferred: Any = None
        self._running = False

    def step(self, error: BaseException | None = None) -> None:
        """Run to the next wait; called by what was waited for, with an `error` to raise there."""
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._waiter = None
        self._running = True
        try:
            if error is None:
                waited_for = coroutine.send(None)
            else:
                thrown, error = error, None  # the traceback will hold this frame
                waited_for = coroutine.throw(thrown)
        except StopIteration as stop:
            self._running = False
            if self._coroutine is not None:
                self._coroutine = None
                self._finish(stop.value)
            return
        except BaseException as raised:  # noqa: BLE001 - handed to whoever started the task
            self._running = False
            if self._coroutine is not None:
                self._coroutine = None
                self._on_error(raised)
            return
        self._running = False
        if self._coroutine is None:  # cancelled by something that it called itself
            coroutine.close()
        elif isinstance(waited_for, Waiter):
            self._waiter = waited_for
            waited_for.task = self
            if waited_for.is_set:
                waited_for.task = None
                self.step()
        else:
            self._deferred = waited_for
            waited_for.addCallbacks(self._fired, self._broke)

    start = step

    def _finish(self, value: T) -> None:
        """Hand the value on; what is raised there must not reach whoever was waited for."""
        try:
            self._on_result(value)
        except Exception as error:  # noqa: BLE001 - handed to whoever started the task
            self._on_error(error)

    def cancel(self) -> None:
        """
        Stop where it waits; its `finally` blocks run, and must not wait again.

        `GeneratorExit` is raised at the wait, which no `except Exception` catches.
        """
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._coroutine = None
        if self._waiter is not None:
            self._waiter.task = None
        deferred, self._deferred = self._deferred, None
        if self._running:
            return
        coroutine.close()
        if deferred is not None:
            deferred.cancel()

    def _fired(self, _result: object) -> None:
        self._deferred = None
        self.step()

    def _broke(self, failure: Any) -> None:
        """Raise it here: a Deferred cannot be asked for its failure while it tells of it."""
        self._deferred = None
        self.step(failure.value)

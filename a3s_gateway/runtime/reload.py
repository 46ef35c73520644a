"""How one configuration takes the place of another: in small steps, then all at once or never."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Final, Protocol, TypeVar

from attrs import frozen

T = TypeVar("T")

SLICE: Final = 0.004  # seconds that a reload takes from the data path at a time


@frozen
class Reloads:
    """
    What became of the reloads so far.

    Attributes:
        succeeded: How many put a configuration in force.
        failed: How many did not, or could not do so for every file.
        is_last_successful: The configuration in force is the last one that was asked for, whole;
            true before the first reload.
        last_at: When the last one ended, in seconds since 1970; 0.0 if there was none.
        last_success_at: When one last succeeded, or the gateway started.
        last_error: What was wrong with the last one; empty if it was successful.

    """

    succeeded: int = 0
    failed: int = 0
    is_last_successful: bool = True
    last_at: float = 0.0
    last_success_at: float = 0.0
    last_error: str = ""


class Prepared(Protocol):
    """A part of the gateway, ready to change: it can do so in no time, and cannot fail."""

    def commit(self) -> None:
        """Change."""

    def undo(self) -> None:
        """Give back what was opened for it."""


async def prepare_all(steps: Iterable[Callable[[], Awaitable[Prepared]]]) -> list[Prepared]:
    """Make every part ready; if one cannot be, undo those that are, and raise why."""
    ready: list[Prepared] = []
    try:
        for step in steps:
            ready.append(await step())  # noqa: PERF401 - the list is needed if a step fails
    except BaseException:
        for change in reversed(ready):
            change.undo()
        raise
    return ready


def finish(work: Generator[None, None, T]) -> T:
    """Do all of `work` without a rest."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result


async def in_slices(
    work: Generator[None, None, T],
    rest: Callable[[], Awaitable[None]],
    now: Callable[[], float],
    seconds: float = SLICE,
) -> T:
    """
    Do all of `work`, and let others have their turn every `seconds`.

    Args:
        work: Yields where it may be interrupted; returns the result.
        rest: Waits until everybody else has had a turn.
        now: Monotonic time in seconds.
        seconds: How long others may have to wait.

    """
    until = now() + seconds
    try:
        while True:
            try:
                next(work)
            except StopIteration as done:
                result: T = done.value
                return result
            if now() >= until:
                await rest()
                until = now() + seconds
    finally:
        work.close()

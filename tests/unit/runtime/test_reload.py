"""Small steps, and all or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from attrs import define, field

from a3s_gateway.runtime.reload import SLICE, finish, in_slices, prepare_all


def run(work: Any) -> Any:
    """Run a coroutine that never waits for anybody else."""
    with pytest.raises(StopIteration) as done:
        work.send(None)
    return done.value.value


@define
class Desk:
    """Work that takes time by a clock of its own."""

    now: float = 0.0
    rests: int = 0
    is_closed: bool = False
    longest: float = 0.0
    _since: float = 0.0

    def work(self, steps: int, each: float) -> Generator[None, None, str]:
        try:
            for _ in range(steps):
                self.now += each
                self.longest = max(self.longest, self.now - self._since)
                yield
            return "done"
        finally:
            self.is_closed = True

    async def rest(self) -> None:
        self.rests += 1
        self._since = self.now


def test_work_rests_after_each_slice() -> None:
    """Nobody waits longer than a slice and a step."""
    desk = Desk()
    assert run(in_slices(desk.work(1000, SLICE / 10), desk.rest, lambda: desk.now)) == "done"
    assert 90 <= desk.rests <= 100
    assert desk.longest <= SLICE * 1.2


def test_little_work_does_not_rest() -> None:
    """A small configuration is put in force in one turn."""
    desk = Desk()
    assert run(in_slices(desk.work(10, SLICE / 100), desk.rest, lambda: desk.now)) == "done"
    assert desk.rests == 0


def test_work_that_is_given_up_is_closed() -> None:
    """What it holds is given back when the rest is interrupted."""
    desk = Desk()

    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_slices(desk.work(10, SLICE * 2), interrupted, lambda: desk.now).send(None)
    assert desk.is_closed


def test_finish_does_all_at_once() -> None:
    """At the start nobody waits."""
    assert finish(Desk().work(100, 1.0)) == "done"


@define
class Part:
    """Takes note of what is done with it."""

    name: str
    said: list[str]
    fault: Exception | None = field(default=None)

    async def prepare(self) -> Part:
        if self.fault is not None:
            raise self.fault
        self.said.append(f"{self.name} is ready")
        return self

    def commit(self) -> None:
        self.said.append(f"{self.name} has changed")

    def undo(self) -> None:
        self.said.append(f"{self.name} is undone")


def test_what_is_ready_is_undone_when_another_part_cannot_be() -> None:
    """In the other order; and whoever asked learns why."""
    said: list[str] = []
    fault = OSError("no")
    parts = [Part("a", said), Part("b", said), Part("c", said, fault), Part("d", said)]
    steps: list[Callable[[], Awaitable[Part]]] = [each.prepare for each in parts]
    with pytest.raises(OSError, match="no"):
        prepare_all(steps).send(None)
    assert said == ["a is ready", "b is ready", "b is undone", "a is undone"]


def test_all_that_is_ready_is_returned_in_order() -> None:
    """To be committed, or undone, by whoever asked."""
    said: list[str] = []
    parts = [Part("a", said), Part("b", said)]
    assert run(prepare_all([each.prepare for each in parts])) == parts

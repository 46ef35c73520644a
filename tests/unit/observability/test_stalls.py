from __future__ import annotations

import sys
from types import FrameType

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.observability.stalls import FRAMES, LOOK_EVERY, STALL, Looks, Question, where

HERE: FrameType = sys._getframe()  # noqa: SLF001


def inner() -> str:
    return where(sys._getframe())  # noqa: SLF001


class Outer:
    def call(self) -> str:
        return inner()


def test_what_runs_comes_first() -> None:
    """Then who called it, with the file and the line of each."""
    first, second, *_ = Outer().call().split(", called by ")
    assert first.startswith("inner (observability/test_stalls.py:")
    assert second.startswith("Outer.call (observability/test_stalls.py:")


def test_a_deep_stack_is_cut() -> None:
    """One line stays one line that can be read."""

    def deep(depth: int) -> str:
        return deep(depth - 1) if depth else where(sys._getframe())  # noqa: SLF001

    assert len(deep(50).split(", called by ")) == FRAMES


def test_of_many_sights_a_few_are_told() -> None:
    """What ran first, and what ran at the end; the same only once."""
    question = Question(0.0)
    for sight in ("a", "b", "c", "c", "a", "d"):
        question.add(sight)
    assert question.seen == ["a", "c", "d"]


def test_what_lasts_is_told_less_and_less_often() -> None:
    """After a second, after ten, after a hundred: a hang of an hour is four lines."""
    looks = Looks(0.0)
    told = []
    for tick in range(1, 3600 * 20):
        now = tick * LOOK_EVERY
        looks.look(now, HERE, is_waiting=False)
        told.append(looks.lasts(now))
    assert [round(each) for each in told if each is not None] == [1, 10, 100, 1000]


def test_what_has_ended_is_not_told_as_lasting() -> None:
    """Each stall begins anew."""
    looks = Looks(0.0)
    question = looks.look(0.9, HERE, is_waiting=False)
    assert question is not None
    looks.answered(question, 1.0)
    assert looks.look(1.1, HERE, is_waiting=False) is not None
    assert looks.lasts(1.2) is None


def test_a_thread_that_does_nothing() -> None:
    """There may be no frame at all."""
    assert where(None) == ""


@define
class Told:
    """A reactor that waits until `begin`, works until `end`, and is looked at in between."""

    seconds: list[float | None] = field(factory=list)

    def of(self, begin: float, end: float, *, deaf: bool = False) -> Told:
        looks, now = Looks(0.0), 0.0
        while now < end + 3 * LOOK_EVERY:
            now += LOOK_EVERY
            if deaf and begin < now < end:
                now = end - 1e-6  # native code keeps the thread from looking, up to its end
            question = looks.question
            if question is not None and now >= end:
                self.seconds.append(looks.answered(question, end))
            looks.look(now, HERE, is_waiting=not begin <= now < end)
        return self


@given(st.floats(0.06, 0.2), st.floats(STALL, 5), st.booleans())
def test_a_stall_is_told_once(begin: float, length: float, deaf: bool) -> None:  # noqa: FBT001
    """Whenever it begins; its length is right to half of the time between two looks."""
    (told,) = Told().of(begin, begin + length, deaf=deaf).seconds
    assert told == pytest.approx(length, abs=LOOK_EVERY / 2 + 0.001)


@given(st.floats(0.06, 0.2), st.floats(0, STALL - LOOK_EVERY - 0.001))
def test_what_is_shorter_is_not_worth_a_line(begin: float, length: float) -> None:
    """Many short turns are just work."""
    assert [each for each in Told().of(begin, begin + length).seconds if each is not None] == []

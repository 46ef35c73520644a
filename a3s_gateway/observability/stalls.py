"""From looks at a thread to the stalls of its reactor: how long, and what ran."""

from __future__ import annotations

from pathlib import PurePath
from types import FrameType
from typing import Final

from attrs import define, field

STALL: Final = 0.1  # seconds; what somebody at the other end may notice
LOOK_EVERY: Final = STALL / 2  # seconds; what lasts for `STALL` is seen, and its length is near
# A stall may have begun half of the time between two looks before, or after, when we say it did.
SURE: Final = STALL - LOOK_EVERY / 2
LASTING: Final = 1.0  # seconds; then it is told while it lasts, and again each time it is ten times
FRAMES: Final = 6  # innermost ones, which tell what ran and on whose behalf
ALL_FRAMES: Final = 50  # of a stall that may never end


@define(eq=False)
class Question:
    """
    Put to the reactor when it was seen at work; it answers when that is done.

    Attributes:
        since: When it began to work, as near as one can say.
        seen: What it was seen at: the first thing, and the last two.
        tell_at: Seconds after which it is told though it has not ended.

    """

    since: float
    seen: list[str] = field(factory=list)
    tell_at: float = field(default=LASTING, init=False)

    def add(self, sight: str) -> None:
        """Take note of what it is at now."""
        if sight not in self.seen:
            self.seen.append(sight)
            del self.seen[1:-2]


@define(eq=False)
class Looks:
    """
    What a thread that looks at another one has seen.

    Attributes:
        alive_at: When the reactor last waited for events, or answered.

    """

    alive_at: float
    question: Question | None = field(default=None, init=False)
    _due: float = field(init=False)  # when the next look is, if nothing holds up this thread, too

    def __attrs_post_init__(self) -> None:
        self._due = self.alive_at + LOOK_EVERY

    def look(self, now: float, frame: FrameType, *, is_waiting: bool) -> Question | None:
        """
        Take note of what the other thread does.

        Returns:
            What the reactor is to be asked, if anything.

        """
        # Native code that runs long keeps this thread from looking, but not its time from passing.
        due, self._due = self._due, now + LOOK_EVERY
        if self.question is not None:
            self.question.add(where(frame))
            return None
        if is_waiting:
            self.alive_at = now
            return None
        # It began between two looks: the middle is neither too early nor too late.
        self.question = Question((self.alive_at + min(now, due)) / 2, [where(frame)])
        return self.question

    def lasts(self, now: float) -> float | None:
        """Return how long everything has waited, if that is to be told before it ends."""
        question = self.question
        if question is None or now - question.since < question.tell_at:
            return None
        question.tell_at *= 10
        return now - question.since

    def answered(self, question: Question, now: float) -> float | None:
        """Return the seconds that everything waited, if that was a stall."""
        self.question, self.alive_at = None, now
        seconds = now - question.since
        return seconds if seconds >= SURE else None


def is_waiting(frame: FrameType) -> bool:
    """Tell whether a reactor waits for events; where none is recognised, it is asked each time."""
    code = frame.f_code
    return code.co_name in _WAITS and code.co_filename.endswith(("reactor.py", "selectors.py"))


_WAITS: Final = {"doPoll", "doSelect", "doKEvent", "select"}


def where(frame: FrameType | None, most: int = FRAMES) -> str:
    """Describe what a thread does: its innermost functions, `most`, the current one first."""
    found: list[str] = []
    while frame is not None and len(found) < most:
        code = frame.f_code
        file = "/".join(PurePath(code.co_filename).parts[-2:])
        found.append(f"{code.co_qualname} ({file}:{frame.f_lineno})")
        frame = frame.f_back
    return ", called by ".join(found)

"""What is known of a stall while it lasts."""

from __future__ import annotations

from pathlib import PurePath
from types import FrameType
from typing import Final

from attrs import define

FRAMES: Final = 8  # innermost ones, which tell what ran and on whose behalf


@define(eq=False)
class Question:
    """
    Asked of the reactor when it was seen at work; answered when that is done.

    Attributes:
        since: When it was last idle, as near as one can say.
        seen: What it was seen at, last.

    """

    since: float
    seen: str

    @classmethod
    def between(cls, idle: float, busy: float, seen: str) -> Question:
        """Take the middle of the time it was last seen idle and that it was first seen at work."""
        return cls((idle + busy) / 2, seen)


def where(frame: FrameType | None) -> str:
    """Describe what a thread does: its innermost functions, the current one first."""
    lines: list[str] = []
    while frame is not None and len(lines) < FRAMES:
        code = frame.f_code
        file = "/".join(PurePath(code.co_filename).parts[-2:])
        lines.append(f"{code.co_qualname} ({file}:{frame.f_lineno})")
        frame = frame.f_back
    return ", called by ".join(lines)

"""Notices when one thing holds up the reactor, and with it everybody: a thread looks on."""

from __future__ import annotations

import sys
import threading
from time import monotonic
from types import FrameType
from typing import Any, Final

from attrs import define, field
from twisted.application.service import Service
from twisted.logger import Logger

from .stalls import Question, where

_log = Logger()

STALL: Final = 0.1  # seconds; what somebody at the other end may notice
LOOK_EVERY: Final = STALL / 2  # seconds; a stall is seen at least once before it is one


@define(eq=False, slots=False)
class StallWatch(Service):
    """
    Logs each stall of the reactor once, with its length and with what ran.

    The thread looks where the reactor's thread is. That it waits for events is all there is
    to see in a process with nothing to do. Otherwise the reactor is asked to answer when its
    turn is over, and the thread remembers what it sees until then.

    Args:
        reactor: Runs in the thread that calls `startService`.

    """

    reactor: Any
    _stopped: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _watched: int = field(default=0, init=False)  # the thread of the reactor
    _alive_at: float = field(default=0.0, init=False)
    _due: float = field(default=0.0, init=False)  # when the thread looks next, if nothing holds it
    _question: Question | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.setName("stalls")

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._stopped.clear()
        self._watched = threading.get_ident()
        self._question = None
        self._alive_at = monotonic()
        self._due = self._alive_at + LOOK_EVERY
        self._thread = threading.Thread(target=self._watch, name="stalls", daemon=True)
        self._thread.start()

    def stopService(self) -> None:
        """End the thread."""
        super().stopService()
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # -- in the thread

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - documented
            if frame is not None:
                self._look(frame, monotonic())
            del frame  # and with it all that the frame holds

    def _look(self, frame: FrameType, now: float) -> None:
        question = self._question
        if question is not None:
            question.seen = where(frame)
        elif is_waiting(frame):
            self._alive_at = now
        else:
            question = Question.between(self._alive_at, min(now, self._due), where(frame))
            self._question = question
            self.reactor.callFromThread(self._answer, question)
        self._due = now + LOOK_EVERY

    # -- in the reactor

    def _answer(self, question: Question) -> None:
        self._alive_at = now = monotonic()
        self._question = None
        seconds = now - question.since
        if seconds >= STALL:
            _log.warn(
                "everything waited for {seconds} s: {where}",
                seconds=round(seconds, 3),
                where=question.seen,
            )


def is_waiting(frame: FrameType) -> bool:
    """Tell whether a reactor waits for events; if none is recognised, it is asked each time."""
    code = frame.f_code
    return code.co_name in _WAITS and code.co_filename.endswith(("reactor.py", "selectors.py"))


_WAITS: Final = {"doPoll", "doSelect", "doKEvent", "select"}

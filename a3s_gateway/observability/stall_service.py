"""Notices when one thing holds up the reactor, and with it everybody: a thread looks on."""

from __future__ import annotations

import sys
import threading
from time import monotonic
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.logger import Logger

from .alarm import Alarm
from .stalls import ALL_FRAMES, LOOK_EVERY, Looks, Question, is_waiting, where

_log = Logger()


@define(eq=False, slots=False)
class StallWatch(Service):
    """
    Logs each stall of the reactor once, with its length and with what ran.

    A thread looks where the reactor's thread is. In a process with nothing to do, that is all
    that happens. Otherwise the reactor is asked to answer when its turn is over, and the thread
    remembers what it sees until then. What lasts is told by the thread itself, with the whole
    stack. Native code that keeps Python's lock keeps the thread, too; then the alarm goes off.

    Args:
        reactor: Runs in the thread that calls `startService`.
        alarm: There is one in a process, so it is not for what lives in somebody else's.

    """

    reactor: Any
    alarm: Alarm | None = None
    _stopped: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _looks: Looks = field(factory=lambda: Looks(monotonic()), init=False)

    def __attrs_post_init__(self) -> None:
        self.setName("stalls")

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._stopped.clear()
        self._looks = Looks(monotonic())
        self._thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="stalls", daemon=True
        )
        self._thread.start()

    def stopService(self) -> None:
        """End the thread."""
        super().stopService()
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.alarm is not None:
            self.alarm.end()

    def _watch(self, watched: int) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            frame = sys._current_frames().get(watched)  # noqa: SLF001 - documented
            if frame is None:
                return
            now = monotonic()
            if self.alarm is not None:
                self.alarm.put_off(now)
            question = self._looks.look(now, frame, is_waiting=is_waiting(frame))
            seconds = self._looks.lasts(now)
            if seconds is not None:
                text = "everything has waited for {seconds} s, and waits on: {where}"
                _log.error(text, seconds=round(seconds, 3), where=where(frame, ALL_FRAMES))
            del frame  # and with it all that the frame holds
            if question is not None:
                self.reactor.callFromThread(self._answer, question)

    def _answer(self, question: Question) -> None:
        seconds = self._looks.answered(question, monotonic())
        if seconds is not None:
            _log.warn(
                "everything waited for {seconds} s: {where}",
                seconds=round(seconds, 3),
                where="; then ".join(question.seen),
            )

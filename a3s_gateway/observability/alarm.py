"""What still tells where a process hangs when no thread of Python can run any more."""

from __future__ import annotations

import faulthandler
from typing import Final, TextIO

from attrs import define, field

HELD: Final = 5.0  # seconds without a thread that can put it off
PUT_OFF_EVERY: Final = 1.0  # seconds; each time costs a thread of the interpreter's


@define(eq=False)
class Alarm:
    """
    The interpreter's own watchdog: it needs no lock of Python's, which native code may hold.

    Args:
        stream: A real file, where the stacks of all threads are written.
        seconds: How long nobody may put it off.

    """

    stream: TextIO
    seconds: float = HELD
    _due: float = field(default=0.0, init=False)

    def put_off(self, now: float) -> None:
        """Say that threads run; call it as often as you like."""
        if now >= self._due:
            self._due = now + PUT_OFF_EVERY
            faulthandler.dump_traceback_later(self.seconds, file=self.stream)

    def end(self) -> None:
        """Watch no longer."""
        self._due = 0.0
        faulthandler.cancel_dump_traceback_later()

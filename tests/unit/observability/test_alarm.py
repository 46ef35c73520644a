from __future__ import annotations

import subprocess
import sys

HANG = """
import ctypes, sys, threading, time
from a3s_gateway.observability.alarm import Alarm

alarm = Alarm(sys.__stderr__, seconds=0.2)
alarm.put_off(time.monotonic())

def hang_without_giving_way():
    ctypes.PyDLL(None).usleep(700_000)  # native code that keeps Python's lock

{what}
"""


def said(what: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HANG.format(what=what)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stderr


def test_native_code_that_keeps_the_lock_is_found() -> None:
    """No thread of Python runs meanwhile, and yet it is told where that is."""
    text = said("hang_without_giving_way()")
    assert "Timeout (0:00:00.200000)!" in text
    assert " in hang_without_giving_way" in text


def test_nothing_is_said_when_it_has_ended() -> None:
    """The end of a process may take its time."""
    assert said("alarm.end(); hang_without_giving_way()") == ""


def test_nothing_is_said_while_it_is_put_off() -> None:
    """Which costs nothing when done too often."""
    text = said("for n in range(7): time.sleep(0.1); alarm.put_off(n * 10.0 + 1e9)")
    assert text == ""

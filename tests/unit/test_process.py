"""What a process does with its signals before there is a gateway to hear them."""

from __future__ import annotations

import subprocess
import sys


def test_a_reload_that_is_asked_for_too_early_does_no_harm() -> None:
    """The default of SIGHUP and SIGUSR1 would end the process."""
    program = (
        "import os, signal; from a3s_gateway.process import brace; brace();"
        "[os.kill(os.getpid(), n) for n in (signal.SIGHUP, signal.SIGUSR1)]; print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr

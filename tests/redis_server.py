"""A Redis server of the tests' own, on a Unix socket that nobody else knows."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from time import monotonic
from typing import ClassVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

PATIENCE = 10  # seconds


class RedisServer:
    """
    Starts at once, with a password; `stop` ends it.

    The socket lies in a folder of its own: the path of one must be short.
    """

    PASSWORD: ClassVar[str] = "s3cret-of-redis"

    def __init__(self) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip("redis-server is not installed")
        self.folder = Path(tempfile.mkdtemp(prefix="redis"))
        self.socket = self.folder / "s"
        self.url = f"unix://:{self.PASSWORD}@{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                "redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "",
                "--requirepass", self.PASSWORD, "--dir", str(self.folder), "--loglevel", "warning",
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(PATIENCE)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *words: str, password: str = PASSWORD) -> Deferred[str]:
        """Ask it something as an operator would."""

        program = ["redis-cli", "-e", "-s", str(self.socket), "--no-auth-warning", "-a", password]

        def run() -> str:
            deadline = monotonic() + PATIENCE
            while True:
                done = subprocess.run(
                    [*program, *words],
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                    check=False,
                )
                if not done.returncode:
                    return done.stdout.strip()
                if monotonic() > deadline:  # it may have begun a moment ago
                    raise AssertionError(done.stderr)

        return deferToThread(run)

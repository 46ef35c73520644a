"""Has a configuration read in a child process, while this one goes on with its work."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from time import monotonic
from typing import Any, BinaryIO, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from a3s_gateway.config import child, parcel
from a3s_gateway.config.faults import ReadingError
from a3s_gateway.config.fragments import Reading, Texts, texts_of
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.runtime.reload import in_slices

TIME_LIMIT: Final = 60.0  # seconds; a hundred thousand routers take 20
MAX_ANSWER: Final = 512 * 1024 * 1024  # bytes; a hundred thousand routers take 60 MB
MAX_WORDS: Final = 8 * 1024  # bytes of the child's last words that are kept


async def read_apart(reactor: Any, config: GatewayConfig) -> Reading:
    """
    Read the files of the configuration in force again, as `read_again` does, in a child process.

    Raises:
        ConfigError: They cannot be used.
        ReadingError: The child died, or took too long.

    """

    async def rest() -> None:
        await deferLater(reactor, 0)

    steps = await _have_read(reactor, config.span.path, texts_of(config))
    return await in_slices(steps, rest, monotonic)


async def _have_read(reactor: Any, path: str, in_force: Texts) -> Generator[None, None, Reading]:
    with tempfile.TemporaryFile() as request, tempfile.TemporaryFile() as response:
        child.ask(path, in_force, request)
        request.seek(0)
        await _run(reactor, request, response)
        if response.seek(0, os.SEEK_END) > MAX_ANSWER:
            raise ReadingError(f"it is larger than {MAX_ANSWER} bytes")
        response.seek(0)
        return parcel.unpack(os.fdopen(os.dup(response.fileno()), "rb"))


async def _run(reactor: Any, request: BinaryIO, response: BinaryIO) -> None:
    protocol = _Child()
    process: IProcessTransport = reactor.spawnProcess(
        protocol,
        sys.executable,
        [sys.executable, "-m", child.__name__],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        childFDs={0: request.fileno(), 1: response.fileno(), 2: "r"},
    )
    timer = reactor.callLater(TIME_LIMIT, _kill, process)
    try:
        status = await protocol.end()
    finally:
        if timer.active():
            timer.cancel()
        if protocol.status is None:  # nobody waits for it any longer
            _kill(process)
            await protocol.end()
    if status != 0:
        words = protocol.words.decode("utf-8", "replace").strip()
        raise ReadingError(f"the process that read it ended with {status}: {words}")


def _kill(process: IProcessTransport) -> None:
    with suppress(ProcessExitedAlready):
        process.signalProcess("KILL")


@define(eq=False, slots=False)
class _Child(ProcessProtocol):
    """Waits for the end of the child; keeps its last words, in case it dies."""

    status: int | str | None = field(default=None, init=False)  # or the signal that ended it
    words: bytes = field(default=b"", init=False)
    _waiting: list[Deferred[int | str]] = field(factory=list, init=False)

    def end(self) -> Deferred[int | str]:
        """Fire when it has ended."""
        waiter: Deferred[int | str] = Deferred()
        self._waiting.append(waiter)
        return waiter

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: ARG002
        self.words = (self.words + data)[-MAX_WORDS:]

    def processEnded(self, reason: Failure) -> None:
        end: Any = reason.value
        self.status = status = end.exitCode if end.signal is None else f"signal {end.signal}"
        for waiter in self._waiting:
            if not waiter.called:
                waiter.callback(status)

"""Writes the access log in a thread, so that a slow or full disk never stalls the reactor."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from a3s_gateway.observability.output import Output

BATCH: Final = 256  # lines; so many do not wait for more
FLUSH_AFTER: Final = 0.2  # seconds that a line waits for others
MAX_PENDING: Final = 8 * 1024 * 1024  # bytes, some 20,000 lines: a second or two of full load
PATIENCE: Final = 0.5  # seconds for one attempt at a pipe
RETRY_AFTER: Final = 1.0  # seconds after an error
REPORT_EVERY: Final = 10.0  # seconds between two warnings of lost lines
STOP_WITHIN: Final = 3.0  # seconds for the last lines; a reader that has not come by then is gone

T = TypeVar("T")
log: Final = Logger()


class InThread(Protocol):
    """Runs a blocking function elsewhere, as `twisted.internet.threads.deferToThread` does."""

    def __call__(self, work: Callable[[], T], /) -> Deferred[T]:
        """Start `work`; fires with its result."""
        ...


@define(eq=False, slots=False)
class AccessLogService(Service):
    """
    Owns the output of the access log: collects lines, has them written, counts those lost.

    One attempt to write runs at a time, so lines keep their order. What cannot be written
    waits, up to `MAX_PENDING`; what comes after that is dropped.

    Attributes:
        output: Opened at start; nobody else touches it.
        stop_within: Seconds that `stopService` may take.
        dropped: Lines lost since the start.

    """

    output: Output
    clock: IReactorTime
    in_thread: InThread
    stop_within: float = STOP_WITHIN
    dropped: int = field(default=0, init=False)
    _lines: list[str] = field(factory=list, init=False)
    _due: int = field(default=1, init=False)  # how many lines make `_collect` act
    _timer: IDelayedCall | None = field(default=None, init=False)
    _pending: list[bytes] = field(factory=list, init=False)  # with what is being written
    _pending_size: int = field(default=0, init=False)
    _is_draining: bool = field(default=False, init=False)
    _draining: Deferred[None] | None = field(default=None, init=False)
    _wake: Deferred[None] | None = field(default=None, init=False)
    _must_reopen: bool = field(default=False, init=False)
    _stop_at: float | None = field(default=None, init=False)
    _is_failing: bool = field(default=False, init=False)
    _reported: int = field(default=0, init=False)  # of `dropped`
    _report_at: float = field(default=0.0, init=False)

    def startService(self) -> None:
        """Open the output; raises `OSError` when that is not possible."""
        try:
            self.output.open()
        except OSError as error:
            if error.errno != errno.ENXIO:  # a FIFO without a reader, who may come later
                raise
        self._stop_at = None
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Write what is there and close; fires when that is done or `stop_within` is over."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def write(self, line: str) -> None:
        """Log a line (without its end); takes no time and raises nothing."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= self._due:
            self._collect()

    def reopen(self) -> None:
        """Go on in a new file of the same path: the old one was renamed."""
        if self.running:
            self._must_reopen = True
            self._flush()
            self._resume()

    def _collect(self) -> None:
        if not self.running:
            self.dropped += len(self._lines)
            self._lines.clear()
        elif self._timer is None:
            self._timer = self.clock.callLater(FLUSH_AFTER, self._flush)
            self._due = BATCH
        else:
            self._flush()

    def _flush(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._due = 1
        lines, self._lines = self._lines, []
        if self._pending_size >= MAX_PENDING:
            self.dropped += len(lines)
        elif lines:
            chunk = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
            self._pending.append(chunk)
            self._pending_size += len(chunk)
        if not self._is_draining:
            self._is_draining = True
            self._draining = Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        try:
            while (self._pending or self._must_reopen) and not self._is_late():
                is_well = await self._attempt()
                if is_well:
                    continue
                if not self.running:
                    break
                await self._pause()
        finally:
            self._is_draining = False

    async def _attempt(self) -> bool:
        """Try once to write all that is pending; whether that raised no error."""
        data = b"".join(self._pending)
        self._pending = [data]
        reopen, self._must_reopen = self._must_reopen, False
        work = partial(self.output.write, data, PATIENCE, reopen=reopen)
        written = await self.in_thread(work)
        self._pending[:1] = [written.rest] if written.rest else []
        self._pending_size = sum(map(len, self._pending))
        self._report(written.error)
        return written.error is None

    def _is_late(self) -> bool:
        return self._stop_at is not None and self.clock.seconds() >= self._stop_at

    async def _pause(self) -> None:
        self._wake = Deferred()
        timer = self.clock.callLater(RETRY_AFTER, self._resume)
        try:
            await self._wake
        finally:
            if timer.active():
                timer.cancel()

    def _resume(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake.callback(None)

    async def _stop(self) -> None:
        self._stop_at = self.clock.seconds() + self.stop_within
        self._flush()
        self._resume()
        finish = Deferred.fromCoroutine(self._finish())
        # An attempt at a pipe ends by itself; it takes a disk that hangs to run into this limit.
        # Its thread may use the file when it comes back, so it is not closed then.
        finish.addTimeout(self.stop_within + 2 * PATIENCE, self.clock, lambda *_: None)
        await finish
        self.dropped += sum(chunk.count(b"\n") for chunk in self._pending)
        self._pending.clear()
        self._pending_size = 0
        self._report_lost()

    async def _finish(self) -> None:
        if self._draining is not None:
            await self._draining
        await self.in_thread(self.output.close)

    def _report(self, error: OSError | None) -> None:
        name = self.output.path or "on standard output"
        if error is not None and not self._is_failing:
            reason = error.strerror
            log.warn("cannot write access log {name}: {reason}", name=name, reason=reason)  # noqa: G010 - Twisted's name
        elif error is None and self._is_failing:
            log.info("access log {name} is written again", name=name)
        self._is_failing = error is not None
        if self.clock.seconds() >= self._report_at:
            self._report_lost()

    def _report_lost(self) -> None:
        count = self.dropped - self._reported
        if count:
            log.warn("lost {count} lines of the access log", count=count)  # noqa: G010 - likewise
            self._reported = self.dropped
            self._report_at = self.clock.seconds() + REPORT_EVERY

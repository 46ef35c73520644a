from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from a3s_gateway.observability.access_log_service import (
    BATCH,
    FLUSH_AFTER,
    MAX_PENDING,
    PATIENCE,
    REPORT_EVERY,
    RETRY_AFTER,
    AccessLogService,
)
from a3s_gateway.observability.output import Output

T = TypeVar("T")


def here(work: Callable[[], T]) -> Deferred[T]:
    """In no thread: the result is there at once."""
    return succeed(work())


def hangs(_work: Callable[[], T]) -> Deferred[T]:
    """In a thread that does not come back: a disk that hangs."""
    return Deferred()


def new_path(case: SynchronousTestCase) -> Path:
    """Where a log may be, in a folder that goes with the test."""
    folder = TemporaryDirectory()
    case.addCleanup(folder.cleanup)
    return Path(folder.name, "access.log")


def texts(events: list[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in events]


class InOneThreadTests(SynchronousTestCase):
    """With a clock that the test moves, and writes that happen at once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = new_path(self)

    def start(
        self, path: str | None = None, in_thread: Callable[..., Deferred[T]] = here
    ) -> AccessLogService:
        output = Output(str(self.path) if path is None else path)
        self.addCleanup(output.close)
        service = AccessLogService(output, self.clock, in_thread)
        service.startService()
        return service

    def stop(self, service: AccessLogService) -> None:
        self.successResultOf(service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def test_a_line_is_in_the_file_soon(self) -> None:
        """Whoever watches a quiet gateway's log sees a request within a fifth of a second."""
        service = self.start()
        service.write("one")
        service.write("two")
        self.clock.advance(FLUSH_AFTER * 0.9)
        self.assertEqual(self.lines(), [])
        self.clock.advance(FLUSH_AFTER * 0.1)
        self.assertEqual(self.lines(), ["one", "two"])
        self.stop(service)

    def test_many_lines_do_not_wait(self) -> None:
        """A full batch is written at once; only what is beyond it waits."""
        service = self.start()
        sent = [str(number) for number in range(2 * BATCH + 1)]
        for line in sent:
            service.write(line)
        self.assertEqual(self.lines(), sent[:-1])
        self.clock.advance(FLUSH_AFTER)
        self.assertEqual(self.lines(), sent)
        self.stop(service)

    def test_no_timer_runs_while_nothing_waits(self) -> None:
        """An idle gateway is not woken by its log."""
        service = self.start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for _ in range(BATCH):
            service.write("x")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        service.write("x")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(FLUSH_AFTER)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        service.reopen()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.stop(service)

    def test_stopping_writes_what_waits(self) -> None:
        """The last requests before the end are in the log."""
        service = self.start()
        service.write("last")
        self.stop(service)
        self.assertEqual(self.lines(), ["last"])
        self.assertEqual(service.dropped, 0)

    def test_a_line_after_the_end_is_counted_and_nothing_more(self) -> None:
        """What ends after the log has ended wakes nothing and fails nothing."""
        service = self.start()
        self.stop(service)
        self.path.unlink()
        service.write("late")
        service.reopen()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.path.exists(), service.dropped), (False, 1))

    def test_it_can_be_started_again(self) -> None:
        """Stop and start leave a log that works."""
        service = self.start()
        self.stop(service)
        self.clock.advance(2 * service.stop_within)
        service.startService()
        service.write("again")
        self.clock.advance(FLUSH_AFTER)
        self.assertEqual(self.lines(), ["again"])
        self.stop(service)

    def test_rotation_goes_on_in_the_new_file(self) -> None:
        """After rename and signal the new file is there, although nothing was logged since."""
        service = self.start()
        service.write("one")
        self.clock.advance(FLUSH_AFTER)
        old = self.path.rename(self.path.with_suffix(".1"))
        service.reopen()
        self.assertEqual(self.lines(), [])
        service.write("two")
        self.stop(service)
        self.assertEqual((old.read_text(), self.lines()), ("one\n", ["two"]))

    def test_a_path_that_cannot_be_opened_stops_the_start(self) -> None:
        """A missing folder is said at start, not found out when the log is needed."""
        with self.assertRaises(FileNotFoundError):
            self.start(str(self.path / "missing" / "access.log"))

    def test_a_full_disk_is_reported_once_and_tried_again(self) -> None:
        """A disk that stays full costs one warning, not one for each request."""
        service = self.start("/dev/full")
        with capturedLogs() as events:
            for _ in range(10):
                service.write("x")
                self.clock.advance(RETRY_AFTER)
        self.assertEqual(
            texts(events), ["cannot write access log /dev/full: No space left on device"]
        )
        with capturedLogs() as events:
            self.stop(service)
        self.assertEqual(
            (texts(events), service.dropped), (["lost 10 lines of the access log"], 10)
        )

    def test_lines_wait_for_a_pipes_reader(self) -> None:
        """A log shipper that starts after the gateway gets everything; both facts are logged."""
        os.mkfifo(self.path)
        service = self.start()
        with capturedLogs() as events:
            service.write("one")
            self.clock.advance(FLUSH_AFTER)
            service.write("two")
            self.clock.advance(FLUSH_AFTER)
            reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            self.addCleanup(os.close, reader)
            self.clock.advance(RETRY_AFTER)
        self.assertEqual(os.read(reader, 100), b"one\ntwo\n")
        self.assertEqual(
            texts(events),
            [
                f"cannot write access log {self.path}: No such device or address",
                f"access log {self.path} is written again",
            ],
        )
        self.assertEqual(service.dropped, 0)
        self.stop(service)

    def test_a_reader_that_leaves_may_be_replaced(self) -> None:
        """A log shipper can be restarted while requests go on."""
        os.mkfifo(self.path)
        first = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        service = self.start()
        os.close(first)
        service.write("one")
        self.clock.advance(FLUSH_AFTER)
        second = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, second)
        self.clock.advance(RETRY_AFTER)
        self.assertEqual(os.read(second, 100), b"one\n")
        self.stop(service)

    def test_a_signal_cuts_the_wait_after_an_error_short(self) -> None:
        """Whoever has made room and rotated need not wait for the next try."""
        path = self.path.with_suffix(".link")
        path.symlink_to("/dev/full")
        service = self.start(str(path))
        service.write("one")
        self.clock.advance(FLUSH_AFTER)
        path.unlink()
        service.reopen()
        self.assertEqual(path.read_text(), "one\n")
        self.stop(service)

    def test_a_disk_that_hangs_costs_bounded_memory(self) -> None:
        """Beyond the limit lines are dropped and counted; the gateway goes on."""
        service = self.start(in_thread=hangs)
        line = "x" * 1000
        sent = 0
        while not service.dropped:
            for _ in range(BATCH):
                service.write(line)
            sent += BATCH
            self.assertLess(sent, 2 * MAX_PENDING / len(line))
        self.assertEqual(service.dropped, BATCH)
        self.assertGreater(sent * len(line), MAX_PENDING * 0.95)

    def test_stopping_does_not_wait_for_a_disk_that_hangs(self) -> None:
        """The end of the process is not up to the disk; what is lost is said."""
        service = self.start(in_thread=hangs)
        for _ in range(BATCH + 7):
            service.write("x")
        stopped = service.stopService()
        self.assertNoResult(stopped)
        with capturedLogs() as events:
            self.clock.advance(service.stop_within + 2 * PATIENCE)
        self.successResultOf(stopped)
        self.assertEqual(texts(events), [f"lost {BATCH + 7} lines of the access log"])
        self.assertEqual(service.dropped, BATCH + 7)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_losses_are_reported_once_in_a_while(self) -> None:
        """While the log cannot keep up, a warning every ten seconds has the sum since the last."""
        service = self.start("/dev/full")
        line = "x" * (MAX_PENDING // BATCH)
        counts = []
        with capturedLogs() as events:
            for _ in range(25):
                for _ in range(BATCH):
                    service.write(line)
                self.clock.advance(RETRY_AFTER)
                counts.append(service.dropped)
        lost = [event["count"] for event in events if "count" in event]
        self.assertEqual(len(lost), 1 + 24 // int(REPORT_EVERY))
        self.assertIn(sum(lost), counts)
        self.stop(service)
        self.assertEqual(service.dropped, 25 * BATCH)


class InThreadsTests(TestCase):
    """With the reactor, its threads, and files that block."""

    def start(self, path: Path, stop_within: float = 5.0) -> AccessLogService:
        service = AccessLogService(Output(str(path)), reactor, deferToThread, stop_within)
        service.startService()
        return service

    async def rotate(self, service: AccessLogService, path: Path, old: Path) -> None:
        """Rename the file, tell the service, and see the new file come."""
        os.rename(path, old)  # noqa: PTH104 - Path's methods are not for coroutines
        service.reopen()
        while path.name not in os.listdir(path.parent):  # noqa: PTH208 - likewise
            await deferLater(reactor, 0)

    async def test_nothing_is_lost_or_out_of_order(self) -> None:
        """Many lines, turns of the reactor between them, two rotations, a stop: all are there."""
        path = new_path(self)
        service = self.start(path)
        sent = [f"line {number}" for number in range(10_000)]
        files = [path.with_suffix(".1"), path.with_suffix(".2"), path]
        for number, line in enumerate(sent):
            service.write(line)
            if number % 100 == 0:
                await deferLater(reactor, 0)
            if number in (3_000, 7_000):
                await self.rotate(service, path, files[number // 4_000])
        await service.stopService()
        self.assertEqual([line for file in files for line in file.read_text().splitlines()], sent)
        self.assertEqual(service.dropped, 0)

    async def test_a_slow_reader_gets_everything(self) -> None:
        """A pipe that is read in small pieces holds up neither the gateway nor a line."""
        path = new_path(self)
        os.mkfifo(path)
        received: list[bytes] = []

        def read_slowly() -> None:
            with path.open("rb", buffering=0) as pipe:
                while part := pipe.read(1000):
                    received.append(part)

        reader = Thread(target=read_slowly)
        reader.start()
        sent = b"".join(b"%07d\n" % number for number in range(50_000))
        service = self.start(path)
        for line in sent.decode().splitlines():
            service.write(line)
        await service.stopService()
        await deferToThread(reader.join)
        self.assertEqual(b"".join(received), sent)

    async def test_a_reader_that_is_stuck_stalls_nobody(self) -> None:
        """The reactor turns while a pipe is full, the stop is in time, and the loss is counted."""
        path = new_path(self)
        os.mkfifo(path)
        pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, pipe)
        service = self.start(path, stop_within=0.1)
        begun = reactor.seconds()
        for _ in range(100):
            for _ in range(100):
                service.write("x" * 99)
            await deferLater(reactor, 0)
        self.assertLess(reactor.seconds() - begun, PATIENCE)
        await service.stopService()
        self.assertLess(reactor.seconds() - begun, 4 * PATIENCE)
        self.assertEqual(len(os.read(pipe, 1 << 20)) // 100 + service.dropped, 10_000)
        self.assertEqual(os.read(pipe, 1), b"", "the pipe is closed")

"""Sends spans to collectors of OpenTelemetry: in batches, within bounds, and never in the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from random import random
from typing import Any, Final, Protocol, cast

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.errors import UpstreamError
from a3s_gateway.headers import Headers
from a3s_gateway.proxy.collector import Collector
from a3s_gateway.proxy.origins import Origins
from a3s_gateway.task import Task, Waiter
from a3s_gateway.transport.timers import Timer, Timers, timers_for

from .otlp import CONTENT_TYPE, Delivery, export_request, judge, render
from .tracer import Span

MAX_QUEUE: Final = 2048  # spans; OpenTelemetry's default
BATCH: Final = 512  # spans; likewise
FLUSH_AFTER: Final = 2.0  # seconds that a span waits for others
PATIENCE: Final = 10.0  # seconds for one attempt, whatever it waits for
ATTEMPTS: Final = 5  # for one batch
BACKOFF: Final = 1.0  # seconds before the second attempt; twice as many before each that follows
MAX_BACKOFF: Final = 30.0  # seconds; a collector that asks for more is asked again after these
JITTER: Final = 0.2  # share of a pause, either way: gateways do not come back in step
REPORT_EVERY: Final = 30.0  # seconds between two warnings of lost spans
STOP_WITHIN: Final = 3.0  # seconds for the last spans

_log = Logger()


class Post(Protocol):
    """Who takes batches: `proxy.collector.Collector`."""

    def post(self, body: bytes, content_type: str, /) -> Awaitable[tuple[int, Headers, bytes]]:
        """Return the answer to one POST."""

    def close(self) -> None:
        """Close connections."""


@define(eq=False, slots=False)
class OtlpExporter(Service):
    """
    Keeps spans until a collector has them.

    One batch is on its way at a time. What cannot be delivered waits, up to `MAX_QUEUE`; what
    comes after that is lost, and so is a batch that was not taken in `ATTEMPTS`.

    Args:
        version: The gateway's.
        where: The collector, as the log calls it.
        closing: Called by `close`, when no generation needs this any longer.

    Attributes:
        lost: Spans that no collector has.

    """

    version: str
    where: str
    collector: Post
    timers: Timers
    random: Callable[[], float]
    closing: Callable[[OtlpExporter], None]
    lost: int = field(default=0, init=False)
    _queue: deque[str] = field(factory=deque, init=False)  # spans, rendered
    _in_hand: int = field(default=0, init=False)  # spans of the batch that is on its way
    _task: Task[None] | None = field(default=None, init=False)
    _pause: Waiter[None] | None = field(default=None, init=False)
    _stopped: Deferred[None] | None = field(default=None, init=False)
    _fault: str = field(default="too many at once", init=False)  # why spans were lost
    _reported: int = field(default=0, init=False)  # of `lost`
    _is_quiet: bool = field(default=False, init=False)  # a loss was reported a short while ago
    _flush: Timer = field(init=False)
    _resume: Timer = field(init=False)
    _report: Timer = field(init=False)
    _limit: Timer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._flush = self.timers.timer(self._begin)
        self._resume = self.timers.timer(self._wake)
        self._report = self.timers.timer(self._report_lost)
        self._limit = self.timers.timer(self._give_up)

    def record(self, span: Span) -> None:
        """Take a span; takes some 15 microseconds and raises nothing."""
        queue = self._queue
        if not self.running or len(queue) >= MAX_QUEUE:
            self._lose(1)
            return
        queue.append(render(span))
        if self._task is None:
            if len(queue) >= BATCH:
                self._begin()
            elif len(queue) == 1:
                self._flush.set(FLUSH_AFTER)

    def close(self) -> None:
        """Be needed no longer."""
        self.closing(self)

    def stopService(self) -> Deferred[None] | None:
        """Deliver what is there; fires when that is done, or `STOP_WITHIN` is over."""
        super().stopService()
        self._begin()
        if self._task is None:
            self._finish()
            return None
        self._limit.set(STOP_WITHIN)
        self._stopped = stopped = Deferred[None]()
        self._wake()
        return stopped

    # -- delivering

    def _begin(self) -> None:
        self._flush.cancel()
        if self._task is None and self._queue:
            self._task = task = Task(self._deliver_all(), self._is_over, self._broke)
            task.start()

    async def _deliver_all(self) -> None:
        queue, is_due = self._queue, True
        while queue and (is_due or len(queue) >= BATCH or not self.running):
            is_due = False
            batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
            self._in_hand = len(batch)
            delivery = await self._deliver(export_request(batch, self.version))
            self._in_hand = 0
            if delivery.fault or delivery.rejected:
                self._fault = delivery.fault or "it rejected them"
                self._lose(len(batch) if delivery.fault else delivery.rejected)

    async def _deliver(self, body: bytes) -> Delivery:
        delay, left = BACKOFF, ATTEMPTS
        while True:
            delivery = await self._attempt(body)
            left -= 1
            if not delivery.may_retry or not left or not self.running:
                return delivery
            spread = 1 - JITTER + 2 * JITTER * self.random()
            await self._rest(max(delay * spread, min(delivery.wait, MAX_BACKOFF)))
            delay *= 2

    async def _attempt(self, body: bytes) -> Delivery:
        answer: Waiter[tuple[int, Headers, bytes]] = Waiter()
        late = UpstreamError("UPSTREAM_TIMEOUT", f"no answer within {PATIENCE:g} s")
        task = Task(self._post(body), answer.resolve, lambda error: answer.reject(_as_fault(error)))
        timer = self.timers.timer(lambda: answer.reject(late))
        timer.set(PATIENCE)
        try:
            task.start()
            return judge(*await answer)
        except UpstreamError as error:
            return Delivery(str(error), may_retry=True)
        finally:
            timer.cancel()
            task.cancel()

    async def _post(self, body: bytes) -> tuple[int, Headers, bytes]:
        return await self.collector.post(body, CONTENT_TYPE)

    async def _rest(self, seconds: float) -> None:
        self._pause = Waiter()
        self._resume.set(seconds)
        try:
            await self._pause
        finally:
            self._pause = None
            self._resume.cancel()

    def _wake(self) -> None:
        if self._pause is not None:
            self._pause.resolve(None)

    def _is_over(self, _result: None) -> None:
        self._task = None
        if self._stopped is not None:
            self._finish()
        elif self._queue:
            self._flush.set(FLUSH_AFTER)

    def _broke(self, error: BaseException) -> None:
        _log.error("spans for {where} were lost: {error}", where=self.where, error=repr(error))
        self._fault = "see above"
        self._lose(self._in_hand)
        self._in_hand = 0
        self._is_over(None)

    # -- losing, and the end

    def _lose(self, count: int) -> None:
        self.lost += count
        if not self._is_quiet:
            self._report_lost()

    def _report_lost(self) -> None:
        """Say how many were lost since this was last said; once per interval."""
        count, self._reported = self.lost - self._reported, self.lost
        self._is_quiet = count > 0 and bool(self.running)
        if count:
            text = "lost {count} spans for {where}: {fault}"
            _log.warn(text, count=count, where=self.where, fault=self._fault)
            self._fault = "too many at once"
        if self._is_quiet:
            self._report.set(REPORT_EVERY)

    def _give_up(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._fault = f"not delivered within {STOP_WITHIN:g} s of the end"
        self.lost += self._in_hand + len(self._queue)
        self._in_hand = 0
        self._queue.clear()
        self._finish()

    def _finish(self) -> None:
        self._limit.cancel()
        self._report.cancel()
        self._report_lost()
        self.collector.close()
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)


def _as_fault(error: BaseException) -> UpstreamError:
    """Take whatever went wrong with an attempt for a fault of the collector."""
    if isinstance(error, UpstreamError):
        return error
    return UpstreamError("UPSTREAM_PROTOCOL", str(error) or type(error).__name__)


@define(eq=False, slots=False)
class Exporters(MultiService):
    """The exporters that generations need, and those that still deliver their last spans."""

    reactor: Any
    _ending: dict[OtlpExporter, Deferred[Any]] = field(factory=dict, init=False)
    _lost_before: int = field(default=0, init=False)  # spans, by exporters that have ended

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def exporter_for(self, version: str, url: ServerUrl, origins: Origins) -> OtlpExporter:
        """Make the exporter of a gateway to one collector; `OtlpExporter.close` ends it."""
        collector = Collector(url, origins, PATIENCE)
        timers = timers_for(self.reactor)
        exporter = OtlpExporter(version, url.authority, collector, timers, random, self._end)
        exporter.setServiceParent(self)
        return exporter

    @property
    def lost(self) -> int:
        """Count the spans that no collector has."""
        exporters = (*cast("Iterable[OtlpExporter]", self), *self._ending)
        return self._lost_before + sum(each.lost for each in exporters)

    def stopService(self) -> Deferred[Any]:
        """Deliver what is there, within bounds."""
        return DeferredList([super().stopService(), *self._ending.values()])

    def _end(self, exporter: OtlpExporter) -> None:
        ending = exporter.disownServiceParent()
        if ending is None or ending.called:
            self._lost_before += exporter.lost
        else:
            self._ending[exporter] = ending
            ending.addCallback(self._has_ended, exporter)

    def _has_ended(self, _result: object, exporter: OtlpExporter) -> None:
        del self._ending[exporter]
        self._lost_before += exporter.lost

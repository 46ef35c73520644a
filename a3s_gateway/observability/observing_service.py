"""What is told of exchanges: an observer per entrypoint, and the access log they write."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from random import random
from time import monotonic, time
from typing import Any

from attrs import define, field, frozen
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool

from a3s_gateway.config.observability import AccessLogConfig
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.runtime.compile import Snapshot
from a3s_gateway.transport.timers import timers_for

from .access_log import AccessLogFormat, Line
from .access_log_service import AccessLogService
from .counters import Ledger, RouteCounters
from .facts import Certificates, Facts, Outcomes
from .observer import ExchangeObserver
from .otlp_service import Exporters
from .output import Output


@define(eq=False, slots=False)
class Observing(MultiService):
    """
    Makes the observers and owns the access log.

    Args:
        reactor: Whose timers and threads are used.
        config: Of the access log.

    Attributes:
        ledger: What all routes have counted.
        exporters: Who takes spans to collectors.

    """

    reactor: Any
    config: AccessLogConfig
    _observers: dict[str, ExchangeObserver] = field(factory=dict, init=False)
    _access_log: AccessLogService | None = field(default=None, init=False)
    _ending: dict[AccessLogService, Deferred[None]] = field(factory=dict, init=False)
    _lost_before: int = field(default=0, init=False)  # lines, by access logs that have ended
    ledger: Ledger = field(factory=Ledger, init=False)
    exporters: Exporters = field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__init__()
        self.setName("observability")
        self.exporters = Exporters(self.reactor)
        self.exporters.setServiceParent(self)
        if self.config.enabled:
            self._access_log = self._make_log(self.config)
            self._access_log.setServiceParent(self)

    async def prepare(self, config: AccessLogConfig) -> LogChange:
        """Open the access log of another configuration, if it is another; raises `OSError`."""
        log = self._access_log
        if not config.enabled:
            log = None
        elif log is None or config.path != self.config.path:
            log = self._make_log(config)
            log.startService()
        return LogChange(self, config, log)

    def put_in_force(self, config: AccessLogConfig, log: AccessLogService | None) -> None:
        """Log by another configuration from now on; what was noted so far goes the old way."""
        self.flush()
        former, self._access_log, self.config = self._access_log, log, config
        for observer in self._observers.values():
            observer.line, observer.write = self._way()
        if log is former:
            return
        if log is not None:
            log.setServiceParent(self)
        if former is not None:
            ending = former.disownServiceParent()
            if ending is not None:
                self._ending[former] = ending
                ending.addBoth(self._has_ended, former)

    def is_in_force(self, log: AccessLogService | None) -> bool:
        """Tell whether lines go there."""
        return log is self._access_log

    def stopService(self) -> Deferred[Any]:
        """Write what is there, and close."""
        return DeferredList([super().stopService(), *self._ending.values()])

    def _has_ended(self, result: object, log: AccessLogService) -> object:
        del self._ending[log]
        self._lost_before += log.dropped
        return result

    def observer_for(self, name: str) -> ExchangeObserver:
        """Return the observer of an entrypoint; a reload finds the one that is there."""
        observer = self._observers.get(name)
        if observer is None:
            observer = self._observers[name] = self._make()
        return observer

    def flush(self) -> None:
        """Count and log what was noted and waits for company."""
        for observer in self._observers.values():
            observer.flush()

    def facts(
        self,
        version: str,
        snapshot: Snapshot | None,
        connections: Mapping[str, int],
        reloads: Outcomes,
        certificates: Certificates,
        lookups: Mapping[str, int],
    ) -> Facts:
        """Gather what has been counted; `connections` are clients by entrypoint."""
        self.flush()
        routes = tuple(snapshot.routes.values()) if snapshot else ()
        services = snapshot.services if snapshot else {}
        mux = snapshot.mux if snapshot else None
        self.ledger.settle({*services, *(route.service for route in routes)})
        return Facts(
            version=version,
            routes=routes,
            services=services,
            pools=snapshot.pools if snapshot else {},
            invocations=snapshot.invocations if snapshot else {},
            connections=connections,
            datagrams=snapshot.datagrams if snapshot else {},
            unrouted={name: each.unrouted for name, each in self._observers.items()},
            ledger=self.ledger,
            channels=mux.hub.counters_by_entry(mux.channels) if mux else {},
            hub=mux.hub if mux else None,
            circuits=snapshot.circuits if snapshot else {},
            reloads=reloads,
            certificates=certificates,
            lookups=lookups,
            lost_lines=self._lost(),
            lost_spans=self.exporters.lost,
        )

    def _lost(self) -> int:
        logs = [*self._ending, *([self._access_log] if self._access_log is not None else [])]
        return self._lost_before + sum(each.dropped for each in logs)

    def reopen(self) -> None:
        """Go on in a new file, for log rotation."""
        if self._access_log is not None:
            self._access_log.reopen()

    def _make(self) -> ExchangeObserver:
        observer = ExchangeObserver(RouteCounters(), *self._way(), monotonic, time)
        observer.alarm = timers_for(self.reactor).timer(observer.flush)
        return observer

    def _way(self) -> tuple[Line | None, Callable[[str], None]]:
        if self._access_log is None:
            return None, _nowhere
        config = self.config
        line = AccessLogFormat(config.format, config.fields, config.sample).compile(random)
        return line, self._access_log.write

    def _make_log(self, config: AccessLogConfig) -> AccessLogService:
        in_thread = partial(deferToThreadPool, self.reactor, self.reactor.getThreadPool())
        return AccessLogService(Output(config.path), self.reactor, in_thread)


@frozen(eq=False)
class LogChange:
    """A `Prepared` change of the access log: the file of the next one is open."""

    observing: Observing
    config: AccessLogConfig
    log: AccessLogService | None

    def commit(self) -> None:
        """Log there, and by these settings."""
        self.observing.put_in_force(self.config, self.log)

    def undo(self) -> None:
        """Close what was opened."""
        if self.log is not None and not self.observing.is_in_force(self.log):
            self.log.stopService()


def cannot_open(config: AccessLogConfig, error: OSError) -> Diagnostic:
    """Say why the access log's file cannot be opened."""
    message = f'cannot write the access log to "{config.path}": {error.strerror or error}'
    folder = os.path.dirname(config.path)  # noqa: PTH120  # text in, text out
    hint = f"create the folder {folder}" if isinstance(error, FileNotFoundError) else ""
    return Diagnostic(config.span_of("path"), message, hint or "choose another file")


def _nowhere(_line: str) -> None:
    """Take a line where there is no access log."""

"""What is told of exchanges: an observer per entrypoint, and the access log they write."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from random import random
from time import monotonic, time
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService
from twisted.internet.threads import deferToThreadPool

from a3s_gateway.config.observability import AccessLogConfig
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.runtime.compile import Snapshot
from a3s_gateway.transport.timers import timers_for

from .access_log import AccessLogFormat, Line
from .access_log_service import AccessLogService
from .counters import Ledger, RouteCounters
from .facts import Facts, Outcomes
from .observer import ExchangeObserver
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

    """

    reactor: Any
    config: AccessLogConfig
    _observers: dict[str, ExchangeObserver] = field(factory=dict, init=False)
    _access_log: AccessLogService | None = field(default=None, init=False)
    ledger: Ledger = field(factory=Ledger, init=False)

    def __attrs_post_init__(self) -> None:
        super().__init__()
        self.setName("observability")
        if self.config.enabled:
            in_thread = partial(deferToThreadPool, self.reactor, self.reactor.getThreadPool())
            self._access_log = AccessLogService(Output(self.config.path), self.reactor, in_thread)
            self._access_log.setServiceParent(self)

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
    ) -> Facts:
        """Gather what has been counted; `connections` are clients by entrypoint."""
        self.flush()
        routes = tuple(snapshot.routes.values()) if snapshot else ()
        services = snapshot.services if snapshot else {}
        self.ledger.settle({*services, *(route.service for route in routes)})
        return Facts(
            version,
            routes,
            services,
            snapshot.pools if snapshot else {},
            connections,
            {name: each.unrouted for name, each in self._observers.items()},
            self.ledger,
            reloads,
            self._access_log.dropped if self._access_log is not None else 0,
        )

    def reopen(self) -> None:
        """Go on in a new file, for log rotation."""
        if self._access_log is not None:
            self._access_log.reopen()

    def _make(self) -> ExchangeObserver:
        line: Line | None = None
        write: Callable[[str], None] = _nowhere
        if self._access_log is not None:
            config = self.config
            line = AccessLogFormat(config.format, config.fields, config.sample).compile(random)
            write = self._access_log.write
        observer = ExchangeObserver(RouteCounters(), line, write, monotonic, time)
        observer.alarm = timers_for(self.reactor).timer(observer.flush)
        return observer


def cannot_open(config: AccessLogConfig, error: OSError) -> Diagnostic:
    """Say why the access log's file cannot be opened."""
    message = f'cannot write the access log to "{config.path}": {error.strerror or error}'
    folder = os.path.dirname(config.path)  # noqa: PTH120  # text in, text out
    hint = f"create the folder {folder}" if isinstance(error, FileNotFoundError) else ""
    return Diagnostic(config.span_of("path"), message, hint or "choose another file")


def _nowhere(_line: str) -> None:
    """Take a line where there is no access log."""

"""A process whose purpose is a gateway: its signals, its words, its exit status."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TextIO

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from a3s_gateway.config.apart import read_apart
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.entrypoint.tls import certificate_faults
from a3s_gateway.gateway import BindError, Gateway, State, settle_memory
from a3s_gateway.hcl.diagnostics import Diagnostic, render
from a3s_gateway.observability.alarm import Alarm
from a3s_gateway.observability.stall_service import StallWatch
from a3s_gateway.runtime.memory import growing
from a3s_gateway.runtime.unavailable import unavailable
from a3s_gateway.systemd_service import Notifier, Watchdog
from a3s_gateway.transport.endpoints import HAS_EPOLL

_log = Logger()


class Exit(IntEnum):
    """How a process ends."""

    FINE = 0
    FAILED = 1  # invalid configuration, or a run that failed
    USAGE = 2
    CANNOT_BIND = 3


DEFAULT_CONFIG: Final = "gateway.hcl"


def find_config(given: str | None) -> str | None:
    """Choose the file: what was given, or what the environment says, or the one that is here."""
    path = given or os.environ.get("A3S_GATEWAY_CONFIG")
    return path or (DEFAULT_CONFIG if Path(DEFAULT_CONFIG).exists() else None)


def brace() -> None:
    """Ignore, until the gateway listens, the signals that would mean something only then."""
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def load(path: str) -> GatewayConfig:
    """
    Read a configuration that can be run; its warnings go to standard error.

    Raises:
        ConfigError: With all its faults, also those of the files it names.

    """
    config = read_apart(path)
    if faults := obstacles(config):
        raise ConfigError((*config.warnings, *faults), config.sources)
    if config.warnings:
        complain(render(config.warnings, config.sources, colour=has_colour()))
    return config


def obstacles(config: GatewayConfig) -> tuple[Diagnostic, ...]:
    """Find all that would keep a valid configuration from being run, but for what is in use."""
    return (*unavailable(config, has_limits=HAS_EPOLL), *certificate_faults(config))


def say_why(error: BaseException | None) -> str:
    """Word what ended a process, for a terminal."""
    if isinstance(error, ConfigError):
        return error.render(colour=has_colour())
    return f"error: {str(error) or type(error).__name__}"


def status_of(error: BaseException | None) -> Exit:
    """Tell which exit status an error means."""
    return Exit.CANNOT_BIND if isinstance(error, BindError) else Exit.FAILED


def complain(text: str) -> None:
    """Write to the standard error that the process was started with; `twistd` redirects it."""
    stream = _standard_error()
    stream.write(text.rstrip("\n") + "\n")
    stream.flush()


def has_colour() -> bool:
    """Tell whether faults are read by a person at a terminal who likes colours."""
    return _standard_error().isatty() and not os.environ.get("NO_COLOR")


def _standard_error() -> TextIO:
    return sys.__stderr__ or sys.stderr


@define(eq=False)
class Process:
    """
    Runs one gateway from the start of the reactor to the end of it.

    Twisted's own handlers would stop the reactor at once and have `twistd` kill itself by the
    same signal. The reactor installs them when it begins to run, so ours come after that.

    Args:
        gateway: Started by `start`, or already before.
        reactor: Stopped when the gateway has.
        is_debugging: Show tracebacks.
        on_reopen: Called when log files are to be opened anew, besides the access log.

    """

    gateway: Gateway
    reactor: Any
    is_debugging: bool = False
    on_reopen: Callable[[], None] | None = None
    status: Exit = field(default=Exit.FINE, init=False)
    _systemd: Notifier = field(factory=Notifier.from_environment, init=False)
    _stalls: StallWatch = field(init=False)
    _watchdog: Watchdog = field(init=False)

    def __attrs_post_init__(self) -> None:
        stream = sys.__stderr__
        self._stalls = StallWatch(self.reactor, None if stream is None else Alarm(stream))
        self._watchdog = Watchdog.from_environment(self._systemd, self.reactor)

    def handle_signals(self) -> None:
        """Take the signals over; what comes before the reactor runs is done when it does."""
        signal.signal(signal.SIGTERM, self._stop_signal)
        signal.signal(signal.SIGINT, self._stop_signal)
        signal.signal(signal.SIGHUP, self._reload_signal)
        signal.signal(signal.SIGUSR1, self._reopen_signal)

    def start(self) -> None:
        """Begin everything; call when the reactor runs."""
        self.handle_signals()
        if sys.__stderr__ is not None:
            faulthandler.enable(sys.__stderr__)  # by SIGABRT, too, with which systemd ends a hang
        is_new = self.gateway.state().state is State.CREATED
        started = self.gateway.start() if is_new else succeed(None)
        started.addCallback(self._serve).addErrback(self._failed).addBoth(self._end)

    def _serve(self, _: None) -> Deferred[None]:
        settle_memory()
        self.gateway.during_reloads(self._reloading)
        self._stalls.startService()
        self._systemd.ready(self._serving())
        self._watchdog.startService()
        return self.gateway.wait_for_shutdown()

    def _serving(self) -> str:
        count = len(self.gateway.addresses())
        return f"serving {count} entrypoint{'' if count == 1 else 's'}"

    @contextmanager
    def _reloading(self) -> Iterator[None]:
        self._systemd.reloading("reloading the configuration")
        try:
            with growing():
                yield
        finally:
            if self.gateway.state().state is State.RUNNING:  # the end may have come in between
                self._systemd.ready(self._serving())

    def _failed(self, failure: Failure) -> None:
        self.status = status_of(failure.value)
        complain(failure.getTraceback() if self.is_debugging else say_why(failure.value))

    def _end(self, _: None) -> None:
        for service in (self._stalls, self._watchdog):
            if service.running:
                service.stopService()
        self.reactor.stop()

    # -- signals, which arrive anywhere in the program

    def _stop_signal(self, number: int, _frame: object) -> None:
        self.reactor.callFromThread(self._stop, number)

    def _stop(self, number: int) -> None:
        if self.gateway.state().state is State.RUNNING:
            count = self.gateway.health().active_connections
            self._systemd.stopping(f"stopping; connections open: {count}")
            self.gateway.shutdown()
        elif number == signal.SIGINT:
            _log.warn("interrupted again: not waiting for what still runs")
            self.status = Exit.FAILED
            self.gateway.cut_off()

    def _reload_signal(self, _number: int, _frame: object) -> None:
        self.reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        self.gateway.reload().addErrback(lambda _: None)  # the log has the outcome

    def _reopen_signal(self, _number: int, _frame: object) -> None:
        self.reactor.callFromThread(self._reopen)

    def _reopen(self) -> None:
        self.gateway.reopen_access_log()
        if self.on_reopen is not None:
            self.on_reopen()

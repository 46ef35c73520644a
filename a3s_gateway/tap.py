"""`twistd a3s-gateway`: the gateway as a Twisted plugin."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet import reactor
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from a3s_gateway import __version__, logs
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.gateway import Gateway
from a3s_gateway.process import (
    DEFAULT_CONFIG,
    Exit,
    Process,
    brace,
    complain,
    find_config,
    load,
    say_why,
    status_of,
)

_log = Logger()


class Options(usage.Options):
    """The options behind `twistd a3s-gateway`."""

    synopsis = "[options]"
    longdesc = "An API gateway and reverse proxy, configured in HCL."
    optParameters = [  # noqa: RUF012 - Twisted's way
        ["config", "c", None, f"Configuration file; or A3S_GATEWAY_CONFIG; else {DEFAULT_CONFIG}."],
        ["log-level", None, None, f"{', '.join(logs.LEVELS)}; or A3S_GATEWAY_LOG_LEVEL."],
        ["log-format", None, None, "text or json; or A3S_GATEWAY_LOG_FORMAT."],
    ]
    optFlags = [  # noqa: RUF012
        ["debug", None, "Show tracebacks."],
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the arguments; what is wrong with them ends the process, as `a3s-gateway` does."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            complain(f"{self}\ntwistd a3s-gateway: {error}")
            sys.exit(Exit.USAGE)

    def postOptions(self) -> None:
        """Fill in what the environment says, and check it."""
        self["config"] = find_config(self["config"])
        if self["config"] is None:
            raise usage.UsageError(f"give a configuration file: --config {DEFAULT_CONFIG}")
        self["log-level"] = self["log-level"] or logs.level_wanted()
        self["log-format"] = self["log-format"] or logs.format_wanted()
        for name, allowed in (("log-level", logs.LEVELS), ("log-format", logs.FORMATS)):
            if self[name] not in allowed:
                raise usage.UsageError(
                    f"{name} is {self[name]!r}; choose from {', '.join(allowed)}"
                )

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"a3s-gateway {__version__}\n")
        sys.exit(Exit.FINE)


class EndOfProcess(SystemExit, Exception):  # noqa: N818 - nor is SystemExit called an error
    """
    Ends `twistd` with an exit status, and without a traceback.

    It is an `Exception`, too, so that `twistd` removes its pid file and tells its parent.
    """


def makeService(options: Options) -> IService:
    """Build the gateway; a configuration at fault ends the process with status 1."""
    try:
        brace()
        config = load(options["config"])
    except ConfigError as error:
        complain(say_why(error))
        raise EndOfProcess(Exit.FAILED) from error
    log = config.access_log
    if log.enabled and not log.path and options.parent and not options.parent["nodaemon"]:
        complain("warning: a daemon has no standard output; set access_log { path = ... }")
    return Program(Gateway(config, reactor), options)


def _end_with_status_of(process: Process) -> None:
    """Say how the run went; `twistd` itself ends with 0 whatever happened."""
    if process.status != Exit.FINE:
        sys.stdout.flush()
        os._exit(process.status)


class Program(MultiService):
    """What `twistd` starts and stops: the gateway, with the log and the signals of its process."""

    def __init__(self, gateway: Gateway, options: Options) -> None:
        super().__init__()
        self._gateway = gateway
        self._is_debugging = bool(options["debug"])
        self._reopen_log: Callable[[], None] | None = None
        self._observer = self._make_observer(options, options.parent or {})
        gateway.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """Bring our own log along; `twistd` begins to log once it has put the parts together."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Listen; what keeps it from that is told on standard error."""
        process = Process(self._gateway, reactor, self._is_debugging, self._reopen_log)
        process.handle_signals()  # who sees that we listen may send one before the reactor runs
        try:
            super().privilegedStartService()
        except Exception as error:
            if self._is_debugging:
                raise
            complain(say_why(error))
            if self._reopen_log is not None:  # and perhaps there is no terminal
                _log.critical("{why}", why=say_why(error))
            raise EndOfProcess(status_of(error)) from error
        reactor.callWhenRunning(process.start)
        atexit.register(_end_with_status_of, process)

    def _make_observer(self, options: Options, twistd: Any) -> ILogObserver | None:
        """Replace the log of `twistd`, unless it was asked for another one by name."""
        if twistd.get("logger") or twistd.get("syslog"):
            return None
        path = twistd.get("logfile") or ""
        has_terminal = twistd.get("nodaemon") and path in {"", "-"}
        write = complain if has_terminal else self._write_to(path)
        return logs.observer(options["log-level"], options["log-format"], write)

    def _write_to(self, path: str) -> Callable[[str], None]:
        file = LogFile.fromFullPath(path or "twistd.log")
        self._reopen_log = file.reopen

        def write(line: str) -> None:
            file.write(line.encode("utf-8", "backslashreplace"))
            file.flush()

        return write

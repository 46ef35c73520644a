"""The command line: `a3s-gateway [run|validate] --config FILE`."""

from __future__ import annotations

import json
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred

from a3s_gateway import __version__, logs
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.gateway import BindError, Gateway, settle_memory
from a3s_gateway.hcl.diagnostics import Diagnostic, render
from a3s_gateway.runtime.unavailable import unavailable

FINE: Final = 0
FAILED: Final = 1  # invalid configuration, or a run that failed
USAGE: Final = 2
CANNOT_BIND: Final = 3
DEFAULT_CONFIG: Final = "gateway.hcl"

reactor: Any = _reactor  # Twisted types it as a module


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with its status."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    try:
        status = validate(options) if options.command == "validate" else run(options)
    except KeyboardInterrupt:
        status = FAILED
    except Exception as error:
        if options.debug:
            raise
        _complain(f"error: {error}")
        status = FAILED
    sys.exit(status)


def run(options: Namespace) -> int:
    """Serve until told to stop."""
    config = _load(options)
    if config is None:
        return FAILED
    logs.begin(options.log_level, options.log_format)
    return _Run(Gateway(config, reactor), options.debug).until_stopped()


def validate(options: Namespace) -> int:
    """Say whether a configuration could be run."""
    try:
        config = GatewayConfig.from_file(options.config)
    except ConfigError as error:
        return _report(options, error.diagnostics, error, None)
    warnings = (*config.warnings, *_as_warnings(unavailable(config)))
    return _report(options, warnings, None, config)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="a3s-gateway",
        description="An API gateway and reverse proxy, configured in HCL.",
        epilog="Exit status: 0 fine, 1 invalid configuration or failed run, 2 usage, 3 cannot bind.",
    )
    parser.add_argument(
        "command", nargs="?", choices=("run", "validate"), default="run",
        help="run (the default) or validate",
    )  # fmt: skip
    parser.add_argument(
        "-c", "--config", metavar="FILE", default=os.environ.get("A3S_GATEWAY_CONFIG"),
        help=f"configuration file; or A3S_GATEWAY_CONFIG; else {DEFAULT_CONFIG}",
    )  # fmt: skip
    parser.add_argument(
        "--log-level", choices=logs.LEVELS, metavar="LEVEL",
        default=os.environ.get("A3S_GATEWAY_LOG_LEVEL", "info"),
        help=f"{', '.join(logs.LEVELS)}; or A3S_GATEWAY_LOG_LEVEL; else info",
    )  # fmt: skip
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="of the application log"
    )
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="of what validate says"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("--version", action="version", version=f"a3s-gateway {__version__}")
    options = parser.parse_args(arguments)
    if options.log_level not in logs.LEVELS:
        parser.error(f"A3S_GATEWAY_LOG_LEVEL is {options.log_level!r}: choose of {logs.LEVELS}")
    if options.config is None:
        if not Path(DEFAULT_CONFIG).exists():
            parser.error(f"give a configuration file: --config {DEFAULT_CONFIG}")
        options.config = DEFAULT_CONFIG
    return options


def _load(options: Namespace) -> GatewayConfig | None:
    try:
        config = GatewayConfig.from_file(options.config)
        if faults := unavailable(config):
            raise ConfigError((*config.warnings, *faults), config.sources)
    except ConfigError as error:
        _complain(error.render(colour=_has_colour()))
        return None
    if config.warnings:
        _complain(render(config.warnings, config.sources, colour=_has_colour()))
    return config


class _Run:
    """One run of the reactor; the process's signals are its own."""

    def __init__(self, gateway: Gateway, debug: bool) -> None:  # noqa: FBT001
        self._gateway = gateway
        self._debug = debug
        self._status = FINE

    def until_stopped(self) -> int:
        reactor.callWhenRunning(self._start)
        reactor.run()
        return self._status

    def _start(self) -> None:
        # Twisted has installed its own handlers by now, and with them what wakes the reactor.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop_signal)
        signal.signal(signal.SIGUSR1, self._reopen_signal)
        self._gateway.start().addCallbacks(self._started, self._failed)

    def _started(self, _: None) -> None:
        settle_memory()
        self._gateway.wait_for_shutdown().addBoth(lambda _: reactor.stop())

    def _failed(self, failure: Any) -> None:
        self._status = CANNOT_BIND if failure.check(BindError) else FAILED
        _complain(failure.getTraceback() if self._debug else str(failure.value))
        reactor.stop()

    def _stop_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGINT and self._gateway.state().state == "stopping":
            os._exit(FAILED)  # asked twice: now
        reactor.callFromThread(self._shut_down)

    def _shut_down(self) -> None:
        done: Deferred[None] = self._gateway.shutdown()
        done.addErrback(self._failed)

    def _reopen_signal(self, _number: int, _frame: object) -> None:
        reactor.callFromThread(self._gateway.reopen_access_log)


def _report(
    options: Namespace,
    diagnostics: Sequence[Diagnostic],
    error: ConfigError | None,
    config: GatewayConfig | None,
) -> int:
    is_valid = error is None
    if options.format == "json":
        listed = [_as_json(diagnostic) for diagnostic in diagnostics]
        _say(json.dumps({"valid": is_valid, "diagnostics": listed}, indent=2))
    elif error is not None:
        _complain(error.render(colour=_has_colour()))
    elif config is not None:
        if diagnostics:
            _complain(render(diagnostics, config.sources, colour=_has_colour()))
        _say(f"{options.config} is valid: {_summary(config)}")
    return FINE if is_valid else FAILED


def _summary(config: GatewayConfig) -> str:
    counts = {
        "entrypoint": len(config.entrypoints),
        "router": len(config.routers),
        "service": len(config.services),
        "middleware": len(config.middlewares),
    }
    return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items())


def _as_warnings(faults: Sequence[Diagnostic]) -> list[Diagnostic]:
    from attrs import evolve

    return [evolve(fault, severity="warning") for fault in faults]


def _as_json(diagnostic: Diagnostic) -> dict[str, Any]:
    span = diagnostic.span
    return {
        "severity": diagnostic.severity,
        "file": span.path,
        "line": span.line,
        "column": span.column,
        "width": span.width,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    }


def _has_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(text.rstrip("\n") + "\n")

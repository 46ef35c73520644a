"""The command line: `a3s-gateway [run|validate] --config FILE`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from attrs import evolve
from twisted.internet import reactor as _reactor

from a3s_gateway import __version__, logs
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.entrypoint.tls import certificate_faults
from a3s_gateway.gateway import Gateway
from a3s_gateway.hcl.diagnostics import Diagnostic, Span, in_order, render
from a3s_gateway.process import (
    DEFAULT_CONFIG,
    Exit,
    Process,
    brace,
    complain,
    find_config,
    has_colour,
    load,
    say_why,
    status_of,
)
from a3s_gateway.runtime.unavailable import unavailable

reactor: Any = _reactor  # Twisted types it as a module


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit with its status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        status = validate(options) if options.command == "validate" else run(options)
    except KeyboardInterrupt:
        status = Exit.FAILED
    except Exception as error:
        if options.debug:
            raise
        complain(say_why(error))
        status = status_of(error)
    sys.exit(status)


def run(options: Namespace) -> int:
    """Serve until told to stop."""
    brace()
    config = load(options.config)
    logs.begin(options.log_level, options.log_format)
    process = Process(Gateway(config, reactor), reactor, options.debug)
    reactor.callWhenRunning(process.start)
    reactor.run()
    return process.status


def validate(options: Namespace) -> int:
    """Say whether a configuration is valid; what cannot be run yet is a warning."""
    try:
        config = GatewayConfig.from_file(options.config)
    except ConfigError as error:
        return _tell_faults(options, error)
    warnings = [*config.warnings, *_as_warnings(unavailable(config))]
    if faults := certificate_faults(config):
        return _tell_faults(options, ConfigError((*warnings, *faults), config.sources))
    return _tell_summary(options, config, warnings)


def parse(arguments: Sequence[str]) -> Namespace:
    """Read the arguments; what is wrong with them ends the process with status 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for variable, value, allowed in (
        ("A3S_GATEWAY_LOG_LEVEL", options.log_level, logs.LEVELS),
        ("A3S_GATEWAY_LOG_FORMAT", options.log_format, logs.FORMATS),
    ):
        if value not in allowed:
            parser.error(f"{variable} is {value!r}; choose from {', '.join(allowed)}")
    if options.format is not None and options.command != "validate":
        parser.error("--format is for validate; a run has --log-format")
    options.config = find_config(options.config)
    if options.config is None:
        parser.error(f"give a configuration file: --config {DEFAULT_CONFIG}")
    return options


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="a3s-gateway",
        description="An API gateway and reverse proxy, configured in HCL.",
        epilog="Exit status: 0 fine, 1 invalid configuration or failed run, 2 usage, "
        "3 cannot bind. TERM and INT drain and stop, a second INT stops at once; "
        "USR1 reopens the access log.",
    )
    add = parser.add_argument
    add("command", nargs="?", choices=("run", "validate"), default="run",
        help="run (the default) or validate")  # fmt: skip
    add("-c", "--config", metavar="FILE",
        help=f"configuration file; or A3S_GATEWAY_CONFIG; else {DEFAULT_CONFIG}")  # fmt: skip
    add("--log-level", choices=logs.LEVELS, metavar="LEVEL", default=logs.level_wanted(),
        help=f"{', '.join(logs.LEVELS)}; or A3S_GATEWAY_LOG_LEVEL; else info")  # fmt: skip
    add("--log-format", choices=logs.FORMATS, default=logs.format_wanted(),
        help="of the application log; or A3S_GATEWAY_LOG_FORMAT; else text")  # fmt: skip
    add("--format", choices=("text", "json"), help="of what validate says; text unless given")
    add("--debug", action="store_true", help="show tracebacks")
    add("--version", action="version", version=f"a3s-gateway {__version__}")
    return parser


def _tell_faults(options: Namespace, error: ConfigError) -> Exit:
    if options.format == "json":
        _say(_report(error.diagnostics, is_valid=False))
    else:
        complain(say_why(error))
    return Exit.FAILED


def _tell_summary(
    options: Namespace, config: GatewayConfig, warnings: Sequence[Diagnostic]
) -> Exit:
    ordered = in_order(warnings)
    if options.format == "json":
        _say(_report(ordered, is_valid=True))
        return Exit.FINE
    if ordered:
        complain(render(ordered, config.sources, colour=has_colour()))
    _say(f"{options.config} is valid: {_summary(config)}")
    return Exit.FINE


def _summary(config: GatewayConfig) -> str:
    counts = {
        "entrypoint": len(config.entrypoints),
        "router": len(config.routers),
        "service": len(config.services),
        "middleware": len(config.middlewares),
    }
    return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items())


def _as_warnings(faults: Iterable[Diagnostic]) -> list[Diagnostic]:
    return [evolve(fault, severity="warning") for fault in faults]


def _report(diagnostics: Iterable[Diagnostic], *, is_valid: bool) -> str:
    listed = [
        {
            "severity": each.severity,
            **_place(each.span),
            "message": each.message,
            "hint": each.hint,
            "notes": [{**_place(note.span), "message": note.text} for note in each.notes],
        }
        for each in diagnostics
    ]
    return json.dumps({"valid": is_valid, "diagnostics": listed}, indent=2)


def _place(span: Span) -> dict[str, str | int]:
    """Name a place; line 0 stands for the whole file."""
    return {"file": span.path, "line": span.line, "column": span.column, "width": span.width}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")

"""The application log: one event, one line, as text or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
)
from zope.interface import provider

LEVELS: Final = ("debug", "info", "warn", "error", "critical")
FORMATS: Final = ("text", "json")
Format = Literal["text", "json"]

# What Twisted's older logging system adds to its events.
_OF_THE_OLD_LOG: Final = {"isError", "failure", "why", "system", "time", "format", "message"}


def level_wanted() -> str:
    """Read the environment; whoever uses it checks it."""
    return os.environ.get("A3S_GATEWAY_LOG_LEVEL") or "info"


def format_wanted() -> str:
    """Read the environment; whoever uses it checks it."""
    return os.environ.get("A3S_GATEWAY_LOG_FORMAT") or "text"


def begin(level: str, form: Format, stream: TextIO | None = None) -> None:
    """Send everything that is logged from now on to `stream`, standard error unless given."""
    target = sys.stderr if stream is None else stream

    def write(line: str) -> None:
        target.write(line)
        target.flush()

    globalLogBeginner.beginLoggingTo([observer(level, form, write)], redirectStandardIO=False)


def observer(level: str, form: Format, write: Callable[[str], None]) -> ILogObserver:
    """
    Make what hands each event from `level` on to `write`, as one line with its end.

    What Twisted itself says of its doings at level `info` is of level `debug` here.
    """
    threshold = LEVELS.index(level)
    render = _json if form == "json" else _text

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if LEVELS.index(_level(event)) >= threshold:
            write(render(event))

    observing: ILogObserver = observe
    return observing


def _text(event: LogEvent) -> str:
    message = _message(event).replace("\n", "\n    ")
    return f"{_time(event)} {_level(event):<5} {_logger(event)}: {message}\n"


def _json(event: LogEvent) -> str:
    line: dict[str, Any] = {
        "timestamp": _time(event),
        "level": _level(event),
        "logger": _logger(event),
        "message": _message(event),
    }
    for name, value in event.items():
        if name in line or name.startswith("log_") or name in _OF_THE_OLD_LOG:
            continue
        line[name] = value if isinstance(value, str | int | float | bool | None) else str(value)
    return json.dumps(line) + "\n"


def _message(event: LogEvent) -> str:
    message = formatEvent(event) or str(event.get("log_text", ""))
    failure = event.get("log_failure")
    if failure is not None:
        message = f"{message}\n{failure.getTraceback()}".strip()
    return message


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event["log_time"], UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    level = event.get("log_level") or LogLevel.info
    space = _logger(event)
    is_chatter = level is LogLevel.info and (space == "log_legacy" or space.startswith("twisted."))
    return "debug" if is_chatter else str(level.name)


def _logger(event: LogEvent) -> str:
    return str(event.get("log_namespace", "-"))

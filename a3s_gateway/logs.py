"""The application log: one event, one line, as text or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from zope.interface import provider

LEVELS: Final = ("debug", "info", "warn", "error", "critical")
Format = Literal["text", "json"]


def begin(level: str, form: Format, stream: TextIO | None = None) -> None:
    """Send everything that is logged from now on to `stream`, standard error unless given."""
    target = sys.stderr if stream is None else stream
    render = _json if form == "json" else _text

    @provider(ILogObserver)
    def observer(event: LogEvent) -> None:
        target.write(render(event))
        target.flush()

    threshold = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    globalLogBeginner.beginLoggingTo(
        [FilteringLogObserver(observer, [threshold])], redirectStandardIO=False
    )


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
    line |= {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in event.items()
        if not name.startswith("log_") and name not in _OF_THE_OLD_LOG
    }
    return json.dumps(line) + "\n"


# What Twisted's older logging system adds to its events.
_OF_THE_OLD_LOG: Final = {"isError", "failure", "why", "system", "time", "format", "message"}


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
    level = event.get("log_level")
    return str(level.name) if level is not None else "info"


def _logger(event: LogEvent) -> str:
    return str(event.get("log_namespace", "-"))


Begin = Callable[[str, Format], None]

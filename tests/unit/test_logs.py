from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from a3s_gateway import logs

AT_NOON = 1_700_000_000.25  # 2023-11-14, 22:13:20 UTC


def event(**changes: Any) -> dict[str, Any]:
    return {
        "log_time": AT_NOON,
        "log_level": LogLevel.info,
        "log_namespace": "a3s_gateway.gateway",
        "log_format": "stopped after {seconds}",
        "seconds": 1.5,
    } | changes


def line(form: logs.Format = "text", level: str = "info", **changes: Any) -> str:
    lines: list[str] = []
    logs.observer(level, form, lines.append)(event(**changes))
    return "".join(lines)


def test_an_event_is_a_line() -> None:
    """When, how bad, who, what."""
    assert line() == "2023-11-14T22:13:20.250Z info  a3s_gateway.gateway: stopped after 1.5\n"


def test_an_event_is_a_line_of_json() -> None:
    """With its fields under their names, as they are or as text."""
    assert json.loads(line("json", who=ValueError("x"))) == {
        "timestamp": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "logger": "a3s_gateway.gateway",
        "message": "stopped after 1.5",
        "seconds": 1.5,
        "who": "x",
    }


def test_a_field_does_not_hide_what_every_line_has() -> None:
    """An event may have a field called `logger`."""
    shown = json.loads(line("json", logger="field", log_format="x"))
    assert shown["logger"] == "a3s_gateway.gateway"


def test_a_message_of_several_lines_stays_one_event() -> None:
    """What follows is set in; JSON escapes it."""
    shown = line(log_format="one\ntwo")
    assert shown.endswith(": one\n    two\n")
    assert line("json", log_format="one\ntwo").count("\n") == 1


def test_a_failure_brings_its_traceback() -> None:
    """In text and in JSON."""
    failure = Failure(ValueError("on fire"))
    for form in ("text", "json"):
        shown = line(form, log_format="it broke", log_failure=failure)
        assert "it broke" in shown
        assert "ValueError: on fire" in shown


@pytest.mark.parametrize("level", logs.LEVELS)
def test_only_what_is_bad_enough_is_told(level: str) -> None:
    """From the level that was asked for upwards."""
    told = [
        each
        for each in logs.LEVELS
        if line(level=level, log_level=LogLevel.levelWithName(each))
    ]  # fmt: skip
    assert told == list(logs.LEVELS[logs.LEVELS.index(level) :])


@pytest.mark.parametrize("space", ["twisted.internet.base", "log_legacy"])
def test_twisteds_chatter_is_for_debugging(space: str) -> None:
    """ "Main loop terminated" is nobody's news; a warning of Twisted's still is."""
    assert line(log_namespace=space) == ""
    assert " debug " in line(level="debug", log_namespace=space)
    assert " warn " in line(log_namespace=space, log_level=LogLevel.warn)


def test_an_event_of_the_old_log_has_its_text() -> None:
    """Libraries that still use twisted.python.log are heard."""
    shown = line(log_format=None, log_text="said", isError=0, system="-", log_level=LogLevel.warn)
    assert shown.endswith(": said\n")
    assert "isError" not in line("json", isError=1, log_level=LogLevel.critical)


def test_from_begin_on_everything_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged by whoever reaches the stream."""
    begun: list[Any] = []
    monkeypatch.setattr(
        logs.globalLogBeginner, "beginLoggingTo", lambda found, **_: begun.extend(found)
    )
    stream = StringIO()
    logs.begin("info", "text", stream)
    Logger("a3s_gateway.test", observer=begun[0]).info("said {what}", what="so")
    assert stream.getvalue().endswith(" info  a3s_gateway.test: said so\n")


def test_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset and empty are the same."""
    monkeypatch.setenv("A3S_GATEWAY_LOG_LEVEL", "debug")
    monkeypatch.setenv("A3S_GATEWAY_LOG_FORMAT", "")
    assert (logs.level_wanted(), logs.format_wanted()) == ("debug", "text")

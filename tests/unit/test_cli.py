"""The command line inside one process; `tests/integration/test_twistd.py` has the processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from a3s_gateway import __version__, process
from a3s_gateway.cli import main, parse
from a3s_gateway.process import Exit
from tests.certificates import issue, make_ca

GOOD = """
entrypoints "web" {
  address = "127.0.0.1:0"
}
routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}
"""
SPOILT = GOOD.replace("whoami@internal", "whomai@internal")
EARLY = f"{GOOD}providers {{\n  docker {{\n  }}\n}}\n"


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONFIG", "LOG_LEVEL", "LOG_FORMAT"):
        monkeypatch.delenv(f"A3S_GATEWAY_{name}", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "gateway.hcl") -> str:
    Path(name).write_text(text)
    return name


def exits(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


# -- arguments


def test_a_run_is_what_is_meant_without_a_command() -> None:
    """`a3s-gateway --config FILE` and `a3s-gateway run --config FILE` are the same."""
    assert parse(["--config", "x"]) == parse(["run", "--config", "x"])
    assert parse(["--config", "x"]).command == "run"


def test_the_environment_stands_in_for_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a flag stands above the environment."""
    monkeypatch.setenv("A3S_GATEWAY_CONFIG", "from-environment.hcl")
    monkeypatch.setenv("A3S_GATEWAY_LOG_LEVEL", "debug")
    monkeypatch.setenv("A3S_GATEWAY_LOG_FORMAT", "json")
    options = parse([])
    assert (options.config, options.log_level, options.log_format) == (
        "from-environment.hcl",
        "debug",
        "json",
    )
    options = parse(["-c", "x", "--log-level", "warn", "--log-format", "text"])
    assert (options.config, options.log_level, options.log_format) == ("x", "warn", "text")


def test_the_file_that_is_here_is_taken() -> None:
    """In a folder with a gateway.hcl no flag is needed."""
    written(GOOD)
    assert parse([]).config == "gateway.hcl"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "give a configuration file: --config gateway.hcl"),
        (["--nonsense"], "unrecognized arguments"),
        (["serve"], "invalid choice"),
        (["--config", "x", "--log-level", "loud"], "invalid choice"),
        (["--config", "x", "--log-format", "xml"], "invalid choice"),
        (["--config", "x", "--format", "json"], "--format is for validate"),
    ],
)
def test_usage(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be meant ends with status 2, and says what is missing."""
    assert exits(*arguments) == Exit.USAGE
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("name", ["LOG_LEVEL", "LOG_FORMAT"])
def test_an_environment_that_makes_no_sense(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable is named: nobody would look for it."""
    monkeypatch.setenv(f"A3S_GATEWAY_{name}", "verbose")
    assert exits("--config", "x") == Exit.USAGE
    assert f"A3S_GATEWAY_{name} is 'verbose'" in capsys.readouterr().err


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As container tools set it."""
    monkeypatch.setenv("A3S_GATEWAY_LOG_LEVEL", "")
    monkeypatch.setenv("A3S_GATEWAY_CONFIG", "")
    written(GOOD)
    assert (parse([]).log_level, parse([]).config) == ("info", "gateway.hcl")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Both say what they are asked and end well."""
    assert exits("--version") == Exit.FINE
    assert capsys.readouterr().out == f"a3s-gateway {__version__}\n"
    assert exits("--help") == Exit.FINE
    shown = capsys.readouterr().out
    assert "A3S_GATEWAY_CONFIG" in shown
    assert "3 cannot bind" in shown.replace("\n", " ")


# -- validate


def test_a_valid_configuration(capfd: pytest.CaptureFixture[str]) -> None:
    """One line sums it up; nothing is on standard error."""
    assert exits("validate", "--config", written(GOOD)) == Exit.FINE
    shown = capfd.readouterr()
    assert shown.out == "gateway.hcl is valid: 1 entrypoint, 1 router, 0 services, 0 middlewares\n"
    assert shown.err == ""


def test_an_invalid_configuration(capfd: pytest.CaptureFixture[str]) -> None:
    """The fault, its place and a hint, on standard error, without colours in a file."""
    assert exits("validate", "--config", written(SPOILT)) == Exit.FAILED
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "gateway.hcl:7:14: error:" in shown.err
    assert 'did you mean "whoami@internal"?' in shown.err
    assert "\x1b[" not in shown.err


def test_a_missing_file(capfd: pytest.CaptureFixture[str]) -> None:
    """It is an error, of a run too, and shows no traceback."""
    for command in ("validate", "run"):
        assert exits(command, "--config", "absent.hcl") == Exit.FAILED
        shown = capfd.readouterr().err
        assert shown.startswith("absent.hcl: error: cannot read the configuration: No such file")
        assert "Traceback" not in shown


def test_what_is_not_available_yet_is_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    """The configuration is right, only too early; a run refuses it."""
    assert exits("validate", "--config", written(EARLY)) == Exit.FINE
    shown = capfd.readouterr()
    assert "gateway.hcl:10:3: warning: not yet available: the docker provider" in shown.err
    assert "is valid" in shown.out
    assert exits("--config", written(EARLY)) == Exit.FAILED
    shown = capfd.readouterr()
    assert "gateway.hcl:10:3: error: not yet available: the docker provider" in shown.err


def test_certificates_are_looked_into(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Files that can be read and do not fit are a fault before anything is started."""
    ca = make_ca(tmp_path)
    (cert, key), (_, other) = issue(ca, ["a"]), issue(ca, ["a"], key_number=1)
    for pair, status in (((cert, key), Exit.FINE), ((cert, other), Exit.FAILED)):
        tls = f'  tls {{\n    cert_file = "{pair[0]}"\n    key_file = "{pair[1]}"\n  }}\n'
        text = GOOD.replace(':0"\n', f':0"\n{tls}')
        assert exits("validate", "--config", written(text)) == status
    shown = capfd.readouterr().err
    assert "gateway.hcl:6:17: error: the key in" in shown
    assert "hint: give the key" in shown


def test_json(capfd: pytest.CaptureFixture[str]) -> None:
    """For machines, on standard output, faults and warnings alike."""
    assert exits("validate", "--config", written(SPOILT), "--format", "json") == Exit.FAILED
    shown = capfd.readouterr()
    assert shown.err == ""
    report = json.loads(shown.out)
    assert report["valid"] is False
    (fault,) = report["diagnostics"]
    assert fault["message"].endswith('there is no built-in service "whomai@internal"')
    place = {name: fault[name] for name in ("severity", "file", "line", "column", "width")}
    assert place == {
        "severity": "error", "file": "gateway.hcl", "line": 7, "column": 14, "width": 15,
    }  # fmt: skip
    assert exits("validate", "--config", written(EARLY), "--format", "json") == Exit.FINE
    report = json.loads(capfd.readouterr().out)
    assert report["valid"] is True
    assert [each["severity"] for each in report["diagnostics"]] == ["warning"]


def test_other_places_of_a_fault_are_in_json_too(capfd: pytest.CaptureFixture[str]) -> None:
    """A block that stands there twice: where the first one is."""
    twice = GOOD + GOOD
    assert exits("validate", "--config", written(twice), "--format", "json") == Exit.FAILED
    first, _ = json.loads(capfd.readouterr().out)["diagnostics"]
    assert [note["line"] for note in first["notes"]] == [2]


# -- words


class Terminal:
    """A standard error that somebody looks at."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for those who say NO_COLOR."""
    terminal = Terminal()
    monkeypatch.setattr("sys.__stderr__", terminal)
    assert exits("validate", "--config", written(SPOILT)) == Exit.FAILED
    assert "\x1b[1;31merror\x1b[0m" in terminal.text
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.text = ""
    assert exits("validate", "--config", written(SPOILT)) == Exit.FAILED
    assert "error: router" in terminal.text
    assert "\x1b[" not in terminal.text


def broken(_: str) -> None:
    message = "the disk is on fire"
    raise OSError(message)


def test_an_error_nobody_thought_of(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Is one line; the traceback is for --debug."""
    monkeypatch.setattr("a3s_gateway.cli.load", broken)
    assert exits("--config", "x") == Exit.FAILED
    assert capfd.readouterr().err == "error: the disk is on fire\n"
    with pytest.raises(OSError, match="on fire"):
        main(["--config", "x", "--debug"])


def test_an_error_without_words() -> None:
    """At least its kind is told."""
    assert process.say_why(KeyError()) == "error: KeyError"

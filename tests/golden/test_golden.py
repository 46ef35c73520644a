"""
What a user sees: configuration text in, faults or the model in force out, to the character.

After a change on purpose, `UPDATE_GOLDEN=1 pytest tests/golden` writes the files anew; read the
difference as the user who made the mistake.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from a3s_gateway.config.dump import dump
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig

HERE = Path(__file__).parent
FAULTS = sorted((HERE / "faults").glob("*.hcl"))
EXAMPLE = HERE.parents[1] / "examples" / "middlewares.hcl"  # it has every kind of middleware
MODELS = [EXAMPLE, *sorted((HERE / "models").glob("*.hcl"))]
ENVIRONMENT = {
    "BROKEN_RULE": "Hots(`b.example.com`)",
    "DOMAIN": "api.example.com",
    "GREETING": "hello",
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "LIMIT": "100",
    "PORT": "8080",
    "WATCH": "false",
}
SECRETS = ("hunter", "31337", "4711", ENVIRONMENT["JWT_SECRET"], ENVIRONMENT["GREETING"])


@pytest.mark.parametrize("file", FAULTS, ids=lambda file: file.stem)
def test_a_faulty_file_is_explained(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault at once, each with its place, its line, a caret and what to try."""
    monkeypatch.chdir(file.parent)
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_file(file.name, ENVIRONMENT)
    check(file.with_suffix(".txt"), caught.value.render() + "\n")


@pytest.mark.parametrize("file", FAULTS, ids=lambda file: file.stem)
def test_no_fault_shows_a_secret(file: Path) -> None:
    """Neither the message nor the line below it, whatever the fault."""
    shown = file.with_suffix(".txt").read_text(encoding="utf-8")
    assert [secret for secret in SECRETS if secret in shown] == []


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_a_good_file_means_what_it_says(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value in force, with the defaults filled in and the secrets masked."""
    monkeypatch.chdir(file.parent)
    config = GatewayConfig.from_file(file.name, ENVIRONMENT)
    assert config.warnings == ()
    check(
        (HERE / "models" / file.name).with_suffix(".json"),
        json.dumps(dump(config), indent=2) + "\n",
    )


def test_there_is_a_golden_file_for_every_kind_of_fault() -> None:
    """No expectation is left without its input, and there are enough of them."""
    assert len(FAULTS) >= 60
    expected = {file.with_suffix(".txt") for file in FAULTS}
    assert set((HERE / "faults").glob("*.txt")) == expected


def check(expectation: Path, actual: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        expectation.write_text(actual, encoding="utf-8")
    assert actual == expectation.read_text(encoding="utf-8")

"""A configuration read in a child process is the one that is read here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from a3s_gateway.config import apart
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig

GOOD = """
entrypoints "web" { address = "127.0.0.1:0" }
routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "backend"
}
services "backend" {
  load_balancer {
    servers = [{ url = "http://127.0.0.1:8001" }]
  }
}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "gateway.hcl"
    path.write_text(text)
    return str(path)


def test_what_the_child_reads_is_what_we_would_have_read(tmp_path: Path) -> None:
    """Values, places and source lines come over whole."""
    path = write(tmp_path, GOOD)
    there, here = apart.read_apart(path), GatewayConfig.from_file(path)
    assert there == here
    assert there.entrypoints["web"].span_of("address") == here.entrypoints["web"].span_of("address")
    assert there.sources.keys() == here.sources.keys()


def test_faults_come_over_with_their_places(tmp_path: Path) -> None:
    """The user sees the same message, line and caret."""
    path = write(tmp_path, GOOD.replace('"backend"\n}', '"backnd"\n}', 1))
    with pytest.raises(ConfigError) as there:
        apart.read_apart(path)
    with pytest.raises(ConfigError) as here:
        GatewayConfig.from_file(path)
    assert there.value.render() == here.value.render()


def test_a_child_that_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork that fails costs memory, not the start."""
    path = write(tmp_path, GOOD)
    monkeypatch.setattr(apart, "_read", lambda _path: os._exit(7))
    assert apart.read_apart(path).entrypoints["web"].name == "web"


def test_the_parser_stays_out_of_this_process(tmp_path: Path) -> None:
    """That is what it is for: its tables are of no use to a running gateway."""
    path = write(tmp_path, GOOD)
    program = (
        "import sys; from a3s_gateway.config.apart import read_apart;"
        f"read_apart({path!r}); sys.exit('lark' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

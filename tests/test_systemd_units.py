"""The units in deploy/systemd/ fit each other, the gateway, and systemd."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from a3s_gateway.cli import parse
from a3s_gateway.config.address import Address
from a3s_gateway.config.model import GatewayConfig

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "deploy" / "systemd"
SERVICE = UNITS / "a3s-gateway.service"
SOCKET = UNITS / "a3s-gateway.socket"


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text(encoding="utf-8"))
    return parser


def test_the_service_starts_what_there_is() -> None:
    """Its command line is one that the gateway understands, and says that it is ready."""
    service = unit(SERVICE)["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "a3s-gateway"
    options = parse(arguments)
    assert (options.command, options.config) == ("run", "/etc/a3s-gateway/gateway.hcl")
    assert service["Type"] == "notify"
    assert "-HUP $MAINPID" in service["ExecReload"]


def test_a_drain_is_not_cut_short() -> None:
    """systemd kills only after the gateway itself has given up."""
    service = unit(SERVICE)["Service"]
    config = GatewayConfig.from_text("")
    longest = config.shutdown_delay_secs + config.shutdown_timeout_secs
    assert float(service["TimeoutStopSec"]) > longest


def test_the_socket_has_the_name_that_is_told() -> None:
    """Service and page name the socket as its unit does; both units have one name."""
    socket = unit(SOCKET)["Socket"]
    address = Address("systemd", name=socket["FileDescriptorName"])
    assert SOCKET.stem == SERVICE.stem
    for text in (SERVICE, ROOT / "docs" / "systemd.md"):
        assert f'address = "{address}"' in text.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [SERVICE, SOCKET], ids=lambda path: path.name)
def test_every_line_is_known(path: Path, tmp_path: Path) -> None:
    """No assignment is misspelt or in the wrong section; where there is a systemd, it agrees."""
    sections = {"Unit", "Install", path.suffix[1:].capitalize()}
    assert set(unit(path).sections()) == sections
    program = shutil.which("systemd-analyze")
    if program is None:
        return
    for each in (SERVICE, SOCKET):
        text = each.read_text(encoding="utf-8")
        text = text.replace("/usr/local/bin/a3s-gateway", sys.executable)
        (tmp_path / each.name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [program, "verify", "--man=no", "--recursive-errors=no", tmp_path / path.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, path.name in done.stderr) == (0, False), done.stderr

"""The Autobahn test suite, through the gateway and directly: `pytest -m conformance`."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pytest

HERE = Path(__file__).parent
PATIENCE = 20.0  # seconds until a server listens
CONFIG = """
entrypoints "web" {{ address = "127.0.0.1:{gateway}" }}
routers "all" {{
  rule    = "PathPrefix(`/`)"
  service = "echo"
}}
services "echo" {{
  load_balancer {{
    servers {{ url = "ws://127.0.0.1:{echo}" }}
  }}
}}
access_log {{ enabled = false }}
admin {{ enabled = false }}
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until somebody listens; another process says nothing when it does."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            sleep(0.05)
        else:
            return
    raise AssertionError(f"nobody listens at port {port}")


@pytest.mark.conformance
def test_the_gateway_scores_as_the_server_behind_it(tmp_path: Path) -> None:
    """Every case of the suite, also those about compression, ends in the same way."""
    wstest = shlex.split(os.environ["WSTEST"])
    echo, gateway = free_port(), free_port()
    config = tmp_path / "gateway.hcl"
    config.write_text(CONFIG.format(echo=echo, gateway=gateway))
    servers = [
        {"agent": name, "url": f"ws://127.0.0.1:{port}"}
        for name, port in (("direct", echo), ("gateway", gateway))
    ]
    spec = tmp_path / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "outdir": str(tmp_path / "reports"),
                "servers": servers,
                "cases": os.environ.get("WSTEST_CASES", "*").split(","),
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    started = [
        subprocess.Popen([sys.executable, str(HERE / "echo_server.py"), str(echo)]),
        subprocess.Popen([sys.executable, "-m", "a3s_gateway", "--config", str(config)]),
    ]
    try:
        wait_for(echo)
        wait_for(gateway)
        subprocess.run([*wstest, "-m", "fuzzingclient", "-s", str(spec)], check=True, cwd=tmp_path)
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.wait(PATIENCE)
    report = json.loads((tmp_path / "reports" / "index.json").read_text())
    scores = {
        agent: {case: (told["behavior"], told["behaviorClose"]) for case, told in cases.items()}
        for agent, cases in report.items()
    }
    assert scores["direct"]
    assert scores["gateway"] == scores["direct"]

"""The comparison runs, says what it measured, and refuses to compare what went wrong."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SEARCH = f"{os.environ['PATH']}:/usr/sbin"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
CLEAN = {"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("load")


def wrk_output(requests: int, errors: dict[str, int]) -> str:
    result = {"requests": requests, "seconds": 1, "p50_us": 1, "p99_us": 2, "errors": errors}
    return f"Running 1s test\nRESULT {json.dumps(result)}\n"


def test_a_clean_turn_counts(load: ModuleType) -> None:
    """The figures are taken from wrk's own counters."""
    assert load.parse_result(wrk_output(7, CLEAN))["requests"] == 7


@pytest.mark.parametrize(
    "output",
    [
        wrk_output(0, CLEAN),
        *(wrk_output(7, {**CLEAN, kind: 1}) for kind in CLEAN),
        "unable to connect to localhost:1 Connection refused\n",
    ],
)
def test_a_turn_with_failures_does_not_count(load: ModuleType, output: str) -> None:
    """A proxy that answers errors quickly does not win."""
    with pytest.raises(Exception, match="wrk"):
        load.parse_result(output)


def run_benchmark(temp: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", *options],
        env={**os.environ, "TMPDIR": str(temp)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    """A typing error does not end in an empty table."""
    run = run_benchmark(tmp_path, "--only", "ngins")
    assert run.returncode == 1
    assert "unknown: ngins" in run.stderr


needs_programs = pytest.mark.skipif(
    not all(shutil.which(name, path=SEARCH) for name in ("nginx", "wrk", "taskset", "openssl")),
    reason="nginx, wrk, taskset or openssl is not installed",
)
needs_cores = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two cores are needed")


@needs_programs
@needs_cores
def test_a_short_run_compares_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """One second each of nginx and the gateway, plain and over TLS, gives a table with a ratio."""
    run = run_benchmark(
        tmp_path,
        *("--only", "nginx,ours", "--scenario", "av,tls", "--seconds", "1", "--rounds", "1"),
    )
    assert run.returncode == 0, run.stderr
    assert "\n| ours | " in run.stdout
    assert "\n| ours ÷ | nginx, CPU |" in run.stdout
    assert list(tmp_path.iterdir()) == []
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(tmp_path).encode() in path.read_bytes()
    ]
    assert left == []


@needs_programs
@needs_cores
@pytest.mark.skipif(
    not (shutil.which("h2load") and STREAM_MODULE.exists()),
    reason="h2load or nginx's stream module is not installed",
)
def test_a_short_run_compares_each_protocol(tmp_path: Path) -> None:
    """What is not plain HTTP has a ratio as well, for each protocol."""
    protocols = ("grpc", "ws", "sse", "tcp", "tcp1m", "udp", "handshake")
    run = run_benchmark(
        tmp_path,
        *("--only", "nginx,ours", "--scenario", ",".join(protocols)),
        *("--seconds", "1", "--rounds", "1"),
    )
    assert run.returncode == 0, run.stderr
    for name in protocols:
        assert re.search(rf"^\| {name}: [^|]+ \| [\d.]+ \|", run.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []

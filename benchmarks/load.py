"""One turn of load: wrk, h2load or our clients against one server, and what it cost the server."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from processes import (
    LOAD_CORE,
    BenchmarkError,
    Server,
    children_cpu_seconds,
    cpu_seconds,
    find_program,
    machine_cpu_seconds,
    process_tree,
)

CONNECTIONS = 64
H2_CONNECTIONS, H2_STREAMS = 8, 16
LOG_LINE = 60  # bytes; no access log writes a shorter line
SCRIPT = Path(__file__).with_name("load.lua")
CLIENTS = Path(__file__).with_name("clients.py")
GRPC_MESSAGE = b"\0\0\0\0\x0a0123456789"
HOST = "h7.example.com"


@dataclass(frozen=True)
class Scenario:
    """
    What is asked for; `load.lua` and `clients.py` hold the requests themselves.

    Attributes:
        port: Which one of the servers of `protocols.py`; "": one of those of `peers.py`.
        logs: Whether each request is a line in the access log.

    """

    name: str
    title: str
    path: str = ""
    body: bytes = b""
    answer: int = 0  # bytes
    tls: bool = False
    http2: bool = False
    port: str = ""
    logs: bool = True


SCENARIOS = (
    Scenario("a", "1 KB GET, same headers", "/api3/items", b"", 1024),
    Scenario("av", "1 KB GET, path and X-Request-Id vary", "/api3/items/1", b"", 1024),
    Scenario("b", "64 KB GET", "/api3/64k", b"", 64 * 1024),
    Scenario("c", "POST 4 KB", "/api3/upload", b"x" * 4096, 12),
    Scenario("1m", "1 MB GET", "/api3/1m", b"", 1024 * 1024),
    Scenario("tls", "1 KB GET, TLS", "/api3/items", b"", 1024, tls=True),
    Scenario("hs", "1 KB GET, TLS, one per connection", "/api3/items", b"", 1024, tls=True),
    Scenario("h2", "1 KB GET, HTTP/2, TLS", "/api3/items", b"", 1024, tls=True, http2=True),
    Scenario(
        "grpc",
        "gRPC unary call",
        "/bench.Echo/Say",
        GRPC_MESSAGE,
        http2=True,
        port="grpc",
    ),
    Scenario("ws", "WebSocket echo", port="web", logs=False),
    Scenario("sse", "event of a stream", port="web", logs=False),
    Scenario("tcp", "TCP ping-pong", port="tcp", logs=False),
    Scenario("tcp1m", "TCP 1 MB", port="tcp", logs=False),
    Scenario("udp", "UDP echo", port="udp", logs=False),
    Scenario("handshake", "full TLS handshake", port="tls", logs=False),
)


@dataclass(frozen=True)
class Sample:
    """What one turn measured."""

    cpu_us: float  # of the proxy's processes, per completed request
    rate: float  # requests per second
    p50_us: float
    p99_us: float
    busy: float  # share of its core that the proxy used
    foreign: float  # share of both cores that programs outside of the benchmark used


def parse_result(output: str) -> dict[str, float]:
    """Take the figures from wrk's output; any failed request fails the turn."""
    line = next((text for text in output.splitlines() if text.startswith("RESULT ")), None)
    if line is None:
        raise BenchmarkError(f"wrk or our clients gave no result:\n{output}")
    result: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    errors = {kind: n for kind, n in result.pop("errors").items() if n}  # type: ignore[attr-defined]
    if errors or not result["requests"]:
        raise BenchmarkError(f"wrk saw errors: {errors or 'not one request completed'}\n{output}")
    return result


def h2load_target(server: Server, scenario: Scenario, body: Path) -> list[str]:
    """Tell h2load what to ask for, and where."""
    if not scenario.port:
        return [f"https://localhost:{server.tls_port}{scenario.path}"]
    url = f"http://localhost:{server.ports[scenario.port]}{scenario.path}"
    return ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers", url]


def run_h2load(server: Server, scenario: Scenario, seconds: int) -> dict[str, float]:
    """Send one scenario's load over HTTP/2 for a while."""
    with tempfile.TemporaryDirectory(prefix="a3s-gateway-h2load-") as name:
        log, body = Path(name) / "log", Path(name) / "body"
        body.write_bytes(scenario.body)
        command = [
            *(find_program("taskset"), "-c", str(LOAD_CORE), find_program("h2load")),
            *("-t1", f"-c{H2_CONNECTIONS}", f"-m{H2_STREAMS}", f"-D{seconds}"),
            *("-H", f":authority: {HOST}", f"--log-file={log}"),
            *h2load_target(server, scenario, body),
        ]
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 30, check=False
        )
        lines = [line.split() for line in log.read_text().splitlines()]
    failed = [status for _, status, _ in lines if status != "200"]
    if not lines or failed or run.returncode:
        raise BenchmarkError(
            f"{server.name}: h2load saw errors: {failed[:3]}\n{run.stdout}{run.stderr}"
        )
    took = sorted(float(microseconds) for *_, microseconds in lines)
    return {
        "requests": len(took),
        "seconds": seconds,
        "p50_us": took[len(took) // 2],
        "p99_us": took[len(took) * 99 // 100],
    }


def run_load(server: Server, scenario: Scenario, seconds: int) -> dict[str, float]:
    """Send one scenario's load for a while."""
    run = run_h2load if scenario.http2 else run_clients if scenario.port else run_wrk
    return run(server, scenario, seconds)


def run_clients(server: Server, scenario: Scenario, seconds: int) -> dict[str, float]:
    """Send one scenario's load by clients of our own for a while."""
    command = [
        *(find_program("taskset"), "-c", str(LOAD_CORE), sys.executable, str(CLIENTS)),
        *(scenario.name, str(server.ports[scenario.port]), str(seconds)),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    return parse_result(run.stdout + run.stderr)


def run_wrk(server: Server, scenario: Scenario, seconds: int) -> dict[str, float]:
    """Send one scenario's load for a while."""
    scheme, port = ("https", server.tls_port) if scenario.tls else ("http", server.port)
    command = [
        *(find_program("taskset"), "-c", str(LOAD_CORE), find_program("wrk")),
        *("-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(SCRIPT)),
        *(f"{scheme}://localhost:{port}/", "--", scenario.name),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    return parse_result(run.stdout + run.stderr)


def clocks(proxy: list[int], backend: list[int]) -> tuple[float, float, float]:
    """Read the time, the proxy's CPU time, and everybody else's but the load's."""
    cpu = cpu_seconds(proxy)
    load = cpu_seconds(backend) + children_cpu_seconds()
    return time.monotonic(), cpu, machine_cpu_seconds() - cpu - load


def take_sample(
    server: Server, scenario: Scenario, pid: int, backend_pids: tuple[int, ...], seconds: int
) -> Sample:
    """Measure one turn; raises if a request failed or the access log did not grow with them."""
    backends = [member for backend in backend_pids for member in process_tree(backend)]
    families = process_tree(pid), backends
    os.truncate(server.log, 0)
    before = clocks(*families)
    try:
        result = run_load(server, scenario, seconds)
    except BenchmarkError as error:
        raise BenchmarkError(f"{server.name}, scenario {scenario.name}: {error}") from None
    elapsed, cpu, foreign = (b - a for a, b in zip(before, clocks(*families), strict=True))
    requests = result["requests"]
    if scenario.logs and server.log.stat().st_size < 0.9 * requests * LOG_LINE:
        raise BenchmarkError(f"{server.name} did not log every request")
    return Sample(
        cpu_us=cpu / requests * 1e6,
        rate=requests / result["seconds"],
        p50_us=result["p50_us"],
        p99_us=result["p99_us"],
        busy=cpu / elapsed,
        foreign=max(0, foreign) / elapsed / 2,
    )


def check_answer(server: Server, scenario: Scenario, cert: Path) -> None:
    """Ask once, by hand: the comparison is void if somebody answers something else."""
    if scenario.port:
        return  # our clients look at every answer, h2load at each status
    expected = 200, scenario.answer
    try:
        answer = ask(server, scenario, cert)
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"{server.name}, scenario {scenario.name}: {error!r}") from None
    if answer != expected:
        raise BenchmarkError(
            f"{server.name}, scenario {scenario.name}: expected status and length"
            f" {expected}, got {answer}"
        )


def ask(server: Server, scenario: Scenario, cert: Path) -> tuple[int, int]:
    """Send one request; returns the answer's status and length."""
    connection: http.client.HTTPConnection
    if scenario.tls:
        trusting = ssl.create_default_context(cafile=cert)
        connection = http.client.HTTPSConnection(
            "localhost", server.tls_port, timeout=5, context=trusting
        )
    else:
        connection = http.client.HTTPConnection("localhost", server.port, timeout=5)
    try:
        method = "POST" if scenario.body else "GET"
        connection.request(method, scenario.path, scenario.body or None, {"Host": HOST})
        response = connection.getresponse()
        return response.status, len(response.read())
    finally:
        connection.close()

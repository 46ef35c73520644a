"""
What middlewares cost: CPU time per request of routes that differ in nothing else.

Also how long small requests wait beside large bodies that are compressed. Prints Markdown;
`--write` puts it into README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import brotli  # type: ignore[import-untyped]
import jwt
import report
from load import parse_result
from peers import ROOT, make_server
from processes import (
    LOAD_CORE,
    PROXY_CORE,
    Server,
    cpu_seconds,
    find_program,
    free_port,
    process_tree,
    running,
)

CONNECTIONS = 64
LIBRARY_ROUNDS = 500
SECRET = "the secret of the benchmark, 32 bytes at least"  # noqa: S105 - nobody else's
BEGIN, END = "<!-- middlewares: begin -->", "<!-- middlewares: end -->"

LUA = """
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {"requests": %d, "seconds": %.6f, "p50_us": %.1f, '
    .. '"p99_us": %.1f, "errors": {"all": %d}}\\n', summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""

BACKEND = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  types {{ application/json json; }}
  server {{
    listen 127.0.0.1:{port};
    root {folder};
    location / {{ default_type application/json; try_files /small.json =404; }}
    location /large {{ default_type application/json; try_files /large.json =404; }}
    location /huge {{ default_type application/json; try_files /huge.json =404; }}
  }}
}}
"""

GATEWAY = """
entrypoints "web" {{
  address = "127.0.0.1:{port}"
}}
services "backend" {{
  load_balancer {{
    servers {{ url = "http://127.0.0.1:{backend}" }}
  }}
}}
middlewares "keys" {{
  type = "api-key"
  header = "X-API-Key"
  keys = ["one", "two", "three"]
}}
middlewares "limit" {{
  type  = "rate-limit"
  rate  = 100000000
  burst = 1000000
}}
middlewares "stamp" {{
  type = "headers"
  request_headers  = {{ "X-Gateway" = "a3s" }}
  response_headers = {{ "X-Frame-Options" = "DENY" }}
}}
middlewares "browsers" {{
  type = "cors"
  allowed_origins = ["https://app.example.com"]
}}
middlewares "token" {{
  type  = "jwt"
  value = "{secret}"
}}
middlewares "smaller" {{
  type = "compress"
}}
{routers}
access_log {{ path = "{folder}/access.log" }}
admin {{ enabled = false }}
"""

ROUTERS = {
    "bare": [],
    "chain": ["browsers", "keys", "limit", "stamp"],
    "jwt": ["token"],
    "large": [],
    "large-br": ["smaller"],
    "huge-br": ["smaller"],
}


@dataclass(frozen=True)
class Row:
    """A route, and what is sent there."""

    name: str
    title: str
    path: str
    headers: tuple[str, ...] = ()


def rows() -> list[Row]:
    """List the routes, each after the one that it is compared with."""
    token = jwt.encode({"sub": "bench", "exp": int(time.time()) + 3600}, SECRET, "HS256")
    chain = ("X-API-Key: two", "Origin: https://app.example.com")
    return [
        Row("bare", "1 KB GET", "/bare"),
        Row("chain", "the same, api-key + rate-limit + headers + cors", "/chain", chain),
        Row("jwt", "the same, jwt (HS256)", "/jwt", (f"Authorization: Bearer {token}",)),
        Row("large", "100 KB of JSON", "/large"),
        Row("large-br", "the same, compress (br)", "/large-br", ("Accept-Encoding: br",)),
    ]


def document(size: int) -> bytes:
    """Make JSON of this size, as APIs answer it."""
    item = (
        '{{"id": {0}, "name": "item {0}", "price": {1}, "tags": ["a{2}", "b{3}"], "ok": true}},\n'
    )
    text = "".join(item.format(n, n * 7919 % 10007, n % 13, n * 31 % 97) for n in range(size // 70))
    return text.encode()[:size]


def backend(folder: Path) -> Server:
    """Serve three documents by nginx."""
    folder.mkdir()
    for name, size in (("small", 1024), ("large", 100_000), ("huge", 4_000_000)):
        (folder / f"{name}.json").write_bytes(document(size))
    port = free_port()
    (folder / "nginx.conf").write_text(BACKEND.format(folder=folder, port=port))
    argv = (find_program("nginx"), "-c", str(folder / "nginx.conf"), "-g", "daemon off;")
    return make_server("backend", folder, argv, (port, port))


def gateway(folder: Path, backend_port: int) -> Server:
    """Run the gateway of this checkout with a router for each row."""
    folder.mkdir()
    port = free_port()
    routers = "".join(
        f'routers "{name}" {{\n  rule = "Path(`/{name}`)"\n  service = "backend"\n'
        f"  middlewares = {json.dumps(names)}\n}}\n"
        for name, names in ROUTERS.items()
    )
    text = GATEWAY.format(
        port=port, backend=backend_port, secret=SECRET, folder=folder, routers=routers
    )
    (folder / "gateway.hcl").write_text(text)
    argv = (sys.executable, "-m", "a3s_gateway", "--config", str(folder / "gateway.hcl"))
    return make_server("ours", folder, argv, (port, port), PYTHONPATH=str(ROOT))


def wrk(folder: Path, port: int, row: Row, seconds: int, connections: int) -> list[str]:
    """Return the command that sends one row's load."""
    script = folder / "done.lua"
    script.write_text(LUA)
    fields = [word for field in row.headers for word in ("-H", field)]
    return [
        *(find_program("taskset"), "-c", str(LOAD_CORE), find_program("wrk"), "-t1"),
        *(f"-c{connections}", f"-d{seconds}s", "-s", str(script), *fields),
        f"http://127.0.0.1:{port}{row.path}",
    ]


def load(command: list[str], seconds: int) -> dict[str, float]:
    """Run wrk; a failed request fails all."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    return parse_result(run.stdout + run.stderr)


def measure(folder: Path, server: Server, pid: int, options: argparse.Namespace) -> str:
    """Let the rows take turns."""
    found: dict[str, list[float]] = {row.name: [] for row in rows()}
    for _ in range(options.rounds):
        for row in rows():
            family = process_tree(pid)
            before = cpu_seconds(family)
            result = load(
                wrk(folder, server.port, row, options.seconds, CONNECTIONS), options.seconds
            )
            found[row.name].append((cpu_seconds(family) - before) / result["requests"] * 1e6)
    costs = {name: statistics.median(turns) for name, turns in found.items()}
    lines = []
    for row in rows():
        base = costs["large" if row.name.startswith("large") else "bare"]
        more = costs[row.name] - base
        lines.append([row.title, f"{costs[row.name]:.1f}", f"{more:+.1f}" if more else ""])
    library = library_us(document(100_000))
    lines.append(["brotli itself, on those 100 KB", f"{library:.1f}", ""])
    return report.table(["route", "CPU us per request", "more than without"], lines)


def library_us(data: bytes) -> float:
    """Measure what the library takes for the same work, again and again."""
    start = time.process_time()
    for _ in range(LIBRARY_ROUNDS):
        coder = brotli.Compressor(quality=4)
        coder.process(data)
        coder.finish()
    return (time.process_time() - start) / LIBRARY_ROUNDS * 1e6


def wait_beside(folder: Path, server: Server, seconds: int) -> str:
    """Measure what small requests wait while 4 MB bodies are compressed all the time."""
    small = Row("bare", "", "/bare")
    huge = Row("huge-br", "", "/huge-br", ("Accept-Encoding: br",))
    lines = []
    for title, others in (("alone", 0), ("beside 8 bodies of 4 MB at a time", 8)):
        beside = None
        if others:
            command = wrk(folder, server.port, huge, seconds + 2, others)
            beside = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            time.sleep(1)
        result = load(wrk(folder, server.port, small, seconds, 2), seconds)
        done = ""
        if beside is not None:
            done = (
                f"{parse_result(beside.communicate(timeout=60)[0])['requests'] / (seconds + 2):.0f}"
            )
        lines.append(
            [title, f"{result['p50_us'] / 1000:.2f}", f"{result['p99_us'] / 1000:.2f}", done]
        )
    head = ["1 KB GET on 2 connections", "p50 ms", "p99 ms", "bodies per second"]
    return report.table(head, lines)


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=2, help="of one turn (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="turns each (default: 5)")
    parser.add_argument("--write", action="store_true", help="put the figures into README.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="a3s-gateway-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        behind = backend(folder / "backend")
        with running(behind, LOAD_CORE):
            server = gateway(folder / "gateway", behind.port)
            with running(server, PROXY_CORE) as pid:
                costs = measure(folder, server, pid, options)
                waits = wait_beside(folder, server, options.seconds * 2)
    text = f"{report.machine()} Medians of {options.rounds} turns.\n\n{costs}\n\n{waits}"
    if options.write:
        report.write_into_readme(text, BEGIN, END)
    else:
        print(text)


if __name__ == "__main__":
    main()

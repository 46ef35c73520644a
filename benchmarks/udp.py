"""
What one datagram there and back costs: ours beside nginx's stream module, with 64 clients.

Run from a checkout: python benchmarks/udp.py. Needs nginx and its stream module (Debian:
libnginx-mod-stream). The proxies have core 0; clients and server, which are this file, core 1.
"""

from __future__ import annotations

import contextlib
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from processes import (
    LOAD_CORE,
    PROXY_CORE,
    BenchmarkError,
    family_cpu_seconds,
    find_program,
    free_port,
    stop,
)

CLIENTS = 64
SIZE = 64  # bytes
LOST = 0.2  # seconds after which a client asks again
ROUNDS, SECONDS = 5, 2.0
PATIENCE = 10.0  # seconds for a proxy to start
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

NGINX = """
daemon off; master_process off; worker_processes 1;
pid {folder}/pid; error_log {folder}/error.log;
load_module {module};
events {{ worker_connections 4096; }}
stream {{
  log_format line '$remote_addr $status $bytes_sent $bytes_received $session_time';
  access_log {folder}/access.log line;
  server {{ listen 127.0.0.1:{port} udp; proxy_pass 127.0.0.1:{backend}; proxy_timeout 30s; }}
}}
"""
OURS = """
entrypoints "udp" {{
  address  = "127.0.0.1:{port}"
  protocol = "udp"
}}
routers "all" {{
  rule        = "HostSNI(`*`)"
  entrypoints = ["udp"]
  service     = "echo"
}}
services "echo" {{
  load_balancer {{ servers = [{{ url = "udp://127.0.0.1:{backend}" }}] }}
}}
access_log {{ path = "{folder}/access.log" }}
admin {{ enabled = false }}
"""


def nginx(folder: Path, port: int, backend: int) -> list[str]:
    """Write nginx's configuration; returns how to start it."""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, module=MODULE, port=port, backend=backend))
    return [find_program("nginx"), "-p", str(folder), "-c", str(config)]


def ours(folder: Path, port: int, backend: int) -> list[str]:
    """Write our configuration; returns how to start the gateway."""
    config = folder / "gateway.hcl"
    config.write_text(OURS.format(folder=folder, port=port, backend=backend))
    return [sys.executable, "-m", "a3s_gateway", "--config", str(config)]


def echo(port: int) -> None:
    """Answer every datagram with itself, for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        while True:
            sock.sendto(*sock.recvfrom(65_535))


def load(port: int, seconds: float) -> int:
    """Have clients ask as fast as they are answered; returns how often they were."""
    poll, clients = select.epoll(), {}
    for _ in range(CLIENTS):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setblocking(False)  # noqa: FBT003
        client.connect(("127.0.0.1", port))
        poll.register(client, select.EPOLLIN)
        clients[client.fileno()] = client
    asked, data, count = dict.fromkeys(clients, 0.0), bytes(SIZE), 0
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        ready = [number for number, _ in poll.poll(LOST)]
        for number in ready or [each for each, at in asked.items() if at < now - LOST]:
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                clients[number].recv(65_535)
                count += 1
            with contextlib.suppress(ConnectionRefusedError):
                clients[number].send(data)
            asked[number] = now
    return count


@contextlib.contextmanager
def running(argv: list[str], core: int) -> Iterator[int]:
    """Run a program on one core; its id is that of `taskset`, which becomes it."""
    command = [find_program("taskset"), "-c", str(core), *argv]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        stop(process)


def loaded(port: int, seconds: float) -> int:
    """Run `load` in a process on its core."""
    command = [find_program("taskset"), "-c", str(LOAD_CORE), sys.executable, __file__]
    run = subprocess.run(
        [*command, "load", str(port), str(seconds)], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


def wait_until_it_answers(port: int) -> None:
    """Ask until somebody answers."""
    deadline = time.monotonic() + PATIENCE
    while not loaded(port, 0.3):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"nobody answers on port {port}")


def compare(proxies: dict[str, Callable[[Path, int, int], list[str]]]) -> dict[str, list[float]]:
    """Let the proxies take turns; returns microseconds of CPU for each datagram and answer."""
    found: dict[str, list[float]] = {name: [] for name in proxies}
    backend = free_port()
    with contextlib.ExitStack() as stack:
        stack.enter_context(running([sys.executable, __file__, "echo", str(backend)], LOAD_CORE))
        running_now = {}
        for name, make in proxies.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="a3s-udp-")))
            port = free_port()
            pid = stack.enter_context(running(make(folder, port, backend), PROXY_CORE))
            running_now[name] = port, pid
            wait_until_it_answers(port)
        for _ in range(ROUNDS):
            for name, (port, pid) in running_now.items():
                before = family_cpu_seconds(pid)
                count = loaded(port, SECONDS)
                found[name].append((family_cpu_seconds(pid) - before) / count * 1e6)
    return found


def main() -> None:
    """Print one line for each, or play a part for `compare`."""
    match sys.argv[1:]:
        case ["echo", port]:
            echo(int(port))
        case ["load", port, seconds]:
            print(load(int(port), float(seconds)))
        case _:
            found = compare({"nginx": nginx, "ours": ours})
            medians = {name: statistics.median(times) for name, times in found.items()}
            for name, times in found.items():
                listed = ", ".join(f"{each:.1f}" for each in times)
                print(f"{name:>6}: {medians[name]:5.1f} us of CPU for each echo ({listed})")
            print(f" ratio: {medians['ours'] / medians['nginx']:5.2f}")


if __name__ == "__main__":
    main()

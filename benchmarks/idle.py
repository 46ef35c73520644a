"""What a server costs before and between requests: its first answer, its idle connections."""

from __future__ import annotations

import contextlib
import http.client
import re
import resource
import socket
import struct
import sys
import time
from pathlib import Path

from load import HOST
from peers import ROOT, make_server
from processes import (
    PROXY_CORE,
    BenchmarkError,
    Server,
    free_port,
    memory_bytes,
    process_tree,
    running,
)

IDLE_CONNECTIONS = 10_000
WARM_UP = 200  # connections: pools and caches that a server fills once are not counted
SPARE_FILES = 1_000
SETTLE = 1.0  # seconds
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of 0: no TIME_WAIT is left behind
REQUEST = f"GET /api3/items HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: idle\r\n\r\n".encode()


def raise_file_limit() -> int:
    """Allow this process and its children what may be had; returns how many connections fit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(IDLE_CONNECTIONS, hard - SPARE_FILES)


def open_kept(port: int) -> socket.socket:
    """Open a connection, have one request answered on it, and keep it."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    connection.sendall(REQUEST)
    answer = b""
    while len(answer.partition(b"\r\n\r\n")[2]) < 1024:
        received = connection.recv(65536)
        if not received:
            raise BenchmarkError(f"closed after {answer!r}")
        answer += received
    if not answer.startswith(b"HTTP/1.1 200"):
        raise BenchmarkError(f"unexpected answer {answer[:60]!r}")
    return connection


def idle_bytes(server: Server, connections: int) -> tuple[int, float]:
    """Measure what one idle kept connection adds to a server's memory, and over how many."""
    connections = min(connections, server.capacity - WARM_UP)
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(running(server, PROXY_CORE))
        for _ in range(WARM_UP):
            stack.enter_context(open_kept(server.port))
        time.sleep(SETTLE)
        family = process_tree(pid)
        before = memory_bytes(family)
        kept = [stack.enter_context(open_kept(server.port)) for _ in range(connections)]
        time.sleep(SETTLE)
        grown = memory_bytes(family) - before
        for connection in kept:
            connection.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                connection.recv(1)
                raise BenchmarkError(f"{server.name} did not keep its idle connections")
        return connections, grown / connections


def quickstart(folder: Path) -> Server:
    """Make the README's first example, on a port that is free."""
    text = (ROOT / "examples" / "quickstart.hcl").read_text()
    port = free_port()
    changed = re.sub(r'address(\s*)=(\s*)"[^"]*:8080"', rf'address\1=\2"127.0.0.1:{port}"', text)
    if changed == text:
        raise BenchmarkError("examples/quickstart.hcl does not listen on port 8080")
    config = folder / "quickstart.hcl"
    config.write_text(changed)
    argv = (sys.executable, "-m", "a3s_gateway", "--config", str(config))
    return make_server("ours, quickstart", folder, argv, (port, 0), PYTHONPATH=str(ROOT))


def seconds_to_first_answer(server: Server, path: str) -> float:
    """Measure from the start of the process to an answered request."""
    started = time.monotonic()
    with running(server, PROXY_CORE):
        connection = http.client.HTTPConnection("localhost", server.port, timeout=5)
        connection.request("GET", path, headers={"Host": HOST})
        status = connection.getresponse().status
        elapsed = time.monotonic() - started
        connection.close()
    if status != 200:
        raise BenchmarkError(f"{server.name} answered {status}")
    return elapsed

"""A process that runs out of file descriptors, or whose one thread is held up."""

# ruff: noqa: F401, F811 - imported fixtures are arguments of tests

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from tests.integration.test_twistd import CLI, GET, LIMIT, Program, start, write

SPARE = 12  # connections that a process has descriptors for
OK = b"HTTP/1.1 200 OK\r\n"


def leave_descriptors(program: Program, count: int) -> None:
    """Lower the limit of a running process."""
    used = {int(each.name) for each in Path(f"/proc/{program.process.pid}/fd").iterdir()}
    free = [number for number in range(max(used) + count + 2) if number not in used]
    _, most = resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE, (free[count], most))


def lines_about(program: Program, text: str) -> list[str]:
    return [line for line in program.said().splitlines() if text in line]


def ask(client: socket.socket) -> bytes:
    client.sendall(GET)
    return client.recv(65536)


def test_connections_beyond_the_limit_wait(start: Callable[..., Program]) -> None:
    """Those there are go on; the others are served when some have closed; one line says so."""
    program = start(CLI)
    port = program.port()
    leave_descriptors(program, SPARE)
    served = [socket.create_connection(("127.0.0.1", port), LIMIT) for _ in range(SPARE)]
    assert all(ask(client).startswith(OK) for client in served)
    waiting = [socket.create_connection(("127.0.0.1", port), LIMIT) for _ in range(5)]
    for client in waiting:
        client.sendall(GET)
        client.setblocking(False)  # noqa: FBT003 - the standard library's
    program.says("cannot accept connections on")
    assert all(ask(client).startswith(OK) for client in served)  # and in the meantime:
    for client in waiting:
        try:
            early = client.recv(65536)
        except BlockingIOError:
            continue
        raise AssertionError(early)
    for client in served[: len(waiting) + 2]:
        client.close()
    for client in waiting:
        client.settimeout(LIMIT)
        assert client.recv(65536).startswith(OK)
    program.says("accepting connections again on")
    for client in (*served, *waiting):
        client.close()
    program.signal(signal.SIGTERM)
    assert program.status() == 0
    assert len(lines_about(program, "cannot accept")) == 1
    expected = ("cannot accept", "everything waited")  # the latter of a busy machine
    warnings = lines_about(program, " warn ")
    assert [line for line in warnings if not any(each in line for each in expected)] == []


# Holds the reactor up when asked to, for longer than anybody likes.
HELD_UP = """
import signal, time
from twisted.internet import reactor
from a3s_gateway.cli import main

def dawdle():
    time.sleep(0.3)

signal.signal(signal.SIGUSR2, lambda *_: reactor.callFromThread(dawdle))
main(["--log-format", "json"])
"""


def test_what_holds_everybody_up_is_told(start: Callable[..., Program]) -> None:
    """One line for each time, with its length and with the functions that ran."""
    program = start(("", sys.executable, "-c", HELD_UP))
    port = program.port()
    with socket.create_connection(("127.0.0.1", port), LIMIT) as client:
        for count in (1, 2):
            assert all(ask(client).startswith(OK) for _ in range(200))
            program.signal(signal.SIGUSR2)
            program.until(
                lambda count=count: len(lines_about(program, "dawdle")) == count, "a line"
            )
    program.signal(signal.SIGTERM)
    assert program.status() == 0
    told = [json.loads(line) for line in lines_about(program, "dawdle")]
    assert [line["level"] for line in told] == ["warn", "warn"]
    assert [line["seconds"] > 0.2 for line in told] == [True, True]
    assert all("dawdle (<string>:7), called by " in line["where"] for line in told)

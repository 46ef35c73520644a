"""A process under systemd: what it tells, and the sockets that it is given."""

# ruff: noqa: F401, F811 - imported fixtures are arguments of tests
from __future__ import annotations

import fcntl
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.integration.test_twistd import (
    CLI,
    GET,
    LIMIT,
    ROOT,
    TWISTD,
    WAYS,
    Program,
    Way,
    backend,
    everything,
    service_at,
    start,
    write,
)

# systemd passes descriptors from 3 on, and names the process that they are for.
LAUNCH = """
import os, sys
for number, fd in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(fd, 3 + number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Supervised(Program):
    """A process that got sockets: pairs of a name and a socket."""

    def __init__(
        self, way: Way, folder: Path, sockets: Sequence[tuple[str, socket.socket]]
    ) -> None:
        self.folder = folder
        high = [fcntl.fcntl(each, fcntl.F_DUPFD, 50) for _, each in sockets]  # clear of 3 and on
        names = ":".join(name for name, _ in sockets)
        variables = {"LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": names, "PYTHONPATH": str(ROOT)}
        try:
            with self.out.open("wb") as out, self.err.open("wb") as err:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", LAUNCH, ",".join(map(str, high)), *way[1:]],
                    cwd=folder,
                    env=os.environ | variables,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    pass_fds=high,
                )
        finally:
            for fd in high:
                os.close(fd)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    """Start programs that end with the test."""
    programs: list[Program] = []

    def begin(way: Way, *sockets: tuple[str, socket.socket]) -> Supervised:
        programs.append(Supervised(way, tmp_path, sockets))
        return programs[-1]  # type: ignore[return-value]

    yield begin
    for program in programs:
        program.kill()


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[list[socket.socket]]:
    """Open two TCP sockets and a Unix one, which listen."""
    made = [
        socket.create_server(("127.0.0.1", 0)),
        socket.create_server(("127.0.0.1", 0)),
        socket.socket(socket.AF_UNIX),
    ]
    made[2].bind(str(tmp_path / "web.sock"))
    made[2].listen()
    yield made
    for each in made:
        each.close()


def answer_of(listening: socket.socket) -> bytes:
    """Ask what listens on a socket of ours."""
    with socket.socket(listening.family) as client:
        client.settimeout(LIMIT)
        client.connect(listening.getsockname())
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return everything(client)


CONFIG = {"127.0.0.1:0": "systemd:web"}
ADMIN_TOO = {
    "127.0.0.1:0": "systemd:web",
    "enabled = false": 'address = "systemd:admin"\n  token = "sesame"',
}


@WAYS
def test_every_socket_of_a_name_is_served(
    way: Way,
    supervise: Callable[..., Supervised],
    sockets: list[socket.socket],
    tmp_path: Path,
) -> None:
    """TCP and Unix ones alike, and the admin API has its own."""
    first, admin, unix = sockets
    write(tmp_path, **ADMIN_TOO)
    program = supervise(way, ("web", first), ("admin", admin), ("web", unix))
    program.says("listens on")
    for each in (first, unix):
        answer = answer_of(each)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"GET / HTTP/1.1" in answer
    assert answer_of(admin).startswith(b"HTTP/1.1 401 ")
    program.signal(signal.SIGTERM)
    assert program.status() == 0
    assert (tmp_path / "web.sock").exists()


def test_who_comes_between_two_processes_waits(
    supervise: Callable[..., Supervised], sockets: list[socket.socket], tmp_path: Path
) -> None:
    """A restart refuses nobody: the socket is open all the time."""
    listening = sockets[0]
    write(tmp_path, **CONFIG)
    program = supervise(CLI, ("web", listening))
    program.says("listens on")
    program.signal(signal.SIGTERM)
    assert program.status() == 0
    with socket.create_connection(listening.getsockname(), LIMIT) as client:
        client.sendall(GET)
        supervise(CLI, ("web", listening))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_reload_leaves_a_socket_and_comes_back_to_it(
    supervise: Callable[..., Supervised], sockets: list[socket.socket], tmp_path: Path
) -> None:
    """It is not the gateway's to close; what is kept is not even touched."""
    web, api, _ = sockets
    both = 'entrypoints "api" {\n  address = "systemd:api"\n}\n'
    write(tmp_path, more=both, **CONFIG)
    program = supervise(CLI, ("web", web), ("api", api))
    program.says("listens on")
    with socket.create_connection(web.getsockname(), LIMIT) as kept:
        for count, more in enumerate(["", both], 1):
            write(tmp_path, more=more, **CONFIG)
            program.signal(signal.SIGHUP)
            program.says(f"reloaded the configuration; {count} reloads")
            kept.sendall(GET)
            assert kept.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer_of(api).startswith(b"HTTP/1.1 200 OK\r\n")
    write(tmp_path, more=both.replace("systemd:api", "systemd:nobody"), **CONFIG)
    program.signal(signal.SIGHUP)
    program.says("passed were: api, web")
    assert "the configuration was not reloaded" in program.said()
    assert answer_of(api).startswith(b"HTTP/1.1 200 OK\r\n")


@WAYS
def test_a_name_that_was_not_passed(
    way: Way,
    supervise: Callable[..., Supervised],
    sockets: list[socket.socket],
    tmp_path: Path,
) -> None:
    """The fault stands at its place, and says what to write where; nothing was served."""
    write(tmp_path, **CONFIG)
    program = supervise(way, ("api", sockets[0]), ("admin", sockets[1]))
    assert program.status() == 3
    said = program.said()
    assert 'gateway.hcl:3:14: error: entrypoint "web" cannot listen on systemd:web: ' in said
    assert "no socket of that name was passed" in said
    hint = "hint: put FileDescriptorName=web into a .socket unit of this service; passed were: "
    assert hint + "admin, api" in said


def test_a_socket_that_does_not_listen(
    supervise: Callable[..., Supervised], tmp_path: Path
) -> None:
    """As `ListenDatagram=` would make one."""
    write(tmp_path, **CONFIG)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        program = supervise(CLI, ("web", datagrams))
        assert program.status() == 3
    assert "what was passed is no listening stream socket" in program.said()
    assert "hint: use ListenStream= and Accept=no" in program.said()


# -- what systemd is told


class Supervisor:
    """Listens to what a process tells."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(LIMIT)
        self.socket.bind(address)

    def heard(self) -> dict[str, str]:
        """Wait for the next datagram."""
        text = self.socket.recv(4096).decode()
        return dict(line.split("=", 1) for line in text.splitlines())


def readiness(program: Program) -> int:
    """Ask the admin API whether requests are welcome."""
    found = re.search(r"admin API answers at 127\.0\.0\.1:(\d+)/", program.said())
    assert found is not None
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=LIMIT)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("way", "abstract"), [(CLI, True), (TWISTD, False)], ids=["a3s-gateway", "twistd"]
)
def test_start_reload_and_stop_are_told(
    way: Way,
    abstract: bool,  # noqa: FBT001 - of parametrize
    start: Callable[..., Program],
    backend: socket.socket,
    tmp_path: Path,
) -> None:
    """Ready means that clients get in; a stop is told when it begins, by `/readyz` as well."""
    path = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    supervisor = Supervisor(path.replace("@", "\0"))
    admin = {"enabled = false": 'address = "127.0.0.1:0"'}
    write(tmp_path, "backend", service_at(backend), **admin)
    program = start(way, NOTIFY_SOCKET=path)
    assert supervisor.heard() == {"READY": "1", "STATUS": "serving 1 entrypoint"}
    assert readiness(program) == 200
    with socket.create_connection(("127.0.0.1", program.port()), LIMIT) as client:
        client.sendall(GET)
        there, _ = backend.accept()
        with there:
            there.settimeout(LIMIT)
            there.recv(65536)
            program.signal(signal.SIGHUP)
            reloading = supervisor.heard()
            assert (reloading["RELOADING"], int(reloading["MONOTONIC_USEC"]) > 0) == ("1", True)
            assert supervisor.heard()["READY"] == "1"
            (tmp_path / "gateway.hcl").write_text("routers {")
            program.signal(signal.SIGHUP)
            assert supervisor.heard()["RELOADING"] == "1"
            assert supervisor.heard()["READY"] == "1"
            program.signal(signal.SIGTERM)
            assert supervisor.heard() == {
                "STOPPING": "1",
                "STATUS": "stopping; connections open: 1",
            }
            assert readiness(program) == 503
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", program.port()), LIMIT)
            there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert everything(client).endswith(b"ok")
    assert program.status() == 0
    supervisor.socket.close()


def test_nobody_listens_to_what_is_told(start: Callable[..., Program], tmp_path: Path) -> None:
    """The gateway serves all the same, and says so in its log."""
    program = start(CLI, NOTIFY_SOCKET=str(tmp_path / "nobody"))
    program.says("systemd could not be told READY=1: [Errno 2] No such file or directory")
    with socket.create_connection(("127.0.0.1", program.port()), LIMIT) as client:
        client.sendall(GET)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_watchdog_hears_from_the_process_until_its_end(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    """As long as it serves, and also while it drains."""
    supervisor = Supervisor(str(tmp_path / "notify"))
    write(tmp_path)
    program = start(CLI, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000")
    assert supervisor.heard()["READY"] == "1"
    for _ in range(3):
        assert supervisor.heard() == {"WATCHDOG": "1"}
    program.signal(signal.SIGTERM)
    while "STOPPING" not in supervisor.heard():
        pass
    assert program.status() == 0
    supervisor.socket.close()


def test_a_process_that_is_aborted_says_where_it_was(start: Callable[..., Program]) -> None:
    """So does systemd's watchdog end one that hangs."""
    program = start(CLI)
    program.says("listens on")
    program.signal(signal.SIGABRT)
    assert program.status() == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in program.said()
    assert "in _run_module_as_main" in program.said()

"""Both ways into a process of one's own: its signals, its words and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from a3s_gateway import __version__

ROOT = Path(__file__).parents[2]
LIMIT = 30.0  # seconds; for anything that has to happen
CLI = ("a3s-gateway", sys.executable, "-m", "a3s_gateway")
TWISTD = (
    "twistd",
    str(Path(sysconfig.get_path("scripts")) / "twistd"),
    "--nodaemon",
    "--pidfile=twistd.pid",
    "a3s-gateway",
)
WAYS = pytest.mark.parametrize("way", [CLI, TWISTD], ids=lambda way: way[0])
Way = tuple[str, ...]
TEXT = """
entrypoints "web" {
  address = "127.0.0.1:0"
}
routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "SERVICE"
}
access_log {
  path = "access.log"
}
admin {
  enabled = false
}
shutdown_timeout_secs = 20
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Program:
    """A process that runs a gateway in a folder; what it says goes to two files there."""

    def __init__(self, way: Way, folder: Path, *arguments: str, **variables: str) -> None:
        names = ("A3S_GATEWAY_CONFIG", "A3S_GATEWAY_LOG_LEVEL", "A3S_GATEWAY_LOG_FORMAT")
        environment = {k: v for k, v in os.environ.items() if k not in names} | variables
        self.folder = folder
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*way[1:], *arguments],
                cwd=folder,
                env=environment | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> Path:
        return self.folder / "stdout"

    @property
    def err(self) -> Path:
        return self.folder / "stderr"

    def said(self) -> str:
        return self.err.read_text()

    def until(self, holds: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + LIMIT
        while not holds():
            assert self.process.poll() is None, f"{what}: has ended\n{self.said()}"
            assert time.monotonic() < deadline, f"{what}: not in time\n{self.said()}"
            time.sleep(0.01)

    def says(self, text: str) -> None:
        """Wait for words on its standard error."""
        self.until(lambda: text in self.said(), text)

    def port(self) -> int:
        """Wait until it listens."""
        self.says("listens on")
        found = re.search(r"listens on 127\.0\.0\.1:(\d+)", self.said())
        assert found is not None
        return int(found[1])

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def status(self) -> int:
        """Wait for the end."""
        return self.process.wait(LIMIT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start programs that end with the test."""
    programs: list[Program] = []
    write(tmp_path)

    def begin(way: Way, *arguments: str, **variables: str) -> Program:
        programs.append(Program(way, tmp_path, *arguments, **variables))
        return programs[-1]

    yield begin
    for program in programs:
        program.kill()


def write(folder: Path, service: str = "whoami@internal", more: str = "", **changes: str) -> None:
    text = TEXT.replace("SERVICE", service) + more
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / "gateway.hcl").write_text(text)


def status_of(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture
def backend() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        yield listener


def service_at(backend: socket.socket) -> str:
    url = f"http://127.0.0.1:{backend.getsockname()[1]}"
    return (
        f'services "backend" {{\n  load_balancer {{\n    servers = [{{ url = "{url}" }}]\n  }}\n}}'
    )


def client_of(program: Program) -> socket.socket:
    return socket.create_connection(("127.0.0.1", program.port()), LIMIT)


def everything(sock: socket.socket) -> bytes:
    """Read to the end."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def begun(program: Program, backend: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Ask for something; returns the client's and the backend's end while it is under way."""
    client = client_of(program)
    client.sendall(GET)
    there, _ = backend.accept()
    there.settimeout(LIMIT)
    assert there.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
    return client, there


# -- signals


@WAYS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_term_and_int_drain_and_end_well(
    way: Way,
    number: int,
    start: Callable[..., Program],
    tmp_path: Path,
    backend: socket.socket,
) -> None:
    """What runs is finished, what is idle is closed at once, and the status is 0."""
    write(tmp_path, "backend", service_at(backend))
    program = start(way)
    idle = client_of(program)
    client, there = begun(program, backend)
    with idle, client, there:
        program.signal(number)
        assert everything(idle) == b""
        assert program.process.poll() is None
        there.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        answer = everything(client)
    assert answer.endswith(b"\r\n\r\nok")
    assert b"\r\nConnection: close\r\n" in answer
    assert program.status() == 0
    said = program.said()
    assert "Traceback" not in said
    assert "Main loop" not in said
    assert re.search(r"info +a3s_gateway.gateway: stopped\n", said)
    assert not (tmp_path / "twistd.pid").exists()
    (line,) = (tmp_path / "access.log").read_text().splitlines()
    assert json.loads(line)["status"] == 200


@WAYS
def test_what_does_not_end_in_time_is_cut_off(
    way: Way, start: Callable[..., Program], tmp_path: Path, backend: socket.socket
) -> None:
    """After `shutdown_timeout_secs` the process ends, and that is a good end."""
    write(tmp_path, "backend", service_at(backend), **{"_secs = 20": "_secs = 0.1"})
    program = start(way)
    client, there = begun(program, backend)
    with client, there:
        program.signal(signal.SIGTERM)
        assert program.status() == 0
    assert "warn  " in program.said()
    assert "were cut off" in program.said()


@WAYS
def test_a_second_int_stops_at_once(
    way: Way, start: Callable[..., Program], tmp_path: Path, backend: socket.socket
) -> None:
    """Twice Ctrl-C: nothing is waited for any more."""
    write(tmp_path, "backend", service_at(backend))
    program = start(way)
    client, there = begun(program, backend)
    with client, there:
        program.signal(signal.SIGINT)
        program.says("stopping")
        begin = time.monotonic()
        program.signal(signal.SIGINT)
        assert program.status() == 1
        assert time.monotonic() - begin < 10
    assert "interrupted again" in program.said()
    assert not (tmp_path / "twistd.pid").exists()


@WAYS
def test_hup_and_usr1_do_not_end_it(
    way: Way, start: Callable[..., Program], tmp_path: Path
) -> None:
    """HUP has the configuration read again; USR1 makes the access log go on in a new file."""
    program = start(way)
    port = program.port()
    program.signal(signal.SIGHUP)
    program.says("reloaded the configuration; 1 reloads since the start")
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    assert status_of(port) == 200
    program.until(lambda: log.read_text().count("\n") == 1, "the first line")
    log.rename(old)
    program.signal(signal.SIGUSR1)
    program.until(log.exists, "the new file")
    assert status_of(port) == 200
    program.signal(signal.SIGTERM)
    assert program.status() == 0
    assert [f.read_text().count("\n") for f in (old, log)] == [1, 1]


# -- statuses and words


@WAYS
def test_an_address_that_is_taken(way: Way, start: Callable[..., Program], tmp_path: Path) -> None:
    """Status 3, the place in the configuration, and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        write(tmp_path, **{"127.0.0.1:0": f"127.0.0.1:{other.getsockname()[1]}"})
        program = start(way)
        assert program.status() == 3
    said = program.said()
    assert said.startswith('gateway.hcl:3:14: error: entrypoint "web" cannot listen on 127.0.0.1:')
    assert "Traceback" not in said
    assert "\x1b[" not in said
    assert not (tmp_path / "twistd.pid").exists()


@WAYS
def test_an_invalid_configuration(way: Way, start: Callable[..., Program], tmp_path: Path) -> None:
    """Status 1 and all faults, also those of what is not there yet and of certificates."""
    write(tmp_path, "nobody", 'routers "more" {\n  rule = "Path("\n  service = "nobody"\n}\n')
    program = start(way)
    assert program.status() == 1
    said = program.said()
    assert len(re.findall(r"^gateway\.hcl:\d+:\d+: error: ", said, re.MULTILINE)) == 3
    assert "Traceback" not in said
    assert program.out.read_text() == ""


@WAYS
@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--nonsense"], 2), (["--config", "absent.hcl"], 1), (["--version"], 0), (["--help"], 0)],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_statuses(
    way: Way, arguments: list[str], status: int, start: Callable[..., Program]
) -> None:
    """Usage is 2, a missing file 1; what was only asked is 0."""
    program = start(way, *arguments)
    assert program.status() == status
    if not status:
        assert __version__ in program.out.read_text() or "--config" in program.out.read_text()
    assert "Traceback" not in program.said()


@WAYS
def test_no_configuration_at_all(way: Way, start: Callable[..., Program], tmp_path: Path) -> None:
    """Without a flag, a variable and a gateway.hcl nothing can be meant."""
    (tmp_path / "gateway.hcl").unlink()
    program = start(way)
    assert program.status() == 2
    assert "give a configuration file: --config gateway.hcl" in program.said()


@WAYS
def test_the_environment_chooses(way: Way, start: Callable[..., Program], tmp_path: Path) -> None:
    """File, level and format, for containers; every line of the log is JSON."""
    (tmp_path / "gateway.hcl").rename(tmp_path / "other.hcl")
    program = start(
        way,
        A3S_GATEWAY_CONFIG="other.hcl",
        A3S_GATEWAY_LOG_LEVEL="debug",
        A3S_GATEWAY_LOG_FORMAT="json",
    )
    assert status_of(program.port()) == 200
    program.signal(signal.SIGTERM)
    assert program.status() == 0
    events = [json.loads(line) for line in program.said().splitlines()]
    assert {event["level"] for event in events} == {"debug", "info"}
    assert "Main loop terminated." in {event["message"] for event in events}


@WAYS
def test_the_access_log_is_on_standard_output(
    way: Way, start: Callable[..., Program], tmp_path: Path
) -> None:
    """Unless it has a path: there it is alone, for whoever collects it."""
    write(tmp_path, **{'path = "access.log"': 'format = "json"'})
    program = start(way)
    assert status_of(program.port()) == 200
    program.signal(signal.SIGTERM)
    assert program.status() == 0
    (line,) = program.out.read_text().splitlines()
    assert json.loads(line)["router"] == "all"


@WAYS
def test_tracebacks_are_for_debugging(
    way: Way, start: Callable[..., Program], tmp_path: Path
) -> None:
    """With --debug it is shown where in the program a start failed."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        write(tmp_path, **{"127.0.0.1:0": f"127.0.0.1:{other.getsockname()[1]}"})
        program = start(way, "--debug")
        assert program.status() != 0
    assert "Traceback" in program.said()


def test_validate_does_not_serve(start: Callable[..., Program]) -> None:
    """It says what there is, and ends."""
    program = start(CLI, "validate", "--format", "json")
    assert program.status() == 0
    assert json.loads(program.out.read_text()) == {"valid": True, "diagnostics": []}


def test_colours_are_for_a_terminal(tmp_path: Path) -> None:
    """A real one: what is a file elsewhere is a terminal here."""
    write(tmp_path, "nobody")
    ours, its = os.openpty()
    try:
        done = subprocess.run(
            [*CLI[1:], "validate"],
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if k != "NO_COLOR"}
            | {"PYTHONPATH": str(ROOT)},
            stderr=its,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 1
        assert select.select([ours], [], [], LIMIT)[0]
        assert b"\x1b[1;31merror\x1b[0m" in os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(its)


@WAYS
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_it_is_there_at_once(way: Way, start: Callable[..., Program]) -> None:
    """From nothing to the first answer it takes less than a second and a half of a processor."""
    program = start(way)
    assert status_of(program.port()) == 200
    stat = Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
    used = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime
    assert used < 1.5


# -- twistd's own


def test_a_log_file_of_twistds(start: Callable[..., Program], tmp_path: Path) -> None:
    """`--logfile` is obeyed; USR1 makes it go on in a new file, too."""
    way = (*TWISTD[:-1], "--logfile=twistd.log", TWISTD[-1])
    program = start(way)
    log, old = tmp_path / "twistd.log", tmp_path / "twistd.log.old"
    program.until(lambda: log.exists() and "listens on" in log.read_text(), "the log")
    log.rename(old)
    program.signal(signal.SIGUSR1)
    program.until(log.exists, "the new file")
    program.signal(signal.SIGTERM)
    assert program.status() == 0
    assert "stopped" in log.read_text()
    assert program.said() == ""


def test_as_a_daemon(tmp_path: Path) -> None:
    """It goes to the background when it listens, and drains on TERM, too."""
    write(tmp_path)
    way = [each for each in TWISTD[1:] if each != "--nodaemon"]
    started = subprocess.run(
        way,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    log, pid_file = tmp_path / "twistd.log", tmp_path / "twistd.pid"
    assert started.returncode == 0, started.stderr
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    deadline = time.monotonic() + LIMIT
    while pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not pid_file.exists()
    assert "listens on" in log.read_text()
    assert log.read_text().count("stopped") == 1


def test_a_daemon_that_cannot_start(tmp_path: Path) -> None:
    """Whoever starts it sees that it failed; the log has the place."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        write(tmp_path, **{"127.0.0.1:0": f"127.0.0.1:{other.getsockname()[1]}"})
        started = subprocess.run(
            [each for each in TWISTD[1:] if each != "--nodaemon"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
    assert started.returncode == 1
    assert "cannot listen on" in (tmp_path / "twistd.log").read_text()
    # The daemon tells its starter first, and puts away its file then.
    deadline = time.monotonic() + LIMIT
    while (tmp_path / "twistd.pid").exists() and time.monotonic() < deadline:
        select.select([], [], [], 0.01)
    assert not (tmp_path / "twistd.pid").exists()

"""Starting, pinning, measuring and stopping the programs that are compared."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds; the unit of utime and stime in /proc
START_TIMEOUT = 20.0  # seconds
STOP_TIMEOUT = 10.0
SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


class BenchmarkError(Exception):
    """The comparison cannot be made, or would not be a fair one."""


@dataclass(frozen=True)
class Server:
    """A program to start; `log` is its access log, `output` takes what it prints."""

    name: str
    argv: tuple[str, ...]
    port: int
    tls_port: int
    log: Path
    output: Path
    env: dict[str, str] = field(default_factory=dict)
    capacity: int = 1_000_000  # connections; far above what is opened, but for HAProxy
    ports: dict[str, int] = field(default_factory=dict)  # of other protocols, by name


def find_program(name: str) -> str:
    """Find a program, also where Debian puts servers and an ordinary user's PATH does not look."""
    found = shutil.which(name, path=SEARCH)
    if found is None:
        raise BenchmarkError(f"{name} is not installed (Debian: apt-get install {name})")
    return found


def free_port() -> int:
    """Return a loopback port that nobody listens on just now, and another one each time."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port


_GIVEN: set[int] = set()


@contextlib.contextmanager
def running(server: Server, core: int) -> Iterator[int]:
    """Run a server pinned to a core; yields its pid once it accepts connections."""
    command = [find_program("taskset"), "-c", str(core), *server.argv]
    # Python keeps its bytecode, as it does where nobody says otherwise.
    inherited = {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    with server.output.open("ab") as output:
        # A session of its own: Ctrl-C reaches this script alone, which then stops everything.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **server.env},
            start_new_session=True,
        )
    try:
        wait_until_it_accepts(server, process)
        yield process.pid
    finally:
        stop(process)


def wait_until_it_accepts(server: Server, process: subprocess.Popen[bytes]) -> None:
    """Return when the plain port is open; raises with what the server printed if it never is."""
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.005)
        else:
            return
    printed = server.output.read_text(errors="replace")[-2000:]
    raise BenchmarkError(f"{server.name} did not start:\n{printed}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server by pid; one that does not go in time is killed with its children."""
    family = process_tree(process.pid)
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def stat_fields(pid: int) -> list[str]:
    """Split /proc/PID/stat behind the program's name, which may hold blanks: state is first."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def process_tree(pid: int) -> list[int]:
    """List a process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(stat_fields(int(entry.name))[1]), []).append(
                    int(entry.name)
                )
    family = [pid]
    for member in family:  # grows while it is walked
        family += children.get(member, [])
    return family


def cpu_seconds(pids: list[int]) -> float:
    """Add up user and system time."""
    fields = [stat_fields(pid) for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields) * TICK


def family_cpu_seconds(pid: int) -> float:
    """Add up what a process, its descendants, and those of them that ended have used."""
    fields = [stat_fields(member) for member in process_tree(pid)]
    return sum(sum(map(int, f[11:15])) for f in fields) * TICK


def machine_cpu_seconds() -> float:
    """Add up what all programs of the machine have used."""
    with Path("/proc/stat").open() as stat:
        user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, stat.readline().split()[1:])
    return (user + nice + system + irq + softirq) * TICK


def children_cpu_seconds() -> float:
    """Add up what this script's finished children have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory_bytes(pids: list[int]) -> int:
    """Add up the proportional set size: a page that several share is divided among them."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total

"""
Run the gateway for long under all that is not quiet: reloads, restarting backends, scrapes.

Prints Markdown; `--write` puts it into README.md beside this file, which says what is done.
Ends with status 1 if a limit is broken.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import multiprocessing
import os
import re
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import report
from peers import HOSTS, PREFIXES, ROOT, make_server, nginx_backend
from processes import (
    LOAD_CORE,
    PROXY_CORE,
    BenchmarkError,
    Server,
    cpu_seconds,
    family_cpu_seconds,
    free_port,
    machine_cpu_seconds,
    running,
)
from run import interrupted, progress
from steady_load import CONNECTIONS, Failure, Generator, Outcome

BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
CALIBRATION = 10.0  # seconds of full load, which also warm up
LOAD = 0.4  # of the rate at which the gateway's core would be busy all the time
LOAD_OF_REACHED = 0.5  # of the rate that came about at full load, where the load is the bottleneck
RELOAD_EVERY = SCRAPE_EVERY = 5.0  # seconds
RESTART_EVERY, GONE = 15.0, 1.0
WINDOW = 15.0  # seconds whose median stands for a moment
GROWTH_LIMIT = 0.05  # of the memory after a minute
FILES_LIMIT = 24  # more open files than after a minute; a leak per reload would be five times that
AT_OUTAGE = 0.25  # seconds around an outage in which a request may have met it
LOG_LIMIT = 256 * 2**20  # bytes; then the access log is emptied
BACKENDS = 3

CONFIG = """
entrypoints "web" {{
  address = "127.0.0.1:{port}"
}}
access_log {{
  path = "{folder}/access.log"
}}
admin {{
  address = "127.0.0.1:{admin}"
}}
services "backend" {{
  load_balancer {{
    servers = [{servers}]
    health_check {{
      interval = "1s"
      timeout  = "500ms"
    }}
  }}
}}
routers "uploads-{number}" {{
  rule     = "Host(`h7.example.com`) && PathPrefix(`/api3/`) && Method(`POST`)"
  service  = "backend"
  priority = {priority}
}}
"""

ROUTER = """
routers "{name}" {{
  rule    = "Host(`{host}`) && PathPrefix(`{prefix}/`)"
  service = "backend"
}}
"""


@dataclass
class Diary:
    """What is noted while the load runs."""

    seconds: list[float] = field(default_factory=list)  # since the load began
    memory: list[int] = field(default_factory=list)  # bytes; one of each per second
    files: list[int] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    reloads: int = 0
    scrapes: int = 0
    scrape_bytes: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Subject:
    """The gateway under test, and its configuration, which is never the same twice."""

    def __init__(self, folder: Path, backends: list[Server]) -> None:
        self.folder = folder
        self.admin = free_port()
        self.port = free_port()
        self.backends = [server.port for server in backends]
        self.number = 0
        self.config = folder / "gateway.hcl"
        self.write()
        argv = (sys.executable, "-m", "a3s_gateway", "--config", str(self.config))
        self.server = make_server("gateway", folder, argv, (self.port, 0), PYTHONPATH=str(ROOT))

    def write(self) -> None:
        """Write the next configuration: another router for uploads, another list of servers."""
        turn = self.number % BACKENDS
        ports = self.backends[turn:] + self.backends[:turn]
        if self.number % 2:
            ports.pop()
        text = CONFIG.format(
            port=self.port,
            admin=self.admin,
            folder=self.folder,
            number=self.number,
            priority=1000 + self.number % 7,
            servers=", ".join(f'{{ url = "http://127.0.0.1:{port}" }}' for port in ports),
        )
        for number, (host, prefix) in enumerate((h, p) for h in HOSTS for p in PREFIXES):
            text += ROUTER.format(name=f"r{number}", host=host, prefix=prefix)
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config)
        self.number += 1

    def metrics(self) -> str:
        """Scrape."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            if response.status != 200:
                raise BenchmarkError(f"/metrics answered {response.status}")
            return response.read().decode()
        finally:
            connection.close()


def metric(text: str, name: str) -> float:
    """Add up a metric's values over all labels."""
    return sum(map(float, re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


def by_outcome(text: str) -> dict[str, int]:
    """Count reloads by what became of them."""
    found = re.findall(r'^gateway_config_reloads_total{outcome="(\w+)"} (\S+)$', text, re.MULTILINE)
    return {outcome: int(float(value)) for outcome, value in found if float(value)}


def resident_bytes(pid: int) -> int:
    """Read how much memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def reserved(port: int) -> Iterator[None]:
    """Keep a port from being given to a connection while its server is down."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        yield


class Stage:
    """The backends, each of which can be restarted, and the threads that disturb the gateway."""

    def __init__(self, pid: int, subject: Subject, backends: list[Server]) -> None:
        self.pid = pid
        self.subject = subject
        self.backends = backends
        self.diary = Diary()
        self.over = threading.Event()
        self.running: list[contextlib.ExitStack] = []
        self.began = 0.0

    @contextlib.contextmanager
    def disturbances(self) -> Iterator[None]:
        """Do everything at its time, until the end."""
        self.began = time.monotonic()
        tasks = (
            (self.sample, 1.0, 0.0),
            (self.reload, RELOAD_EVERY, 2.0),
            (self.scrape, SCRAPE_EVERY, 4.5),
            (self.restart, RESTART_EVERY, 7.0),
        )
        threads = [threading.Thread(target=self.repeat, args=task) for task in tasks]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()

    def repeat(self, task: Callable[[], None], every: float, first: float) -> None:
        """Call a function at regular times; what it raises is noted, and it is called again."""
        due = self.began + first
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += every
            try:
                task()
            except (OSError, http.client.HTTPException, BenchmarkError) as error:
                self.diary.faults.append(f"{task.__name__}: {error!r}")

    def sample(self) -> None:
        """Note memory and open files, and keep the disk from filling up."""
        memory = resident_bytes(self.pid)
        files = len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - only their number
        self.diary.seconds.append(time.monotonic() - self.began)
        self.diary.memory.append(memory)
        self.diary.files.append(files)
        if self.subject.server.log.stat().st_size > LOG_LIMIT:
            os.truncate(self.subject.server.log, 0)

    def reload(self) -> None:
        """Change the configuration and say so."""
        self.subject.write()
        os.kill(self.pid, signal.SIGHUP)
        self.diary.reloads += 1

    def scrape(self) -> None:
        """Do as Prometheus does."""
        self.diary.scrape_bytes.append(len(self.subject.metrics()))
        self.diary.scrapes += 1

    def restart(self) -> None:
        """Stop a backend, the next one each time, and start it again after a while."""
        index = len(self.diary.outages) % len(self.backends)
        stopped = time.monotonic()
        self.running[index].close()
        time.sleep(GONE)
        self.running[index].enter_context(running(self.backends[index], LOAD_CORE))
        self.diary.outages.append((stopped, time.monotonic()))


def generate(port: int, rate: float | None, seconds: float, answer: Connection) -> None:
    """Send load, in a process of its own; the outcome goes through the pipe."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.sched_setaffinity(0, {LOAD_CORE})
    answer.send(Generator(port, rate).run(seconds))


def send_load(port: int, rate: float | None, seconds: float) -> Outcome:
    """Have load sent, and wait."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=generate, args=(port, rate, seconds, theirs))
    process.start()
    theirs.close()
    try:
        outcome: Outcome = ours.recv()
    except EOFError:
        raise BenchmarkError("the load generator failed") from None
    finally:
        process.terminate()
        process.join()
    return outcome


def is_explained(failure: Failure, outages: list[tuple[float, float]]) -> bool:
    """
    Tell whether a backend that went away may be the cause.

    An answer that had begun cannot be repeated, nor may a POST that was sent; all else must be.
    """
    met = any(
        failure.began < up + AT_OUTAGE and failure.ended > stopped - AT_OUTAGE
        for stopped, up in outages
    )
    lost_post = failure.method == "POST" and failure.kind == "status 502 UPSTREAM_RESET"
    return met and (lost_post or failure.kind == "broken off within the answer")


def around(diary: Diary, values: list[int], second: float) -> int:
    """Take the median of what was noted in the window that ends at a time."""
    window = [
        value
        for at, value in zip(diary.seconds, values, strict=True)
        if second - WINDOW < at <= second
    ]
    if not window:
        raise BenchmarkError(f"no samples around second {second:.0f}")
    return int(statistics.median(window))


@dataclass
class Result:
    """All that was found out."""

    rate: float
    highest: float
    busy: float
    outcome: Outcome
    diary: Diary
    metrics: str
    began: float
    asked: int  # reloads
    foreign: float  # share of both cores that programs outside of the benchmark used

    def texts(self) -> Iterator[tuple[str, str]]:
        """List the figures."""
        outcome, diary = self.outcome, self.diary
        micros = sorted(outcome.micros)
        slowest, due = outcome.slowest
        first, last = self.memory()
        files = self.files()
        explained, unexplained = self.errors()
        outcomes = by_outcome(self.metrics)
        done = outcomes.pop("success", 0)
        yield "rate", f"{self.rate:,.0f} requests/s; {self.highest:,.0f} would fill the core"
        yield "gateway's core busy; other programs", f"{self.busy:.0%}; {self.foreign:.0%} of both"
        yield "answered requests", f"{outcome.answered:,}"
        yield "failed, unexplained", tell(unexplained)
        yield f"failed, explained by one of {len(diary.outages)} outages", tell(explained)
        yield "memory (RSS) after a minute", f"{first / 2**20:.1f} MiB"
        yield "memory at the end", f"{last / 2**20:.1f} MiB, {last / first - 1:+.1%}"
        yield "open files after a minute, at the end, most", f"{files[0]}, {files[1]}, {files[2]}"
        yield "reloads asked for, done", f"{self.asked}, {done}"
        yield "reloads with another outcome", tell(outcomes)
        yield (
            "scrapes; bytes of the first and last",
            (f"{diary.scrapes}; {diary.scrape_bytes[0]:,}, {diary.scrape_bytes[-1]:,}"),
        )
        yield (
            "p50, p99, p99.9",
            ", ".join(
                f"{micros[int(len(micros) * share)] / 1000:.1f} ms" for share in (0.5, 0.99, 0.999)
            ),
        )
        yield "worst latency", f"{slowest * 1000:.0f} ms, in second {due - self.began:.0f}"

    def memory(self) -> tuple[int, int]:
        """Return the memory after a minute and at the end."""
        diary = self.diary
        minute = min(60.0 + WINDOW / 2, diary.seconds[-1] / 2)
        return around(diary, diary.memory, minute), around(diary, diary.memory, diary.seconds[-1])

    def files(self) -> tuple[int, int, int]:
        """Return the open files after a minute, at the end, and the most."""
        diary = self.diary
        minute = min(60.0 + WINDOW / 2, diary.seconds[-1] / 2)
        first = around(diary, diary.files, minute)
        return first, around(diary, diary.files, diary.seconds[-1]), max(diary.files)

    def errors(self) -> tuple[dict[str, int], dict[str, int]]:
        """Count failed requests by kind: explained ones, and the others."""
        counts: tuple[collections.Counter[str], ...] = collections.Counter(), collections.Counter()
        for failure in self.outcome.failures:
            known = is_explained(failure, self.diary.outages)
            counts[0 if known else 1][f"{failure.method}: {failure.kind}"] += 1
        return counts[0], counts[1]

    def broken_limits(self) -> Iterator[str]:
        """Say what must not be."""
        first, last = self.memory()
        files = self.files()
        if self.errors()[1]:
            yield "requests failed without an outage that explains it"
        if last > first * (1 + GROWTH_LIMIT):
            yield f"memory grew by {last / first - 1:.1%}"
        if files[1] > files[0] + FILES_LIMIT:
            yield f"{files[1] - files[0]} more files are open than after a minute"
        if by_outcome(self.metrics) != {"success": self.asked}:
            yield f"reloads: {self.asked} asked for, {by_outcome(self.metrics)}"
        if lost := metric(self.metrics, "gateway_access_log_dropped_lines_total"):
            yield f"{lost:.0f} lines are not in the access log"
        yield from self.diary.faults


def tell(counts: dict[str, int]) -> str:
    """List counts."""
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "0"


def soak(folder: Path, minutes: float) -> Result:
    """Do it all."""
    backends = [nginx_backend(folder / f"backend{n}") for n in range(BACKENDS)]
    subject = Subject(folder, backends)
    with contextlib.ExitStack() as stack:
        for server in backends:
            stack.enter_context(reserved(server.port))
        pid = stack.enter_context(running(subject.server, PROXY_CORE))
        stage = Stage(pid, subject, backends)
        for server in backends:
            own = stack.enter_context(contextlib.ExitStack())
            own.enter_context(running(server, LOAD_CORE))
            stage.running.append(own)
        progress(f"full load for {CALIBRATION:.0f} s")
        before = cpu_seconds([pid])
        full = send_load(subject.port, None, CALIBRATION)
        if full.failures:
            raise BenchmarkError(f"failed at full load: {full.failures[0]}")
        highest = full.answered / (cpu_seconds([pid]) - before)
        reached = full.answered / full.seconds
        rate = min(highest * LOAD, reached * LOAD_OF_REACHED)
        progress(
            f"{minutes:g} minutes of {rate:.0f} requests/s; the load's core can do {reached:.0f},"
            f" the gateway's {highest:.0f}"
        )
        with stage.disturbances():
            before = cpu_seconds([pid])
            others = machine_cpu_seconds() - family_cpu_seconds(os.getpid())
            outcome = send_load(subject.port, rate, minutes * 60)
            busy = (cpu_seconds([pid]) - before) / outcome.seconds
            others = machine_cpu_seconds() - family_cpu_seconds(os.getpid()) - others
        time.sleep(SCRAPE_EVERY)  # the last reload ends meanwhile
        metrics = subject.metrics()
        return Result(
            *(rate, highest, busy, outcome, stage.diary, metrics, stage.began),
            asked=stage.diary.reloads,
            foreign=max(0.0, others) / outcome.seconds / 2,
        )


def as_markdown(result: Result, minutes: float) -> str:
    """Lay out what was found."""
    broken = list(result.broken_limits())
    verdict = "; ".join(broken) if broken else "every limit was kept"
    rows = [[name, text] for name, text in result.texts()]
    head = f"{report.machine()} {minutes:g} minutes, {CONNECTIONS} connections: {verdict}."
    return f"{head}\n\n{report.table(['', 'figure'], rows)}"


def main() -> None:
    """Run, and say plainly what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="(default: 10)")
    parser.add_argument("--write", action="store_true", help="put the figures into README.md")
    parser.add_argument("--keep", type=Path, help="folder for what the gateway printed")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    try:
        with tempfile.TemporaryDirectory(prefix="a3s-gateway-soak-") as name:
            folder = Path(name)
            folder.chmod(0o755)  # nginx's worker is nobody when its master is root
            try:
                result = soak(folder, options.minutes)
            finally:
                if options.keep:
                    options.keep.mkdir(exist_ok=True)
                    shutil.copy(folder / "output.txt", options.keep)
            if options.keep:
                samples = result.diary
                lines = zip(samples.seconds, samples.memory, samples.files, strict=True)
                (options.keep / "samples.txt").write_text(
                    "".join(f"{at:.0f} {memory} {files}\n" for at, memory, files in lines)
                )
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    text = as_markdown(result, options.minutes)
    print(text)
    if options.write:
        report.write_into_readme(text, BEGIN, END)
    sys.exit(1 if any(result.broken_limits()) else 0)


if __name__ == "__main__":
    main()

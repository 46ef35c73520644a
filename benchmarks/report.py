"""The measurements as Markdown: medians, and ratios within one run."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from load import SCENARIOS, Sample, Scenario
from processes import BenchmarkError, find_program

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
Samples = dict[str, dict[str, list[Sample]]]  # by scenario, then by server


def median(samples: list[Sample], figure: Callable[[Sample], float]) -> float:
    """Take one figure's median over the rounds."""
    return statistics.median(figure(sample) for sample in samples)


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a Markdown table; the first column is text, the others are figures."""
    header = list(header)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ratio(value: float, base: float | None) -> str:
    """Say how many times the base a value is."""
    return "" if not base else f"{value / base:.2f}"


def measured(samples: Samples) -> list[Scenario]:
    """List the scenarios of this run in their usual order."""
    return [scenario for scenario in SCENARIOS if scenario.name in samples]


def overviews(samples: Samples) -> str:
    """CPU per request: plain HTTP first, then what only some of the servers were asked for."""
    plain = [scenario for scenario in measured(samples) if not scenario.port]
    others = [scenario for scenario in measured(samples) if scenario.port]
    return "\n\n".join(overview(samples, group) for group in (plain, others) if group)


def overview(samples: Samples, scenarios: list[Scenario]) -> str:
    """CPU per request, a column per scenario."""
    servers = list(samples[scenarios[0].name])
    header = ["CPU µs each", *(f"{s.name}: {s.title}" for s in scenarios)]
    rows = [
        [name, *(f"{median(samples[s.name][name], lambda x: x.cpu_us):.1f}" for s in scenarios)]
        for name in servers
    ]
    return table(header, rows)


def ratios(samples: Samples) -> str:
    """Ours against the two it is measured by; empty if they did not run together."""
    rows = []
    for scenario in measured(samples):
        by_server = {
            name: median(taken, lambda x: x.cpu_us)
            for name, taken in samples[scenario.name].items()
        }
        if "ours" not in by_server:
            return ""
        p99 = {name: median(t, lambda x: x.p99_us) for name, t in samples[scenario.name].items()}
        ours = by_server["ours"]
        rows.append(
            [
                f"{scenario.name}: {scenario.title}",
                *(ratio(ours, by_server.get(peer)) for peer in ("nginx", "haproxy", "caddy")),
                ratio(p99["ours"], p99.get("nginx")),
            ]
        )
    header = ["ours ÷", "nginx, CPU", "HAProxy, CPU", "Caddy, CPU", "nginx, p99"]
    return table(header, rows)


def details(samples: Samples) -> str:
    """All figures of each scenario, with the spread of the CPU figure over the rounds."""
    header = ["", "CPU µs", "lowest, highest", "req/s", "p50 ms", "p99 ms", "core busy"]
    parts = []
    for scenario in measured(samples):
        rows = []
        for name, taken in samples[scenario.name].items():
            cpu = [sample.cpu_us for sample in taken]
            rows.append(
                [
                    name,
                    f"{statistics.median(cpu):.1f}",
                    f"{min(cpu):.1f}, {max(cpu):.1f}",
                    f"{median(taken, lambda x: x.rate):,.0f}",
                    f"{median(taken, lambda x: x.p50_us) / 1000:.2f}",
                    f"{median(taken, lambda x: x.p99_us) / 1000:.2f}",
                    f"{median(taken, lambda x: x.busy):.0%}",
                ]
            )
        parts.append(f"**{scenario.name}: {scenario.title}**\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def version(program: str, option: str, pattern: str) -> str:
    """Ask a program for its version."""
    try:
        command = [find_program(program), option]
    except BenchmarkError:
        return f"no {program}"
    run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    found = re.search(pattern, run.stdout + run.stderr)
    return f"{program} {found[1]}" if found else program


def machine() -> str:
    """Describe where and with what the figures were made."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    programs = [
        f"{platform.python_implementation()} {platform.python_version()}",
        version("nginx", "-v", r"nginx/(\S+)"),
        version("haproxy", "-v", r"version (\S+)"),
        version("caddy", "version", r"v?(\d\S*)"),
        version("wrk", "-v", r"wrk \D*([\d.]+\d)"),
    ]
    host = (
        f"{os.cpu_count()} cores of {cpu[1].strip() if cpu else 'unknown'},"
        f" {int(memory[1]) // 2**20 if memory else '?'} GiB, {system}, Linux {platform.release()}"
    )
    return f"{dt.datetime.now(dt.UTC):%Y-%m-%d}; {host}; {', '.join(programs)}."


def circumstances(samples: Samples, rounds: int, seconds: int) -> str:
    """Describe the run, and how much else went on meanwhile."""
    shares = [
        sample.foreign for turns in samples.values() for taken in turns.values() for sample in taken
    ]
    return (
        f"{machine()} {rounds} rounds of {seconds} s, medians. Other programs took"
        f" {statistics.median(shares):.0%} of the two cores meanwhile, {max(shares):.0%} in the"
        " worst turn."
    )


def write_into_readme(text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between the markers."""
    readme = README.read_text(encoding="utf-8")
    head, _, rest = readme.partition(begin)
    _, _, tail = rest.partition(end)
    README.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")

"""
Compare the gateway with nginx, HAProxy and Caddy, side by side on this machine.

Prints Markdown; `--write` puts it into README.md beside this file, which says how to read it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pstats
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

import protocols
import report
from idle import idle_bytes, quickstart, raise_file_limit, seconds_to_first_answer
from load import SCENARIOS, Scenario, check_answer, run_load, take_sample
from peers import PROXIES, Site, make_certificate, nginx_backend
from processes import LOAD_CORE, PROXY_CORE, BenchmarkError, Server, running

START_ROUNDS = 5
PROFILE_LINES = 45


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    names, scenarios = ",".join(PROXIES), ",".join(s.name for s in SCENARIOS)
    parser.add_argument("--only", default=names, help=f"of {names}", metavar="NAMES")
    parser.add_argument("--scenario", default=None, help=f"of {scenarios}", metavar="NAMES")
    parser.add_argument("--seconds", type=int, default=2, help="of one turn (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="turns each (default: 5)")
    parser.add_argument("--write", action="store_true", help="put the figures into README.md")
    parser.add_argument("--skip-idle", action="store_true", help="no memory, no start-up time")
    parser.add_argument(
        "--profile", action="store_true", help="instead: ours alone, under cProfile, by function"
    )
    return parser.parse_args()


def chosen(text: str, known: list[str]) -> list[str]:
    """Read a list of names."""
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchmarkError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def progress(text: str) -> None:
    """Say on stderr what happens now; stdout is for the figures."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def stage() -> Iterator[Site]:
    """Run the backend, in a folder that is removed in the end."""
    with tempfile.TemporaryDirectory(prefix="a3s-gateway-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker is nobody when its master is root
        cert, key = make_certificate(folder)
        backend = nginx_backend(folder / "backend")
        with running(backend, LOAD_CORE) as pid:
            yield Site(folder, backend.port, (pid,), cert, key)


@contextlib.contextmanager
def protocol_stage(site: Site) -> Iterator[Site]:
    """Run the backends for what is not plain HTTP as well."""
    grpc = protocols.grpc_backend(site.folder / "grpc")
    echoes = protocols.echoes(site.folder / "echoes")
    with running(grpc, LOAD_CORE) as one, running(echoes, LOAD_CORE) as other:
        pids = *site.backend_pids, one, other
        yield replace(site, backend_pids=pids, grpc_backend=grpc.port, echoes=echoes.port)


def make_proxy(name: str, site: Site, purpose: str = "load") -> Server:
    """Write one proxy's configuration into a folder of its own."""
    folder = site.folder / f"{name}-{purpose}"
    folder.mkdir()
    proxies = protocols.PROXIES if purpose == "protocols" else PROXIES
    return proxies[name](replace(site, folder=folder))


def measure_load(
    site: Site, names: list[str], scenarios: list[Scenario], options: argparse.Namespace
) -> report.Samples:
    """Measure plain HTTP, and what else there is by those servers that have it."""
    plain = [scenario for scenario in scenarios if not scenario.port]
    others = [scenario for scenario in scenarios if scenario.port]
    able = [name for name in names if name in protocols.PROXIES]
    samples = take_turns(site, names, "load", plain, options) if plain else {}
    if others and able:
        with protocol_stage(site) as larger:
            samples |= take_turns(larger, able, "protocols", others, options)
    return samples


def take_turns(
    site: Site,
    names: list[str],
    purpose: str,
    scenarios: list[Scenario],
    options: argparse.Namespace,
) -> report.Samples:
    """Let the servers take turns; all of them run, one at a time has load."""
    samples: report.Samples = {s.name: {name: [] for name in names} for s in scenarios}
    with contextlib.ExitStack() as stack:
        servers = {name: make_proxy(name, site, purpose) for name in names}
        pids = {n: stack.enter_context(running(s, PROXY_CORE)) for n, s in servers.items()}
        for scenario in scenarios:
            for server in servers.values():
                check_answer(server, scenario, site.cert)
                run_load(server, scenario, 1)
            for number in range(options.rounds):
                progress(f"scenario {scenario.name}, round {number + 1} of {options.rounds}")
                turn = number % len(names)
                for name in names[turn:] + names[:turn]:
                    sample = take_sample(
                        servers[name], scenario, pids[name], site.backend_pids, options.seconds
                    )
                    samples[scenario.name][name].append(sample)
    return samples


def measure_idle(site: Site, names: list[str]) -> str:
    """Measure start-up time and the memory of idle connections."""
    connections = raise_file_limit()
    memory = []
    for name in names:
        progress(f"idle connections: {name}")
        opened, grown = idle_bytes(make_proxy(name, site, "idle"), connections)
        memory.append([name, f"{opened:,}", f"{grown / 1024:.1f}"])
    starts = []
    servers = [(make_proxy(name, site, "start"), "/api3/items") for name in names]
    if "ours" in names:
        folder = site.folder / "quickstart"
        folder.mkdir()
        servers.append((quickstart(folder), "/"))
    for server, path in servers:
        progress(f"start: {server.name}")
        taken = [seconds_to_first_answer(server, path) for _ in range(START_ROUNDS)]
        starts.append([server.name, f"{statistics.median(taken):.2f}"])
    return "\n\n".join(
        [
            report.table(["idle kept connections", "opened", "KB each"], memory),
            report.table(["start to first answer", "seconds"], starts),
        ]
    )


def profile(site: Site, scenario: Scenario, seconds: int) -> None:
    """Run ours under cProfile; its own cost falsifies the shares of small functions."""
    if scenario.port:
        with protocol_stage(site) as larger:
            profile_one(larger, make_proxy("ours", larger, "protocols"), scenario, seconds)
    else:
        profile_one(site, make_proxy("ours", site), scenario, seconds)


def profile_one(site: Site, server: Server, scenario: Scenario, seconds: int) -> None:
    """Run one server under it."""
    output = site.folder / "profile"
    interpreter, *rest = server.argv
    argv = (interpreter, "-m", "cProfile", "-o", str(output), *rest)
    with running(replace(server, argv=argv), PROXY_CORE):
        check_answer(server, scenario, site.cert)
        run_load(server, scenario, seconds)
    pstats.Stats(str(output)).strip_dirs().sort_stats("tottime").print_stats(PROFILE_LINES)


def compare(options: argparse.Namespace) -> None:
    """Do what the command line asks."""
    if (os.cpu_count() or 1) <= max(PROXY_CORE, LOAD_CORE):
        raise BenchmarkError("two cores are needed: one for the proxy, one for the load")
    names = chosen(options.only, list(PROXIES))
    known = {scenario.name: scenario for scenario in SCENARIOS}
    wanted = chosen(options.scenario, list(known)) if options.scenario else list(known)
    scenarios = [known[name] for name in wanted]
    with stage() as site:
        if options.profile:
            profile(site, scenarios[0], options.seconds)
            return
        samples = measure_load(site, names, scenarios, options)
        parts = [
            report.circumstances(samples, options.rounds, options.seconds),
            report.overviews(samples),
            report.ratios(samples),
            *([] if options.skip_idle or options.scenario else [measure_idle(site, names)]),
            report.details(samples),
        ]
    text = "\n\n".join(part for part in parts if part)
    print(text)
    if options.write:
        report.write_into_readme(text)


def interrupted(_signal: int, _frame: FrameType | None) -> None:
    """Leave through the `finally` clauses, which stop the servers."""
    sys.exit(143)


def main() -> None:
    """Run, and say plainly what went wrong."""
    signal.signal(signal.SIGTERM, interrupted)
    try:
        compare(parse_arguments())
    except BenchmarkError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

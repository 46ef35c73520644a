"""
The gateway's metrics for Prometheus: as a collector of its client library, and as text.

`python -m a3s_gateway.observability.metrics [FILE]` writes the page that explains them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, islice
from pathlib import Path
from typing import Final, TypeVar

from attrs import frozen
from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from a3s_gateway.observability.counters import BOUNDS
from a3s_gateway.observability.facts import Facts
from a3s_gateway.observability.families import COUNTS, TIMES, Family, Histograms

T = TypeVar("T")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SLICE: Final = 50  # series at a time: a histogram is 19 lines, so that is half a millisecond
_BUCKETS: Final = (*(repr(bound) for bound in BOUNDS), "+Inf")


@frozen(eq=False)
class Metrics(Collector):
    """
    Whoever has a registry of prometheus_client's registers this; the admin API uses `text`.

    Both read the same `Family` objects. The library's own text costs some 3 us for each of the
    45 lines of a router, so with thousands of routers it would hold up all that is under way.

    Args:
        facts: Gathers the counters; called once each time.

    """

    facts: Callable[[], Facts]

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as prometheus_client has it."""
        facts = self.facts()
        for family in COUNTS:
            metric = Metric(family.name.removesuffix("_total"), family.help, family.kind)
            for values, number in family.read(facts):
                labels = dict(zip(family.labels, values, strict=True))
                metric.add_sample(family.name, labels, number)
            yield metric
        for times in TIMES:
            yield _histogram(times, facts)

    def text(self) -> Iterator[bytes]:
        """Yield Prometheus's text format piece by piece; pauses between pieces are fine."""
        facts = self.facts()
        for family in COUNTS:
            yield _head(family, family.kind)
            for batch in _batches(family.read(facts)):
                yield "".join(
                    [f"{family.name}{_labels(family.labels, v)} {n}\n" for v, n in batch]
                ).encode()
        for times in TIMES:
            yield _head(times, "histogram")
            template = _template(times.name)
            for distributions in _batches(times.read(facts)):
                lines = []
                for values, histogram in distributions:
                    labels = _labels(times.labels, values)[1:-1].replace("%", "%%")
                    counts = tuple(accumulate(histogram.buckets))
                    text = template.replace("\0", labels)
                    lines.append(text % (*counts, histogram.sum, counts[-1]))
                yield "".join(lines).encode()
        yield generate_latest(_PROCESS)


# The process's memory, processor time and open files, as everybody's dashboards know them.
_PROCESS: Final = CollectorRegistry()
ProcessCollector(registry=_PROCESS)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, SLICE)):
        yield batch


def _head(family: Family | Histograms, kind: str) -> bytes:
    return f"# HELP {family.name} {family.help}\n# TYPE {family.name} {kind}\n".encode()


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not names:
        return ""
    pairs = [f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True)]
    return f"{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    if value.isidentifier():
        return value
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _template(name: str) -> str:
    """Lay out the lines of one distribution: a zero stands for its labels, `%` for numbers."""
    lines = [f'{name}_bucket{{\0,le="{bound}"}} %d\n' for bound in _BUCKETS]
    return "".join([*lines, f"{name}_sum{{\0}} %r\n", f"{name}_count{{\0}} %d\n"])


def _histogram(times: Histograms, facts: Facts) -> Metric:
    metric = Metric(times.name, times.help, "histogram")
    for values, histogram in times.read(facts):
        labels = dict(zip(times.labels, values, strict=True))
        counts = tuple(accumulate(histogram.buckets))
        for bound, count in zip(_BUCKETS, counts, strict=True):
            metric.add_sample(f"{times.name}_bucket", {**labels, "le": bound}, count)
        metric.add_sample(f"{times.name}_sum", labels, histogram.sum)
        metric.add_sample(f"{times.name}_count", labels, counts[-1])
    return metric


_INTRODUCTION: Final = """\
# Metrics

`GET /metrics` of the admin API answers in Prometheus's text format. This page is generated from the
table that the answer is made of.

- The values of labels are names of the configuration, URLs of its servers, or words of a fixed
  list: no client can add a series. What is removed from the configuration is gone from the next
  answer.
- Sums (by service, and those without labels) never go back when a router is removed; they go on
  counting what it had counted.
- Every request is counted once, when it is over, whatever became of it; `status_class` leaves out
  those that ended without a status.
- A program with a registry of prometheus_client's can register `Gateway.metrics()` in it.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the text of `docs/metrics.md`."""
    rows = [
        *((each.name, each.kind, each.labels, each.help) for each in COUNTS),
        *((each.name, "histogram", each.labels, each.help) for each in TIMES),
    ]
    table = "".join(
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |\n"
        for name, kind, labels, text in rows
    )
    bounds = ", ".join(f"{bound:g}" for bound in BOUNDS)
    return (
        f"{_INTRODUCTION}{table}\nThe histograms' buckets end at {bounds} seconds and at infinity."
        " What `code` may be: [errors.md](errors.md).\n\nBesides these there are the metrics of the"
        " process that every client library has:\n`process_cpu_seconds_total`,"
        " `process_resident_memory_bytes`, `process_virtual_memory_bytes`,\n"
        "`process_open_fds`, `process_max_fds`, `process_start_time_seconds`.\n"
    )


def main() -> None:
    """Write the page where the command line says."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main()

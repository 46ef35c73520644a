"""Services that stand in for each other must not do so in a ring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from a3s_gateway.config.service import ServiceConfig
from a3s_gateway.hcl.diagnostics import Diagnostic


def cycles(services: Mapping[str, ServiceConfig]) -> Iterator[Diagnostic]:
    """Follow mirrors and failovers; report each ring once, at its first link."""
    links = {
        service.name: [
            (section.service, section.span_of("service"))
            for section in (service.mirror, service.failover)
            if section is not None and section.service in services
        ]
        for service in services.values()
    }
    while True:
        graph = {name: [target for target, _ in found] for name, found in links.items()}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            ring: list[str] = list(reversed(error.args[1]))
        else:
            return
        start = min(range(len(ring) - 1), key=lambda i: list(services).index(ring[i]))
        ring = [*ring[start:-1], *ring[:start], ring[start]]
        span = next(span for target, span in links[ring[0]] if target == ring[1])
        way = " -> ".join(f'"{name}"' for name in ring)
        yield Diagnostic(span, f"mirrors and failovers form a cycle: {way}")
        links[ring[0]] = [each for each in links[ring[0]] if each[0] != ring[1]]

"""What the admin API needs to know of a gateway, and the JSON it makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Protocol

from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.config.schema import Json
from a3s_gateway.datagrams import UdpRoute
from a3s_gateway.dataplane import EntrypointResource, Route
from a3s_gateway.observability.facts import Certificate, Certificates, Circuit
from a3s_gateway.observability.metrics import Metrics
from a3s_gateway.router.table import Entry
from a3s_gateway.runtime.compile import Snapshot
from a3s_gateway.service.backend import Backend
from a3s_gateway.service.hub import Channels, Hub
from a3s_gateway.tunnels import TcpRoute


class Health(Protocol):
    """A glance at the gateway; see `gateway.Health`."""

    @property
    def state(self) -> StrEnum:
        """Where it is in its life."""

    @property
    def uptime_secs(self) -> float:
        """Seconds since the end of the start."""

    @property
    def active_connections(self) -> int:
        """Clients."""

    @property
    def total_requests(self) -> int:
        """Since the start."""


class Shown(Protocol):
    """The gateway as far as the API shows it."""

    version: str

    def config(self) -> GatewayConfig:
        """Return the configuration in force."""

    def health(self) -> Health:
        """Return how it is doing."""

    def metrics(self) -> Metrics:
        """Return its metrics."""

    def certificates(self) -> Certificates:
        """Return what clients are shown by TLS."""

    def find_snapshot(self) -> Snapshot | None:
        """Return what is compiled and in force; None before the start."""


def certificate(entrypoint: str, each: Certificate) -> dict[str, Json]:
    """Describe one certificate of an entrypoint."""
    return {
        "entrypoint": entrypoint,
        "cert_file": each.cert_file,
        "algorithm": each.algorithm,
        "names": [*each.names, *each.addresses],
        "serial": each.serial,
        "not_after": f"{each.not_after:%Y-%m-%dT%H:%M:%SZ}",
    }


def routes(config: GatewayConfig, snapshot: Snapshot) -> Iterator[dict[str, Json]]:
    """Describe the routers in the order in which they are tried."""
    entries: dict[str, Entry[Route] | Entry[TcpRoute] | Entry[UdpRoute]] = {}
    for resource in snapshot.resources.values():
        if isinstance(resource, EntrypointResource) and resource.tunnels is not None:
            entries.update((entry.name, entry) for entry in resource.tunnels.routes.entries())
        entries.update((entry.name, entry) for entry in resource.routes.entries())
    for entry in sorted(entries.values(), key=lambda entry: entry.order):
        router = config.routers.get(entry.name)
        if router is not None:
            yield route(router)


def route(router: RouterConfig) -> dict[str, Json]:
    """Describe one router."""
    return {
        "name": router.name,
        "rule": router.rule,
        "service": router.service,
        "entrypoints": list(router.entrypoints),
        "middlewares": list(router.middlewares),
        "priority": router.priority,
    }


def service(name: str, config: GatewayConfig, backends: tuple[Backend, ...]) -> dict[str, Json]:
    """Describe one service."""
    balancing = config.services[name].load_balancer
    return {
        "name": name,
        "strategy": balancing.strategy if balancing is not None else None,
        "backends_total": len(backends),
        "backends_healthy": sum(each.available for each in backends),
        "backends": [backend(each) for each in backends],
    }


def backend(backend: Backend) -> dict[str, Json]:
    """Describe one server of a service."""
    return {
        "url": backend.url,
        "weight": backend.weight,
        "healthy": backend.available,
        "active_connections": backend.in_flight,
    }


def channels(hub: Hub, known: Channels) -> dict[str, Json]:
    """Describe what goes through `mux@internal`."""
    return {
        "connections": len(hub.members),
        "lost": hub.lost,
        "entries": [
            {
                "channel": entry,
                "subscriptions": each.subscriptions,
                "published": each.published,
                "delivered": each.delivered,
                "dropped": each.dropped,
                "received": each.received,
            }
            for entry, each in hub.counters_by_entry(known).items()
        ],
        "channels": [
            {"name": name, "subscribers": count} for name, count in hub.subscribers().items()
        ],
    }


def circuits(found: Mapping[str, Mapping[str, Circuit]]) -> list[Json]:
    """Describe the circuit breakers, each for the services that were asked for through it."""
    return [
        {
            "middleware": middleware,
            "service": service,
            "state": circuit.state.name.lower().replace("_", "-"),
            "opened": circuit.opened,
        }
        for middleware, circuits in found.items()
        for service, circuit in circuits.items()
    ]

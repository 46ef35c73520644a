"""
What the configuration can say and this version cannot do yet: refused, never ignored.

The language is complete from the start, so that a configuration does not change when a
function comes; until then, to accept it in silence would be the worst answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.rules import protocol_of
from a3s_gateway.config.schema import Section
from a3s_gateway.config.service import ServiceConfig
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.plugin import plugins

_FORWARDED_TO: Final = ("http", "https", "unix")


def unavailable(config: GatewayConfig) -> tuple[Diagnostic, ...]:
    """Return a fault for each part that is configured and has no function yet."""
    return tuple(_all(config))


def _all(config: GatewayConfig) -> Iterator[Diagnostic]:
    for entrypoint in config.entrypoints.values():
        yield from _of_entrypoint(entrypoint)
    for router in config.routers.values():
        if protocol_of(router, config.entrypoints) != "http":
            yield _fault(router, "rule", "TCP routers")
        if router.service == "api@internal":
            yield _fault(router, "service", "the admin API")
    for service in config.services.values():
        yield from _of_service(service)
    known = plugins("middleware")
    for middleware in config.middlewares.values():
        if known[middleware.type].build is None:
            yield _fault(middleware, "type", f'middlewares of type "{middleware.type}"')
    for name in ("file", "discovery", "dns", "docker", "kubernetes"):
        if getattr(config.providers, name) is not None:
            yield _fault(getattr(config.providers, name), "", f"the {name} provider")
    if config.admin.place.nodes and config.admin.enabled:
        yield _fault(config.admin, "", "the admin API")
    if config.tracing.place.nodes:
        yield _fault(config.tracing, "", "tracing")


def _of_entrypoint(entrypoint: EntrypointConfig) -> Iterator[Diagnostic]:
    if entrypoint.protocol != "http":
        yield _fault(entrypoint, "protocol", f"{entrypoint.protocol.upper()} entrypoints")
    if entrypoint.tls is not None and entrypoint.tls.acme:
        yield _fault(entrypoint.tls, "acme", "certificates by ACME")


def _of_service(service: ServiceConfig) -> Iterator[Diagnostic]:
    for name in ("mirror", "failover", "scaling", "rollout"):
        if getattr(service, name) is not None:
            yield _fault(getattr(service, name), "", _WORDS[name])
    if service.revisions:
        yield _fault(service, "revisions", "revisions")
    balancing = service.load_balancer
    if balancing is None:
        return
    if balancing.health_check is not None:
        yield _fault(balancing.health_check, "", "active health checks")
    if balancing.passive_health.place.nodes:
        yield _fault(balancing.passive_health, "", "passive health checks")
    if balancing.sticky is not None:
        yield _fault(balancing.sticky, "", "sticky sessions")
    for server in balancing.servers:
        if server.url.scheme not in _FORWARDED_TO:
            scheme = server.url.scheme or "host:port"
            yield _fault(server, "url", f"servers of the form {scheme}")


_WORDS: Final = {
    "mirror": "mirroring",
    "failover": "failover",
    "scaling": "scaling",
    "rollout": "rollouts",
}


def _fault(section: Section, key: str, what: str) -> Diagnostic:
    span = section.span_of(key) if key else section.span
    return Diagnostic(span, f"not yet available: {what}", "leave it out for now")

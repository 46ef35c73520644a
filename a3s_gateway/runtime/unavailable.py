"""
What the configuration can say and this version cannot do yet: refused, never ignored.

The language is complete from the start, so that a configuration does not change when a
function comes; until then, to accept it in silence would be the worst answer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Final

from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.config.entrypoint import EntrypointConfig, TlsConfig
from a3s_gateway.config.middleware import MiddlewareConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.provider import ProvidersConfig
from a3s_gateway.config.schema import Section
from a3s_gateway.config.service import ServiceConfig
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.runtime.reload import finish

_OF_SERVICES: Final = {
    "mirror": "mirroring",
    "failover": "failover",
    "scaling": "autoscaling",
    "rollout": "rollouts",
}
_OF_BALANCERS: Final = {"sticky": "sticky sessions"}
_PROVIDERS: Final = ("discovery", "docker", "kubernetes")


def unavailable(config: GatewayConfig, *, has_limits: bool = True) -> tuple[Diagnostic, ...]:
    """
    Return a fault for each part that is configured and has no function yet.

    Args:
        config: Valid.
        has_limits: The transports can bound connections and the time for a TLS handshake;
            Twisted's own cannot.

    """
    return finish(look_for_unavailable(config, has_limits=has_limits))


def look_for_unavailable(
    config: GatewayConfig, *, has_limits: bool
) -> Generator[None, None, tuple[Diagnostic, ...]]:
    """Do what `unavailable` does, and yield wherever traffic may have its turn."""
    faults: list[Diagnostic] = []
    for each in _all(config, has_limits=has_limits):
        faults += each
        yield
    return tuple(faults)


def _all(config: GatewayConfig, *, has_limits: bool) -> Iterator[Iterable[Diagnostic]]:
    for entrypoint in config.entrypoints.values():
        yield _of_entrypoint(entrypoint)
        if not has_limits:
            yield _of_limits(entrypoint)
    for service in config.services.values():
        yield _of_service(service)
        if service.load_balancer is not None:
            yield _of_balancer(service.load_balancer)
    for middleware in config.middlewares.values():
        yield _of_middleware(middleware)
    yield _of_providers(config.providers)


def _of_entrypoint(entrypoint: EntrypointConfig) -> Iterator[Diagnostic]:
    if entrypoint.tls is not None:
        yield from _of_acme(entrypoint.tls)


def _of_acme(tls: TlsConfig) -> Iterator[Diagnostic]:
    """Refuse it, and what would be for it alone; `acme = false` is what happens anyway."""
    if tls.acme:
        yield _fault(tls, "acme", "certificates by ACME")
        return
    for name in ("acme_email", "acme_domains", "acme_staging", "acme_storage_path"):
        if _is_asked_for(tls, name):
            yield _fault(tls, name, "certificates by ACME")


def _of_limits(entrypoint: EntrypointConfig) -> Iterator[Diagnostic]:
    where = "on a system without epoll, or on Twisted's own transports"
    if entrypoint.max_connections is not None and entrypoint.protocol == "http":
        yield _fault(entrypoint, "max_connections", f"max_connections {where}")
    if entrypoint.proxy_protocol is not None:
        yield _fault(entrypoint.proxy_protocol, "", f"proxy_protocol {where}")
    if _is_asked_for(entrypoint.timeouts, "tls_handshake"):
        yield _fault(entrypoint.timeouts, "tls_handshake", f"tls_handshake {where}")
    if entrypoint.tls is not None and entrypoint.tls.max_handshakes is not None:
        yield _fault(entrypoint.tls, "max_handshakes", f"max_handshakes {where}")


def _of_service(service: ServiceConfig) -> Iterator[Diagnostic]:
    for name, what in _OF_SERVICES.items():
        section = getattr(service, name)
        if section is not None:
            yield _fault(section, "", what)
    if service.revisions:
        yield _fault(service, "revisions", "revisions")


def _of_balancer(balancing: LoadBalancerConfig) -> Iterator[Diagnostic]:
    for name, what in _OF_BALANCERS.items():
        section = getattr(balancing, name)
        if section is not None:
            yield _fault(section, "", what)


def _of_middleware(middleware: MiddlewareConfig) -> Iterator[Diagnostic]:
    if middleware.plugin.build is None:
        yield _fault(middleware, "type", f'middlewares of type "{middleware.type}"')


def _of_providers(providers: ProvidersConfig) -> Iterator[Diagnostic]:
    for name in _PROVIDERS:
        section = getattr(providers, name)
        if section is not None:
            yield _fault(section, "", f"the {name} provider")


def _is_asked_for(section: Section, name: str) -> bool:
    """Tell whether a key was written, or set by a program; the section has no required keys."""
    return name in section.place.nodes or getattr(section, name) != getattr(type(section)(), name)


def _fault(section: Section, key: str, what: str, hint: str = "leave it out for now") -> Diagnostic:
    span = section.span_of(key) if key else section.span
    return Diagnostic(span, f"not yet available: {what}", hint)

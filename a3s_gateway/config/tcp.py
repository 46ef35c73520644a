"""What is written for TCP connections where there are none, or not such ones."""

from __future__ import annotations

from collections.abc import Iterator

from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.config.service import ServiceConfig
from a3s_gateway.hcl.diagnostics import Diagnostic


def misplaced(
    router: RouterConfig, protocol: str, service: ServiceConfig | None
) -> Iterator[Diagnostic]:
    """Refuse what would have no effect on what this router takes."""
    if router.tls is not None and protocol != "tcp":
        message = f'router "{router.name}" speaks {protocol}: "tls" is for TCP routers'
        hint = "TLS towards clients is a block of the entrypoint"
        yield Diagnostic(router.tls.span, message, hint)
    balancing = service.load_balancer if service is not None else None
    if balancing is not None and balancing.proxy_protocol is not None:
        yield from _of_proxy_protocol(router, protocol, balancing)


def _of_proxy_protocol(
    router: RouterConfig, protocol: str, balancing: LoadBalancerConfig
) -> Iterator[Diagnostic]:
    span = balancing.span_of("proxy_protocol")
    if protocol != "tcp":
        message = f'router "{router.name}" speaks {protocol}: "proxy_protocol" is for TCP routers'
        yield Diagnostic(span, message, "leave it out")
    elif any(server.url.scheme == "tls" for server in balancing.servers):
        message = '"proxy_protocol" cannot be written before TLS to a "tls" server'
        yield Diagnostic(
            span, message, 'have TLS passed through to a "tcp" server, or leave it out'
        )

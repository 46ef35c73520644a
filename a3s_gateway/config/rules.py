"""The rules of routers: which language each is written in, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.router.rule import RuleError, parse

Protocol = Literal["http", "tcp", "udp"]
_TCP_MATCHERS = ("HostSNI", "ALPN")


def protocol_of(router: RouterConfig, entrypoints: Mapping[str, EntrypointConfig]) -> Protocol:
    """
    Tell what a router speaks: what its entrypoints do; without any, what its rule can be read as.

    Entrypoints that are not declared are passed over; of several protocols the first counts.
    """
    for name in router.entrypoints:
        if name in entrypoints:
            return entrypoints[name].protocol
    return "tcp" if any(f"{name}" in router.rule for name in _TCP_MATCHERS) else "http"


def check_rule(router: RouterConfig, protocol: Protocol) -> Diagnostic | None:
    """Parse a rule; the fault's place is inside it."""
    try:
        parse(router.rule, "http" if protocol == "http" else "tcp")
    except RuleError as error:
        span = router.span_of("rule", start=error.start, end=max(error.end, error.start + 1))
        return Diagnostic(span, f'router "{router.name}": {error.message}', error.hint)
    return None

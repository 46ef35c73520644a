"""The rules of routers: which language each is written in, and where it is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.router.expression import And, Expression, Match, Not, Or
from a3s_gateway.router.rule import RuleError, parse

Protocol = Literal["http", "tcp", "udp"]
_TCP_MATCHER = re.compile(r"\b(?:HostSNI|HostSNIRegexp|ALPN)\s*\(", re.IGNORECASE)


def protocol_of(router: RouterConfig, entrypoints: Mapping[str, EntrypointConfig]) -> Protocol:
    """
    Tell what a router speaks: what its entrypoints do; without any, what its rule can be read as.

    Entrypoints that are not declared are passed over; of several protocols the first counts.
    One that speaks HTTPS takes rules for TCP as well, which are asked first.
    """
    for name in router.entrypoints:
        if name in entrypoints:
            entrypoint = entrypoints[name]
            is_https = entrypoint.protocol == "http" and entrypoint.tls is not None
            return "tcp" if is_https and _is_for_tls(router.rule) else entrypoint.protocol
    return "tcp" if _is_for_tls(router.rule) else "http"


def _is_for_tls(text: str) -> bool:
    return bool(_TCP_MATCHER.search(text)) and not _is_rule(text, "http")


def _is_rule(text: str, protocol: Literal["http", "tcp"]) -> bool:
    try:
        parse(text, protocol)
    except RuleError:
        return False
    return True


def check_rule(router: RouterConfig, protocol: Protocol) -> Diagnostic | None:
    """Parse a rule; the fault's place is inside it."""
    try:
        expression = parse(router.rule, "http" if protocol == "http" else "tcp")
    except RuleError as error:
        span = router.span_of("rule", start=error.start, end=max(error.end, error.start + 1))
        return Diagnostic(span, f'router "{router.name}": {error.message}', error.hint)
    if protocol == "udp" and (match := _find_of_tls(expression)) is not None:
        start, end = match.span
        message = f'router "{router.name}": datagrams have nothing that {match.name} could look at'
        hint = "use HostSNI(`*`), which takes all, or ClientIP"
        return Diagnostic(router.span_of("rule", start=start, end=end), message, hint)
    return None


def _find_of_tls(expression: Expression) -> Match | None:
    """Find a matcher that looks at what a client says when it begins TLS."""
    match expression:
        case Match("ClientIP", _) | Match("HostSNI", ("*",)):
            return None
        case Match():
            return expression
        case Not(term):
            return _find_of_tls(term)
        case And(terms) | Or(terms):
            return next((found for term in terms if (found := _find_of_tls(term))), None)

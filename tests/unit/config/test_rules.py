"""Which language a router's rule is in, where its entrypoints do not say."""

from __future__ import annotations

import pytest

from a3s_gateway.config.router import RouterConfig
from a3s_gateway.config.rules import protocol_of


@pytest.mark.parametrize(
    ("rule", "protocol"),
    [
        ("PathPrefix(`/`)", "http"),
        ("ClientIP(`10.0.0.0/8`)", "http"),
        ("HostSNI(`*`)", "tcp"),
        ("hostsni(`db.example.com`) && ClientIP(`10.0.0.0/8`)", "tcp"),
        ("Path(`/ALPN`)", "http"),
        ("Header(`X-Kind`, `HostSNI(x)`)", "http"),
        ("HostSNI(`a b`)", "tcp"),
        ("Hots(`a`)", "http"),
    ],
)
def test_a_rule_says_what_it_is_for(rule: str, protocol: str) -> None:
    """A matcher counts, not a word inside an argument; a faulty rule is judged by its matchers."""
    router = RouterConfig(name="r", rule=rule, service="s")
    assert protocol_of(router, {}) == protocol

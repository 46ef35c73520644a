"""The block `ws_mux`."""

from __future__ import annotations

import pytest

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig

ROUTED = """
entrypoints "web" { address = ":80" }
routers "a" {
  rule = "Path(`/`)"
  service = "mux@internal"
}
"""


def read(block: str) -> GatewayConfig:
    return GatewayConfig.from_text(f"{ROUTED} ws_mux {{\n{block}\n}}", environ={})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ('channels = ["a:b"]', 'channel "a:b": a name cannot contain a colon'),
        ('channels = ["a", "_x*"]', 'channel "_x*": a name cannot begin with _ or {'),
        ('channels = ["a*b"]', 'channel "a*b": a * may stand at the end only'),
        ('idle_timeout = "30s"', "idle_timeout must be longer than ping_interval"),
    ],
)
def test_what_cannot_be_meant(block: str, message: str) -> None:
    """Each is told at its place."""
    with pytest.raises(ConfigError) as raised:
        read(block)
    (fault,) = raised.value.diagnostics
    assert fault.message.startswith(message)
    assert fault.span.line == 8


def test_defaults() -> None:
    """As the original's limits were."""
    mux = GatewayConfig.from_text(ROUTED, environ={}).ws_mux
    assert (mux.channels, mux.max_channels, mux.queue) == (("*",), 64, 256)


def test_a_hub_that_nobody_can_reach() -> None:
    """It is probably not meant."""
    text = ROUTED.replace("mux@", "ping@") + "ws_mux {\n queue = 1\n}"
    (warning,) = GatewayConfig.from_text(text, environ={}).warnings
    assert warning.message == 'ws_mux is never used: no router leads to "mux@internal"'

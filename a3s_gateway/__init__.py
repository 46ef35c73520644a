"""
A3S Gateway: an API gateway and reverse proxy on Twisted.

    from a3s_gateway import Gateway, GatewayConfig

    gateway = Gateway(GatewayConfig.from_file("gateway.hcl"))
    await gateway.start()
    await gateway.wait_for_shutdown()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a3s_gateway.config.faults import ConfigError
    from a3s_gateway.config.model import GatewayConfig
    from a3s_gateway.gateway import Gateway

__version__ = "0.3.0"
__all__ = ["ConfigError", "Gateway", "GatewayConfig", "__version__"]

_HOMES = {
    "ConfigError": "a3s_gateway.config.faults",
    "Gateway": "a3s_gateway.gateway",
    "GatewayConfig": "a3s_gateway.config.model",
}


def __getattr__(name: str) -> Any:
    """Import the public names at their first use: what lies below must not pull in the whole."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)

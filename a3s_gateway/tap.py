"""`twistd a3s-gateway`: the gateway as a Twisted plugin."""

from __future__ import annotations

import sys

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.python import usage

from a3s_gateway import __version__
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.gateway import Gateway


class Options(usage.Options):
    """The options behind `twistd a3s-gateway`."""

    synopsis = "[options]"
    longdesc = "An API gateway and reverse proxy, configured in HCL."
    optParameters = [  # noqa: RUF012 - Twisted's way
        ["config", "c", None, "Configuration file (HCL); or set A3S_GATEWAY_CONFIG."],
    ]

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"a3s-gateway {__version__}\n")
        sys.exit(0)


def makeService(options: Options) -> IService:
    """Build the gateway; a configuration at fault ends the process with status 1."""
    import os

    path = options["config"] or os.environ.get("A3S_GATEWAY_CONFIG")
    if not path:
        raise usage.UsageError("give a configuration file: --config gateway.hcl")
    try:
        return Gateway(GatewayConfig.from_file(path), reactor)
    except ConfigError as error:
        sys.stderr.write(f"{error.render()}\n")
        sys.exit(1)

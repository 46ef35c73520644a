"""The whole configuration: what a file says, with every default filled in."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Self

from attrs import field, frozen

from a3s_gateway.config import load
from a3s_gateway.config.admin import AdminConfig
from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.kinds import PATH, duration
from a3s_gateway.config.middleware import MiddlewareConfig
from a3s_gateway.config.observability import AccessLogConfig, TracingConfig
from a3s_gateway.config.provider import ProvidersConfig
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.config.schema import Section, block, key, keys, named
from a3s_gateway.config.service import ServiceConfig
from a3s_gateway.config.validate import validate
from a3s_gateway.config.ws_mux import WsMuxConfig
from a3s_gateway.hcl.diagnostics import Diagnostic, Sources


@frozen(kw_only=True)
class GatewayConfig(Section):
    """
    The configuration of one gateway.

    Attributes:
        warnings: What is allowed, and probably not meant.
        sources: The texts it was read from, by path, to show the place of a fault found later.

    """

    entrypoints: Mapping[str, EntrypointConfig] = named(
        EntrypointConfig, "Where the gateway listens."
    )
    routers: Mapping[str, RouterConfig] = named(RouterConfig, "Which requests go where.")
    services: Mapping[str, ServiceConfig] = named(ServiceConfig, "Who answers.")
    middlewares: Mapping[str, MiddlewareConfig] = named(
        MiddlewareConfig, "Steps around a request.", plugin="middleware"
    )
    plugins: tuple[str, ...] = keys(
        PATH,
        "Python files that bring further types of middlewares.",
        example='["./tenant.py"]',
    )
    ws_mux: WsMuxConfig = block(
        WsMuxConfig, "Channels over WebSockets, for routers to `mux@internal`.", always=True
    )
    providers: ProvidersConfig = block(
        ProvidersConfig, "Where further configuration comes from.", always=True
    )
    admin: AdminConfig = block(AdminConfig, "The dashboard API.", always=True)
    access_log: AccessLogConfig = block(AccessLogConfig, "One line per request.", always=True)
    tracing: TracingConfig = block(TracingConfig, "Distributed tracing.", always=True)
    shutdown_timeout_secs: float = key(
        duration(), "How long running requests may take once the gateway stops.", default=30.0
    )
    shutdown_delay_secs: float = key(
        duration(),
        "How long the gateway goes on as before while `/readyz` says 503, so that load balancers "
        "notice, before it stops accepting.",
        default=0.0,
    )
    warnings: tuple[Diagnostic, ...] = field(default=(), eq=False, repr=False)
    sources: Sources = field(factory=dict, eq=False, repr=False)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], environ: Mapping[str, str] | None = None
    ) -> Self:
        """
        Read a file, and the folder that its `providers.file.directory` names.

        Args:
            path: The main file.
            environ: The variables that `"${NAME}"` reads; those of the process unless given.

        Raises:
            ConfigError: With all faults at once; also if a file cannot be read.

        """
        return load.from_file(cls, path, environ, validate)

    @classmethod
    def from_text(
        cls, text: str, path: str = "<text>", environ: Mapping[str, str] | None = None
    ) -> Self:
        """Read a text, called `path` in faults; otherwise like `from_file`."""
        return load.from_text(cls, text, path, environ, validate)

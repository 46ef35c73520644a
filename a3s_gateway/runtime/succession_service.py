"""One configuration after another: made ready beside the one in force, then put in its place."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from attrs import frozen
from twisted.internet.task import deferLater

from a3s_gateway.admin.admin_service import AdminService
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.entrypoint.entrypoints_service import Entrypoints
from a3s_gateway.entrypoint.tls import load_tls
from a3s_gateway.observability.observing_service import LogChange, Observing, cannot_open
from a3s_gateway.service.health_service import HealthChecks

from .compile import Compiler, Snapshot
from .generation import Generation, StatePool
from .reload import Prepared, in_slices, prepare_all
from .unavailable import look_for_unavailable


@frozen(eq=False)
class Successor:
    """A configuration that is ready to be put in force; then, or instead, call one of both."""

    config: GatewayConfig
    snapshot: Snapshot
    generation: Generation
    parts: Sequence[Prepared]

    def commit(self) -> None:
        """Put it in force; takes no time, and cannot fail."""
        for part in self.parts:
            part.commit()


@frozen(eq=False)
class Succession:
    """
    Prepares successors of the configuration in force.

    Attributes:
        pool: The state that generations share.
        stock: Whether Twisted's own transports are used.

    """

    reactor: Any
    stock: bool
    pool: StatePool
    observing: Observing
    health: HealthChecks
    admin: AdminService
    entrypoints: Entrypoints

    async def prepare(self, config: GatewayConfig, compiler: Compiler) -> Successor:
        """
        Check, compile, and open what is not open yet, without holding up traffic.

        Raises:
            ConfigError: It cannot be put in force; nothing has changed, nothing is left open.

        """
        check = look_for_unavailable(config, has_limits=not self.stock)
        if faults := await in_slices(check, self._rest, monotonic):
            raise ConfigError(faults, config.sources)
        tls = await in_slices(load_tls(config), self._rest, monotonic)
        if tls.faults:
            raise ConfigError(tls.faults, config.sources)
        generation = Generation(self.pool)
        try:
            steps = compiler.steps(config, generation)
            snapshot = await in_slices(steps, self._rest, monotonic)
            health = self.health.steps(snapshot.health)
            watched = await in_slices(health, self._rest, monotonic)
            parts = await prepare_all(
                [
                    lambda: self._prepare_log(config),
                    lambda: self.admin.prepare(config),
                    lambda: self.entrypoints.prepare(config, snapshot.resources, tls.entrypoints),
                ]
            )
        except BaseException:
            generation.retire()
            raise
        return Successor(config, snapshot, generation, [*parts, watched])

    async def _prepare_log(self, config: GatewayConfig) -> LogChange:
        try:
            return await self.observing.prepare(config.access_log)
        except OSError as error:
            fault = cannot_open(config.access_log, error)
            raise ConfigError([fault], config.sources) from error

    async def _rest(self) -> None:
        await deferLater(self.reactor, 0)

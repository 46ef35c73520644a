"""
The gateway as a tree of services: start, ordered stop, and what it says of itself.

It lives in a reactor that is yours, beside whatever else lives there:

    from twisted.internet.task import react
    from a3s_gateway import Gateway, GatewayConfig

    async def main(reactor):
        gateway = Gateway(GatewayConfig.from_file("gateway.hcl"), reactor)
        await gateway.start()
        print(gateway.health())
        await gateway.wait_for_shutdown()  # until somebody calls gateway.shutdown()

    react(main)

What takes time returns a Deferred; under asyncio's reactor `.asFuture(loop)` makes a future of
it. A gateway is a service, too: `gateway.setServiceParent(application)` is all that it takes.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic, time
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from a3s_gateway import __version__
from a3s_gateway.admin.admin_service import AdminService
from a3s_gateway.admin.handler import api_handler
from a3s_gateway.admin.resources import Api
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.fragments import Reading
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.reading_service import read_apart
from a3s_gateway.entrypoint.entrypoints_service import BindError, Entrypoints
from a3s_gateway.entrypoint.listener import Listener
from a3s_gateway.entrypoint.tls import tls_of
from a3s_gateway.observability.facts import Certificates, Facts
from a3s_gateway.observability.metrics import Metrics
from a3s_gateway.observability.observing_service import Observing, cannot_open
from a3s_gateway.provider.file_service import FileProvider
from a3s_gateway.proxy.client import effects_on
from a3s_gateway.proxy.internal import mux_on
from a3s_gateway.proxy.names import obey
from a3s_gateway.proxy.origins import Origins
from a3s_gateway.runtime.compile import Compiler, Snapshot
from a3s_gateway.runtime.generation import Generation, StatePool
from a3s_gateway.runtime.memory import let_go, settle_memory
from a3s_gateway.runtime.mishaps_service import Mishaps
from a3s_gateway.runtime.reload import Reloads, finish, in_slices
from a3s_gateway.runtime.reload_service import Around, Reloader
from a3s_gateway.runtime.status import Health, State, Status
from a3s_gateway.runtime.succession_service import Succession
from a3s_gateway.runtime.unavailable import unavailable
from a3s_gateway.service.failures_service import Failures
from a3s_gateway.service.health_service import HealthChecks
from a3s_gateway.transport.addresses import shown
from a3s_gateway.transport.endpoints import HAS_EPOLL
from a3s_gateway.transport.names import Names

__all__ = ["BindError", "Gateway", "Health", "State", "Status", "settle_memory"]

_log = Logger()


class Gateway(MultiService):
    """
    One gateway: listeners, routes, services, as its configuration has them.

    Args:
        config: Valid, as `GatewayConfig.from_file` returns it.
        reactor: Where everything happens; Twisted's global one unless given.
        stock_transports: Use Twisted's own transports; the default where there is no epoll.

    Raises:
        ConfigError: The configuration asks for what this version cannot do yet.

    """

    def __init__(
        self, config: GatewayConfig, reactor: Any = None, *, stock_transports: bool = not HAS_EPOLL
    ) -> None:
        super().__init__()
        self.setName("a3s-gateway")
        if faults := unavailable(config, has_limits=not stock_transports):
            raise ConfigError(faults, config.sources)
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it
        self._reactor = reactor
        self._config = config
        self._stock = stock_transports
        self._status = Status(State.CREATED)
        self._started_at = 0.0
        self._failure: BaseException | None = None  # of the last start
        self._waiters: list[Deferred[None]] = []
        self._pool = StatePool()
        self._failures = Failures()
        self._mishaps = Mishaps()
        self._observing = Observing(reactor, config.access_log)
        self._health = HealthChecks(reactor)
        self._entrypoints = Entrypoints(reactor, stock_transports)
        self._names = Names(reactor)
        self._effects = effects_on(Origins.on(self._names, stock=self._stock))
        self._api = Api(self, lambda: self._effects.sleep(0), monotonic, self.reload)
        self._admin = AdminService(reactor, self._api)
        self._reloader = Reloader(self._read, self._change)
        self._files = FileProvider(reactor, self._reloader.ask)
        self._generation: Generation | None = None
        self._snapshot: Snapshot | None = None
        self._delay: Deferred[None] | None = None  # between the call to stop and the stop

    # -- what it says of itself

    version = __version__

    def config(self) -> GatewayConfig:
        """Return the configuration in force."""
        return self._config

    def state(self) -> Status:
        """Return where it is in its life, and what went wrong last."""
        status = self._status
        return Status(status.state, status.last_error or self._reloader.outcomes.last_error)

    def health(self) -> Health:
        """Return how it is doing."""
        state = self._status.state
        return Health(
            state,
            monotonic() - self._started_at if state is State.RUNNING else 0.0,
            self._entrypoints.connections,
            sum(each.requests for each in self.facts().counters()),
        )

    def facts(self) -> Facts:
        """Gather what metrics are made of; what was noted so far is counted."""
        return self._observing.facts(
            __version__, self._snapshot, self._entrypoints.connections_by_name,
            self._reloader.outcomes, self.certificates(), self._names.outcomes,
        )  # fmt: skip

    def certificates(self) -> Certificates:
        """Return what clients are shown by TLS."""
        return self._entrypoints.certificates()

    def metrics(self) -> Metrics:
        """Make a collector for a registry of prometheus_client's."""
        return Metrics(self.facts)

    def addresses(self) -> dict[str, Any]:
        """Return where each entrypoint really listens: port 0 has become a number."""
        return self._entrypoints.addresses

    def admin_address(self) -> Any:
        """Return where the admin API really listens; None if it does not."""
        return self._admin.address

    def find_snapshot(self) -> Snapshot | None:
        """Return what is compiled and in force; None before the start."""
        return self._snapshot

    def snapshot(self) -> Snapshot:
        """Return what is compiled and in force; raises `RuntimeError` before the start."""
        if self._snapshot is None:
            raise RuntimeError("the gateway has not been started")
        return self._snapshot

    def _listeners(self) -> list[Listener]:
        return self._entrypoints.listeners

    # -- start

    def start(self) -> Deferred[None]:
        """
        Compile, listen, serve; fires when every entrypoint listens.

        Fails with `BindError` when one cannot, and with another `ConfigError` when a file that
        the configuration names cannot be used; then nothing is left open. A gateway that has
        stopped may be started again.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        if self._status.state not in {State.CREATED, State.STOPPED}:
            raise RuntimeError(f"a gateway that is {self._status.state} cannot be started")
        self._status, self._failure = Status(State.STARTING), None
        try:
            await self._open()
        except BaseException as error:
            self._failure = error
            await self._entrypoints.stop_accepting()
            await self._close()
            self._is_over(Status(State.STOPPED, str(error)))
            raise
        self._started_at = monotonic()
        self._reloader.outcomes = Reloads(last_success_at=time())
        self._status = Status(State.RUNNING)
        for name, address in self.addresses().items():
            _log.info("entrypoint {name} listens on {address}", name=name, address=shown(address))

    async def _open(self) -> None:
        config = self._config
        tls = tls_of(config)
        self._observing = Observing(self._reactor, config.access_log)
        self._entrypoints = Entrypoints(self._reactor, self._stock)
        self._health = HealthChecks(self._reactor)
        self._generation = Generation(self._pool)
        obey(self._names, config.providers.dns)
        self._snapshot = self._compiler().compile(config, self._generation)
        super().startService()  # from here on a child starts as soon as it is one
        try:
            self._observing.setServiceParent(self)
        except OSError as error:
            fault = cannot_open(config.access_log, error)
            raise ConfigError([fault], config.sources) from error
        self._health.setServiceParent(self)
        finish(self._health.steps(self._snapshot.health)).commit()
        self._admin.setServiceParent(self)
        await self._admin.open(config)
        self._entrypoints.setServiceParent(self)
        await self._entrypoints.open(config, self._snapshot.resources, tls)
        for part in (self._reloader, self._files):
            part.setServiceParent(self)
        self._files.watch(config)

    def _compiler(self) -> Compiler:
        origins = Origins.on(self._names, stock=self._stock)
        return Compiler(
            origins,
            self._observing.observer_for,
            self._failures.note,
            self._mishaps.note,
            self._effects,
            time,
            self._observing.ledger,
            self._health.watch,
            api_handler(self._api, time),
            mux_on(self._reactor),
            lambda url: self._observing.exporters.exporter_for(__version__, url, origins),
        )

    # -- reload

    def reload(self, config: GatewayConfig | None = None) -> Deferred[None]:
        """
        Put another configuration in force while traffic flows; the files', unless one is given.

        Fires when it is in force, or a newer one that was asked for meanwhile. Fails with what
        is wrong with it, which is logged, and stands in `state` and the metrics; then nothing
        has changed.
        """
        return self._reloader.reload(config)

    def during_reloads(self, around: Around) -> None:
        """Have something different in the process while a reload is under way."""
        self._reloader.around = around

    async def _read(self) -> Reading:
        return await read_apart(self._reactor, self._config)

    async def _change(self, reading: Reading) -> None:
        self.facts()  # adds up what routes had counted that went with the last change
        succession = Succession(
            self._reactor, self._stock, self._pool,
            self._observing, self._health, self._admin, self._entrypoints,
        )  # fmt: skip
        successor = await succession.prepare(reading.config, self._compiler())
        # To the end of the commit nothing else happens: no request sees one and the other.
        former, self._generation = self._generation, successor.generation
        assert former is not None
        assert self._snapshot is not None  # the gateway runs
        outdated = let_go(self._config, self._snapshot)
        self._config, self._snapshot = successor.config, successor.snapshot
        obey(self._names, self._config.providers.dns)
        successor.commit()
        former.retire()
        self._files.watch(self._config, is_whole=reading.held_back is None)
        await in_slices(outdated, lambda: deferLater(self._reactor, 0), monotonic)

    # -- stop

    def shutdown(self) -> Deferred[None]:
        """
        Stop accepting, finish what runs, close; fires when all is closed.

        Accepting goes on for `shutdown_delay_secs`, and running exchanges get
        `shutdown_timeout_secs`, then they are cut off. May be called more than once, and before
        the start.
        """
        done = self.wait_for_shutdown()
        match self._status.state:
            case State.CREATED:
                self._is_over(Status(State.STOPPED))
            case State.RUNNING:
                self._status = Status(State.STOPPING)
                # A failure reaches whoever waits.
                Deferred.fromCoroutine(self._shutdown()).addErrback(lambda _: None)
            case _:
                pass
        return done

    def cut_off(self) -> None:
        """End every connection now; a shutdown that waits goes on then."""
        if self._delay is not None:
            self._delay.cancel()
        self._entrypoints.cut_off()

    def wait_for_shutdown(self) -> Deferred[None]:
        """Fire when the gateway has stopped, whoever stopped it."""
        waiter: Deferred[None] = Deferred()
        if self._status.state is State.STOPPED:
            waiter.callback(None)
        else:
            self._waiters.append(waiter)
        return waiter

    async def _shutdown(self) -> None:
        failure: Failure | None = None
        _log.info("stopping")
        try:
            for part in (self._files, self._reloader):
                await maybeDeferred(part.disownServiceParent)
            if self._config.shutdown_delay_secs:
                await self._go_on(self._config.shutdown_delay_secs)
            await self._entrypoints.stop_accepting()
            self.snapshot().go_away()
            await self._entrypoints.drain(self._config.shutdown_timeout_secs)
            self._observing.flush()
            self._names.close()
            await self._close()
            _log.info("stopped")
        except BaseException:
            failure = Failure()
            raise
        finally:
            self._is_over(Status(State.STOPPED), failure)

    async def _go_on(self, seconds: float) -> None:
        """Serve while whoever asks for readiness hears that this ends; `cut_off` cuts it short."""
        self._delay = deferLater(self._reactor, seconds)
        with suppress(CancelledError):
            await self._delay

    async def _close(self) -> None:
        """Give back all that is not a connection of a client."""
        generation, self._generation = self._generation, None
        if generation is not None:
            generation.retire()
        if self.running:
            await super().stopService()
        parts = (self._files, self._reloader, self._entrypoints, self._admin, self._health)
        for part in (*parts, self._observing):
            if part.parent is self:
                part.disownServiceParent()

    def _is_over(self, status: Status, failure: Failure | None = None) -> None:
        self._status = status
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if failure is None:
                waiter.callback(None)
            else:
                waiter.errback(failure)

    # -- Twisted's IService, for twistd and for parents

    def privilegedStartService(self) -> None:
        """
        Listen while the process may still use low ports; raises what `start` fails with.

        It does so at once: before the reactor runs, what takes time to close is never closed.
        """
        if self._status.state not in {State.CREATED, State.STOPPED}:
            return
        self.start().addErrback(self._failed_late)
        if self._failure is not None:
            raise self._failure

    def _failed_late(self, failure: Failure) -> None:
        if failure.value is not self._failure:
            _log.failure("the gateway has not started", failure)

    def startService(self) -> None:
        """Start, unless `privilegedStartService` has."""
        self.privilegedStartService()

    def stopService(self) -> Deferred[None]:
        """Do what `shutdown` does."""
        return self.shutdown()

    def reopen_access_log(self) -> None:
        """Go on in a new file, for log rotation."""
        self._observing.reopen()

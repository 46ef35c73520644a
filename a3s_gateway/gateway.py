"""The gateway as a tree of services: start, ordered stop, and what it says of itself."""

from __future__ import annotations

import gc
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from random import random
from time import monotonic, time
from typing import Any

from attrs import frozen
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.dataplane import Observer
from a3s_gateway.entrypoint.http_service import HttpEntrypoint, HttpFactory
from a3s_gateway.entrypoint.trust import trust_in
from a3s_gateway.errors import UpstreamError
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.observability.access_log import AccessLogFormat, Line
from a3s_gateway.observability.access_log_service import AccessLogService
from a3s_gateway.observability.counters import RouteCounters
from a3s_gateway.observability.observer import ExchangeObserver
from a3s_gateway.observability.output import Output
from a3s_gateway.protocol.http1.request_head import Limits
from a3s_gateway.proxy.origins import Origins
from a3s_gateway.runtime.compile import Compiler, Snapshot
from a3s_gateway.runtime.generation import Generation, StatePool
from a3s_gateway.runtime.unavailable import unavailable
from a3s_gateway.service.backend import Backend
from a3s_gateway.transport.endpoints import HAS_EPOLL, server_endpoint, unix_server_endpoint
from a3s_gateway.transport.timers import timers_for

_log = Logger()


class State(StrEnum):
    """Where the gateway is in its life."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@frozen
class Status:
    """What `Gateway.state` tells; `last_error` is why the last start failed, if it did."""

    state: State
    last_error: str = ""


@frozen
class Health:
    """A glance at a running gateway; `uptime_secs` counts from the end of the start."""

    state: State
    uptime_secs: float
    active_connections: int
    total_requests: int


class BindError(Exception):
    """An entrypoint's address cannot be listened on; the message shows its place."""


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
        if faults := unavailable(config):
            raise ConfigError(faults, config.sources)
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._config = config
        self._stock = stock_transports
        self._status = Status(State.CREATED)
        self._started_at = monotonic()
        self._stopping: Deferred[None] | None = None
        self._shutdown_waiters: list[Deferred[None]] = []
        self._observers: dict[str, ExchangeObserver] = {}
        self._snapshot: Snapshot | None = None
        self._generation = Generation(StatePool())
        self._entrypoints = MultiService()
        self._entrypoints.setName("entrypoints")
        self._access_log = self._make_access_log()

    # -- what it says of itself

    def config(self) -> GatewayConfig:
        """Return the configuration in force."""
        return self._config

    def state(self) -> Status:
        """Return where it is in its life."""
        return self._status

    def health(self) -> Health:
        """Return how it is doing."""
        status = self._status
        routes = self._snapshot.routes.values() if self._snapshot else ()
        for observer in self._observers.values():
            observer.flush()
        counted = [route.counters.requests for route in routes]
        unrouted = [observer.unrouted.requests for observer in self._observers.values()]
        return Health(
            status.state,
            monotonic() - self._started_at if status.state is State.RUNNING else 0.0,
            sum(len(each.factory.connections) for each in self._listeners()),
            sum(counted) + sum(unrouted),
        )

    def addresses(self) -> dict[str, Any]:
        """Return where each entrypoint really listens: port 0 has become a number."""
        return {each.factory.name: each.port.getHost() for each in self._listeners() if each.port}

    def snapshot(self) -> Snapshot:
        """Return what is compiled and in force; raises `RuntimeError` before the start."""
        if self._snapshot is None:
            raise RuntimeError("the gateway has not been started")
        return self._snapshot

    def _listeners(self) -> list[HttpEntrypoint]:
        return list(self._entrypoints)

    # -- start

    def start(self) -> Deferred[None]:
        """
        Compile, listen, serve; fires when every entrypoint listens.

        Fails with `BindError` when one cannot, and with `ConfigError` or `ValueError` when
        something that the configuration names cannot be used; then nothing is left open.
        """
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        if self._status.state is not State.CREATED:
            raise RuntimeError(f"a gateway that is {self._status.state} cannot be started")
        self._status = Status(State.STARTING)
        try:
            await self._open()
        except BaseException as error:
            self._status = Status(State.STOPPED, str(error))
            await self._close_listeners()
            await super().stopService()
            raise
        self._started_at = monotonic()
        self._status = Status(State.RUNNING)
        for name, address in self.addresses().items():
            _log.info("entrypoint {name} listens on {address}", name=name, address=_show(address))

    async def _open(self) -> None:
        if self._access_log is not None:
            self._access_log.setServiceParent(self)
        self._entrypoints.setServiceParent(self)
        compiler = Compiler(
            Origins.on(self._reactor, stock=self._stock), self._observer_for, _report, time
        )
        self._snapshot = compiler.compile(self._config, self._generation)
        for entrypoint in self._config.entrypoints.values():
            listener = self._make_listener(entrypoint, self._snapshot)
            try:
                await listener.bind()
            except CannotListenError as error:
                raise BindError(_cannot_listen(self._config, entrypoint, error)) from error
        super().startService()

    def _make_listener(self, entrypoint: EntrypointConfig, snapshot: Snapshot) -> HttpEntrypoint:
        limits = entrypoint.limits
        factory = HttpFactory(
            entrypoint.name,
            "http" if entrypoint.tls is None else "https",
            snapshot.resources[entrypoint.name],
            timers_for(self._reactor),
            Limits(
                limits.max_head_bytes,
                limits.max_header_lines,
                limits.max_target_bytes,
                limits.max_trailer_bytes,
                limits.max_pipelined_bytes,
            ),
            entrypoint.timeouts,
            trust_in(entrypoint.trusted_proxies),
        )
        listener = HttpEntrypoint(self._endpoint(entrypoint), factory)
        listener.setName(entrypoint.name)
        listener.setServiceParent(self._entrypoints)
        return listener

    def _endpoint(self, entrypoint: EntrypointConfig) -> IStreamServerEndpoint:
        address, limit = entrypoint.address, entrypoint.max_connections
        if address.kind == "unix":
            return unix_server_endpoint(
                self._reactor, address.path, max_connections=limit, stock=self._stock
            )
        return server_endpoint(
            self._reactor, address.host, address.port, max_connections=limit, stock=self._stock
        )

    def _make_access_log(self) -> AccessLogService | None:
        config = self._config.access_log
        if not config.enabled:
            return None
        in_thread = partial(deferToThreadPool, self._reactor, self._reactor.getThreadPool())
        return AccessLogService(Output(config.path), self._reactor, in_thread)

    def _observer_for(self, name: str) -> Observer:
        known = self._observers.get(name)
        if known is not None:
            return known
        line: Line | None = None
        write: Callable[[str], None] = _nowhere
        if self._access_log is not None:
            config = self._config.access_log
            line = AccessLogFormat(config.format, config.fields, config.sample).compile(random)
            write = self._access_log.write
        observer = ExchangeObserver(RouteCounters(), line, write, monotonic, time)
        observer.alarm = timers_for(self._reactor).timer(observer.flush)
        self._observers[name] = observer
        return observer

    # -- stop

    def shutdown(self) -> Deferred[None]:
        """
        Stop accepting, finish what runs, close; fires when all is closed.

        Running exchanges get `shutdown_timeout_secs`, then they are cut off. May be called
        more than once.
        """
        done: Deferred[None] = Deferred()
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(self._shutdown())
        self._stopping.addCallback(_pass_on, done)
        return done

    def wait_for_shutdown(self) -> Deferred[None]:
        """Fire when the gateway has stopped, whoever stopped it."""
        waiter: Deferred[None] = Deferred()
        if self._status.state is State.STOPPED:
            waiter.callback(None)
        else:
            self._shutdown_waiters.append(waiter)
        return waiter

    async def _shutdown(self) -> None:
        if self._status.state is State.RUNNING:
            self._status = Status(State.STOPPING)
            _log.info("stopping")
            await self._close_listeners()
            await self._drain()
            self._generation.retire()
            for observer in self._observers.values():
                observer.flush()
            await super().stopService()
            _log.info("stopped")
        self._status = Status(State.STOPPED, self._status.last_error)
        waiters, self._shutdown_waiters = self._shutdown_waiters, []
        for waiter in waiters:
            waiter.callback(None)

    async def _close_listeners(self) -> None:
        for listener in self._listeners():
            await listener.stop_accepting()

    async def _drain(self) -> None:
        """Let running exchanges finish; cut off those that do not in time."""
        factories = [listener.factory for listener in self._listeners()]
        drained = DeferredList([factory.drain() for factory in factories])
        if not drained.called:
            seconds = self._config.shutdown_timeout_secs
            cut_off = self._reactor.callLater(seconds, _cut_off, factories)
            await drained
            if cut_off.active():
                cut_off.cancel()

    # -- Twisted's IService, for twistd and for parents

    def privilegedStartService(self) -> None:
        """Listen while the process may still use low ports; raises what `start` fails with."""
        failures: list[Any] = []
        self.start().addErrback(failures.append)
        if failures:
            failures[0].raiseException()

    def startService(self) -> None:
        """Start, unless `privilegedStartService` has."""
        if self._status.state is State.CREATED:
            self.privilegedStartService()

    def stopService(self) -> Deferred[None]:
        """Do what `shutdown` does."""
        return self.shutdown()

    def reopen_access_log(self) -> None:
        """Go on in a new file, for log rotation."""
        if self._access_log is not None:
            self._access_log.reopen()


def settle_memory() -> None:
    """
    Tell the garbage collector that what is there now stays; for whoever owns the process.

    Requests make no cycles worth looking for often, and each full pass costs as many
    milliseconds as the configuration has objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _report(backend: Backend, error: UpstreamError) -> None:
    backend.failures += 1
    _log.debug("backend {url} failed: {error}", url=backend.url, error=str(error))


def _cut_off(factories: list[HttpFactory]) -> None:
    open_ones = sum(len(factory.connections) for factory in factories)
    _log.warn("{count} connections did not finish in time and were cut off", count=open_ones)
    for factory in factories:
        factory.abort()


def _cannot_listen(
    config: GatewayConfig, entrypoint: EntrypointConfig, error: CannotListenError
) -> str:
    reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
    message = f'entrypoint "{entrypoint.name}" cannot listen on {entrypoint.address}: {reason}'
    fault = Diagnostic(entrypoint.span_of("address"), message, "choose another address")
    return ConfigError([fault], config.sources).render()


def _show(address: Any) -> str:
    if hasattr(address, "port"):
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"{host}:{address.port}"
    return f"unix:{address.name}"


def _pass_on(result: None, done: Deferred[None]) -> None:
    done.callback(result)


def _nowhere(_line: str) -> None:
    """Take a line where there is no access log."""

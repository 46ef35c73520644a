"""All listeners of a configuration: opened together or not at all, and drained together."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger

from a3s_gateway.config.address import Address
from a3s_gateway.config.entrypoint import EntrypointConfig, LimitsConfig
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.dataplane import EntrypointResource
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.protocol.http1.request_head import Limits
from a3s_gateway.transport.endpoints import server_endpoint, unix_server_endpoint
from a3s_gateway.transport.timers import timers_for

from .http_service import HttpEntrypoint, HttpFactory
from .tls import context_of
from .trust import trust_in

_log = Logger()

_REMEDIES = {
    errno.EADDRINUSE: "something listens there already: stop it, or choose another address",
    errno.EACCES: "ports below 1024 are for root and for the capability CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
}


class BindError(ConfigError):
    """Addresses of entrypoints cannot be listened on."""


@define(eq=False, slots=False)
class Entrypoints(MultiService):
    """
    The listeners.

    Args:
        reactor: Where everything happens.
        stock: Use Twisted's own transports.

    """

    reactor: Any
    stock: bool
    listeners: list[HttpEntrypoint] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        super().__init__()
        self.setName("entrypoints")

    async def open(
        self, config: GatewayConfig, resources: Mapping[str, EntrypointResource]
    ) -> None:
        """
        Listen everywhere.

        Args:
            config: Where, and with what limits.
            resources: What answers, by the entrypoint's name.

        Raises:
            BindError: With the place of every address that cannot be had; the others are
                still open, for the caller to close.

        """
        faults = []
        for entrypoint in config.entrypoints.values():
            try:
                await self._listen(entrypoint, resources[entrypoint.name])
            except (CannotListenError, socket.gaierror) as error:
                faults.append(_cannot_listen(entrypoint, error))
        if faults:
            raise BindError(faults, config.sources)

    async def _listen(self, entrypoint: EntrypointConfig, resource: EntrypointResource) -> None:
        factory = HttpFactory(
            entrypoint.name,
            "http" if entrypoint.tls is None else "https",
            resource,
            timers_for(self.reactor),
            _limits(entrypoint.limits),
            entrypoint.timeouts,
            trust_in(entrypoint.trusted_proxies),
        )
        listener = HttpEntrypoint(self._endpoint(entrypoint), factory)
        await listener.bind()
        listener.setName(entrypoint.name)
        listener.setServiceParent(self)
        self.listeners.append(listener)

    def _endpoint(self, entrypoint: EntrypointConfig) -> IStreamServerEndpoint:
        address, limit = entrypoint.address, entrypoint.max_connections
        if address.kind == "unix":
            return unix_server_endpoint(
                self.reactor, address.path, max_connections=limit, stock=self.stock
            )
        return server_endpoint(
            self.reactor,
            _literal(address),
            address.port,
            tls=context_of(entrypoint.tls) if entrypoint.tls is not None else None,
            handshake_timeout=entrypoint.timeouts.tls_handshake,
            max_connections=limit,
            stock=self.stock,
        )

    @property
    def addresses(self) -> dict[str, Any]:
        """Where each entrypoint really listens: port 0 has become a number."""
        return {
            each.factory.name: each.port.getHost()
            for each in self.listeners
            if each.port is not None
        }

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return sum(self.connections_by_name.values())

    @property
    def connections_by_name(self) -> dict[str, int]:
        """How many clients are connected to each entrypoint."""
        return {each.factory.name: len(each.factory.connections) for each in self.listeners}

    async def stop_accepting(self) -> None:
        """Close the sockets; the connections go on."""
        for listener in self.listeners:
            await listener.stop_accepting()

    async def drain(self, seconds: float) -> None:
        """Let running exchanges finish; cut off those that have not after `seconds`."""
        drained: Deferred[Any] = DeferredList([each.factory.drain() for each in self.listeners])
        if drained.called:
            return
        late = self.reactor.callLater(seconds, self._give_up)
        await drained
        if late.active():
            late.cancel()

    def cut_off(self) -> None:
        """End every connection now."""
        for listener in self.listeners:
            listener.factory.abort()

    def _give_up(self) -> None:
        count = self.connections
        _log.warn("{count} connections did not finish in time and were cut off", count=count)
        self.cut_off()


def _limits(config: LimitsConfig) -> Limits:
    return Limits(
        config.max_head_bytes,
        config.max_header_lines,
        config.max_target_bytes,
        config.max_trailer_bytes,
        config.max_pipelined_bytes,
    )


def _literal(address: Address) -> str:
    """Look a name up, such as `localhost`; of several addresses one of IPv4 is taken."""
    if not address.host:
        return ""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return str(found[0][4][0])


def _cannot_listen(entrypoint: EntrypointConfig, error: Exception) -> Diagnostic:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    reason = getattr(cause, "strerror", None) or str(cause)
    message = f'entrypoint "{entrypoint.name}" cannot listen on {entrypoint.address}: {reason}'
    remedy = _REMEDIES.get(getattr(cause, "errno", None) or 0, "choose another address")
    return Diagnostic(entrypoint.span_of("address"), message, remedy)

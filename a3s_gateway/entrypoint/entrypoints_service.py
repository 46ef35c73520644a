"""All listeners of a configuration: opened together or not at all, and drained together."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from a3s_gateway.config.address import Address
from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.hcl.diagnostics import Diagnostic, Span
from a3s_gateway.observability.facts import Certificates
from a3s_gateway.runtime.diff import diff_listeners
from a3s_gateway.transport.inherited import NotPassedError
from a3s_gateway.transport.tls_server import ServerTls

from .certificates_service import CertificateWatch, Served
from .changeover import Changeover
from .listener import Clients, Listener
from .making import listener_for
from .stream_service import StreamEntrypoint
from .tls import alpn_of

_log = Logger()

CANNOT_LISTEN = (CannotListenError, socket.gaierror)  # why an address cannot be had
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
    listeners: list[Listener] = field(factory=list, init=False)
    leaving: list[Clients] = field(factory=list, init=False)  # listened on no more
    watch: CertificateWatch = field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__init__()
        self.setName("entrypoints")
        self.watch = CertificateWatch(self.reactor, self.served)
        self.watch.setServiceParent(self)

    async def open(
        self,
        config: GatewayConfig,
        resources: Mapping[str, object],
        tls: Mapping[str, ServerTls],
    ) -> None:
        """
        Listen everywhere.

        Args:
            config: Where, and with what limits.
            resources: What answers, by the entrypoint's name.
            tls: How clients are met where there is TLS, by the entrypoint's name.

        Raises:
            BindError: With the place of every address that cannot be had; nothing is open.

        """
        (await self.prepare(config, resources, tls)).commit()

    async def prepare(
        self,
        config: GatewayConfig,
        resources: Mapping[str, object],
        tls: Mapping[str, ServerTls],
    ) -> Changeover:
        """
        Listen where nobody does yet, and work out the rest of the way to `config`.

        No other turn of the reactor comes between this and its end, so that nothing is
        accepted before the commit.

        Raises:
            BindError: With the place of every address that cannot be had; nothing has changed.

        """
        before = {each.config.name: each for each in self.listeners}
        diff = diff_listeners(
            {name: each.config for name, each in before.items()}, config.entrypoints
        )
        made = {
            name: listener_for(
                self.reactor, entrypoint, resources[name], tls=tls.get(name), stock=self.stock
            )
            for name, entrypoint in config.entrypoints.items()
        }
        change = Changeover(
            self,
            {name: (before[diff.kept[name]] if name in diff.kept else each, each)
             for name, each in made.items()},
            [before[name] for name in diff.closed],
            config.shutdown_timeout_secs,
        )  # fmt: skip
        faults = []
        for name in diff.opened:
            try:
                await made[name].bind()
            except CANNOT_LISTEN as error:
                faults.append(self._cannot_listen(config.entrypoints[name], error))
        if faults:
            change.undo()
            raise BindError(faults, config.sources)
        return change

    @property
    def addresses(self) -> dict[str, Any]:
        """Where each entrypoint really listens: port 0 has become a number."""
        return {
            each.factory.name: each.port.getHost()
            for each in self.listeners
            if each.port is not None
        }

    def served(self) -> list[Served]:
        """Return all that clients are met with by TLS."""
        streams = [each for each in self.listeners if isinstance(each, StreamEntrypoint)]
        return [
            Served(each.config.name, each.config.tls, alpn_of(each.config), each.tls)
            for each in streams
            if each.config.tls is not None and each.tls is not None
        ]

    def certificates(self) -> Certificates:
        """Return what clients are shown."""
        shown = {each.entrypoint: each.tls.certificates.identities for each in self.served()}
        return Certificates(
            by_entrypoint=shown, renewed=self.watch.renewed, failed=self.watch.failed
        )

    @property
    def connections(self) -> int:
        """How many clients are connected, to entrypoints that are listened on no more too."""
        return sum(len(each.connections) for each in self._factories())

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
        drained: Deferred[Any] = DeferredList([each.drain() for each in self._factories()])
        if drained.called:
            return
        late = self.reactor.callLater(seconds, self._give_up)
        await drained
        if late.active():
            late.cancel()

    def cut_off(self) -> None:
        """End every connection now."""
        for factory in self._factories():
            factory.abort()

    def let_go(self, factory: Clients, seconds: float) -> None:
        """Drain a factory whose connections are of the past; cut them off after `seconds`."""
        self.leaving.append(factory)
        late = self.reactor.callLater(seconds, factory.abort)

        def drained(_: None) -> None:
            self.leaving.remove(factory)
            if late.active():
                late.cancel()

        factory.drain().addCallback(drained)

    def _factories(self) -> list[Clients]:
        return [*(each.factory for each in self.listeners), *self.leaving]

    def _cannot_listen(self, entrypoint: EntrypointConfig, error: Exception) -> Diagnostic:
        address, span = entrypoint.address, entrypoint.span_of("address")
        fault = cannot_listen(f'entrypoint "{entrypoint.name}"', address, span, error)
        ours = [getattr(each, "port", None) for each in self.addresses.values()]
        if address.kind == "tcp" and address.port in ours:
            hint = "the gateway itself listens there, until it is restarted, by another name for it"
            return evolve(fault, hint=hint)
        return fault

    def _give_up(self) -> None:
        count = self.connections
        _log.warn("{count} connections did not finish in time and were cut off", count=count)
        self.cut_off()


def cannot_listen(owner: str, address: Address, span: Span, error: Exception) -> Diagnostic:
    """Say why an address cannot be had; `owner` is who was to listen there."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    reason = getattr(cause, "strerror", None) or str(cause)
    message = f"{owner} cannot listen on {address}: {reason}"
    if isinstance(error, NotPassedError):
        return Diagnostic(span, message, error.remedy)
    remedy = _REMEDIES.get(getattr(cause, "errno", None) or 0, "choose another address")
    return Diagnostic(span, message, remedy)

"""A listener for datagrams as a Twisted service."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.application.service import Service

from a3s_gateway.transport.datagram import DatagramPort, open_datagram, port_for
from a3s_gateway.transport.watch import Watch

from .stream_service import literal_host
from .udp_clients import UdpClients

if TYPE_CHECKING:
    from a3s_gateway.config.entrypoint import EntrypointConfig

    from .listener import Clients


@define(eq=False, slots=False)
class UdpEntrypoint(Service):
    """
    Listens on one address.

    Attributes:
        watch: Says when there is something to receive.
        config: Its configuration.
        factory: Its clients.

    """

    watch: Watch
    config: EntrypointConfig
    factory: UdpClients
    port: DatagramPort | None = field(default=None, init=False)

    async def bind(self) -> None:
        """Open the socket; raises `CannotListenError` when it cannot be had."""
        address = self.config.address
        sock = open_datagram(literal_host(address), address.port)
        self.port = port_for(self.watch, sock, self.factory.received)
        self.factory.serve(self.port)

    async def stop_accepting(self) -> None:
        """Receive nothing more; sessions go on for a moment, to be answered."""
        if self.port is not None:
            self.port = None
            self.factory.stop_receiving()

    def become(self, wanted: UdpEntrypoint, let_go: Callable[[Clients], Any]) -> None:  # noqa: ARG002
        """Serve as is wanted now; no session is let go but those that cannot stay."""
        self.config = wanted.config
        self.factory.become(wanted.factory)

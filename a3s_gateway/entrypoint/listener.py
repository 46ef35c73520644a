"""What an entrypoint's listener is, whatever is spoken there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from a3s_gateway.config.entrypoint import EntrypointConfig


class Clients(Interface):
    """The clients of one listener: connections, or what stands for one where there are none."""

    @property
    def name(self) -> str:
        """The entrypoint's."""

    @property
    def connections(self) -> Collection[Any]:
        """One for each client."""

    def drain(self) -> Deferred[None]:
        """Let go of who is idle, let the rest finish; fires when no client is left."""

    def abort(self) -> None:
        """End every client's connection now."""


class Listener(Interface):
    """
    An entrypoint that is, or is to be, listened on: a Twisted service.

    `stream_service.StreamEntrypoint` is one for everything that is spoken over connections.
    """

    @property
    def config(self) -> EntrypointConfig:
        """Its configuration, in force."""

    @property
    def factory(self) -> Clients:
        """Its clients; others once `become` has made it speak otherwise."""

    @property
    def port(self) -> Any:
        """What listens; None while nothing does. `getHost` says where."""

    async def bind(self) -> None:
        """Open the socket; raises `CannotListenError` when it cannot be had."""

    async def stop_accepting(self) -> None:
        """Close the socket to newcomers; clients go on until they are drained."""

    def become(self, wanted: Any, let_go: Callable[[Clients], None]) -> None:
        """
        Take over all that `wanted`, which was not bound, was made with; cannot fail.

        Args:
            wanted: A listener of the same kind and place.
            let_go: Given clients that cannot go on as is wanted now: they are drained.

        """

    def setServiceParent(self, parent: Any) -> None:
        """Become a part of a service."""

    def disownServiceParent(self) -> Any:
        """Be a part of it no longer."""

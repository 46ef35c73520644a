"""The entrypoints on their way from one configuration to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from a3s_gateway.runtime.diff import judges_otherwise, speaks_otherwise
from a3s_gateway.transport.endpoints import retune

from .http_service import HttpEntrypoint

if TYPE_CHECKING:
    from .entrypoints_service import Entrypoints

_log = Logger()


@frozen(eq=False)
class Changeover:
    """
    A `Prepared` change of listeners; until `commit` those in force know nothing of it.

    Attributes:
        entrypoints: What changes.
        listeners: By name, each with what it is to become; a new one, which is bound already,
            with itself.
        closed: Those that go.
        drain_within: Seconds that connections get whose listener, or language, goes.

    """

    entrypoints: Entrypoints
    listeners: Mapping[str, tuple[HttpEntrypoint, HttpEntrypoint]]
    closed: Sequence[HttpEntrypoint]
    drain_within: float

    def commit(self) -> None:
        """Put the new terms in force, adopt new listeners, close those that go."""
        for listener, wanted in self.listeners.values():
            if listener is wanted:
                listener.setServiceParent(self.entrypoints)
            else:
                self._become(listener, wanted)
        self.entrypoints.listeners = [listener for listener, _ in self.listeners.values()]
        for listener in self.closed:
            self.entrypoints.let_go(listener.factory, self.drain_within)
            _close(listener)
            listener.disownServiceParent()

    def undo(self) -> None:
        """Close what was opened."""
        for listener, wanted in self.listeners.values():
            if listener is wanted:
                _close(listener)

    def _become(self, listener: HttpEntrypoint, wanted: HttpEntrypoint) -> None:
        before, config = listener.config, wanted.config
        factory = listener.factory
        factory.become(wanted.factory, forget=judges_otherwise(before, config))
        if speaks_otherwise(before, config):
            # Who speaks as before is heard out; who comes from now on is met as is wanted now.
            factory.scheme = "http" if before.tls is None else "https"
            self.entrypoints.let_go(factory, self.drain_within)
            listener.factory = wanted.factory
        listener.config, listener.tls = config, wanted.tls
        assert listener.port is not None  # it is in force
        retune(
            self.entrypoints.reactor,
            listener.port,
            listener.factory,
            tls=wanted.tls,
            handshake_timeout=config.timeouts.tls_handshake,
            max_connections=config.max_connections,
        )


def _close(listener: HttpEntrypoint) -> None:
    closing = Deferred.fromCoroutine(listener.stop_accepting())
    closing.addErrback(lambda failure: _log.failure("a listener was not closed", failure))

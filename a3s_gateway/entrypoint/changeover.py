"""The entrypoints on their way from one configuration to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

if TYPE_CHECKING:
    from .entrypoints_service import Entrypoints
    from .listener import Clients, Listener

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
    listeners: Mapping[str, tuple[Listener, Listener]]
    closed: Sequence[Listener]
    drain_within: float

    def commit(self) -> None:
        """Put the new terms in force, adopt new listeners, close those that go."""
        for listener, wanted in self.listeners.values():
            if listener is wanted:
                listener.setServiceParent(self.entrypoints)
            else:
                listener.become(wanted, self._let_go)
        self.entrypoints.listeners = [listener for listener, _ in self.listeners.values()]
        for listener in self.closed:
            self._let_go(listener.factory)
            _close(listener)
            listener.disownServiceParent()

    def _let_go(self, clients: Clients) -> None:
        self.entrypoints.let_go(clients, self.drain_within)

    def undo(self) -> None:
        """Close what was opened."""
        for listener, wanted in self.listeners.values():
            if listener is wanted:
                _close(listener)


def _close(listener: Listener) -> None:
    closing = Deferred.fromCoroutine(listener.stop_accepting())
    closing.addErrback(lambda failure: _log.failure("a listener was not closed", failure))

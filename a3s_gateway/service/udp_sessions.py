"""Which session a datagram belongs to: one per client, ended by silence or by those that follow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from attrs import define, field

GRAIN: Final = 1 / 64  # share of `idle` that is not told apart: most datagrams then move nothing


class Session(Protocol):
    """What the table needs of one; `seen_at` is the table's to write."""

    @property
    def client(self) -> Hashable:
        """Who it serves; the key of the table."""

    seen_at: float  # when a datagram went, either way; since then at most a grain has passed


S = TypeVar("S", bound=Session)


@define(eq=False)
class SessionTable(Generic[S]):
    """
    The sessions of one listener, the one that was silent for longest first.

    UDP has no end: a session is over when it was silent for `idle`, or when it is the most
    silent one of `limit` and another client comes. Datagrams of the client and of the backend
    count alike. Time is monotonic seconds, and never goes back between two calls.

    Attributes:
        idle: Seconds; it may become `GRAIN` of that more.
        limit: How many there may be.

    """

    idle: float
    limit: int
    _sessions: OrderedDict[Hashable, S] = field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[S]:
        return iter(tuple(self._sessions.values()))

    def find(self, client: Hashable, now: float) -> S | None:
        """Return the client's session, which is not silent at this moment."""
        session = self._sessions.get(client)
        if session is not None and now - session.seen_at > self.idle * GRAIN:
            session.seen_at = now
            self._sessions.move_to_end(client)
        return session

    def touch(self, session: S, now: float) -> None:
        """Take note of a datagram to its client; it must be in the table."""
        if now - session.seen_at > self.idle * GRAIN:
            session.seen_at = now
            self._sessions.move_to_end(session.client)

    def add(self, session: S, now: float) -> None:
        """Add one of a client that has none; see `crowded`."""
        session.seen_at = now
        self._sessions[session.client] = session

    def crowded(self) -> Iterator[S]:
        """Take out those that must go before there is room for one more, the most silent first."""
        while len(self._sessions) >= self.limit:
            yield self._sessions.popitem(last=False)[1]

    def silent(self, now: float) -> Iterator[S]:
        """Take out those that have been silent for too long, the most silent first."""
        while (until := self.next_silence()) is not None and until <= now:
            yield self._sessions.popitem(last=False)[1]

    def remove(self, session: S) -> None:
        """Take one out, if it is there: its client may have another by now."""
        if self._sessions.get(session.client) is session:
            del self._sessions[session.client]

    def next_silence(self) -> float | None:
        """When `silent` may next find one, unless its client or backend speaks; None: never."""
        for first in self._sessions.values():
            return first.seen_at + self.idle * (1 + GRAIN)
        return None

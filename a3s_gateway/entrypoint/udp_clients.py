"""The clients of a UDP entrypoint: from a datagram to its session, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from time import monotonic
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred

from a3s_gateway.datagrams import UdpResource
from a3s_gateway.protocol.forwarded import plain_address
from a3s_gateway.service.udp_sessions import SessionTable
from a3s_gateway.transport.datagram import DatagramPort, Raw
from a3s_gateway.transport.timers import Timer, Timers

from .udp_session import UdpSession, why_lost

AT_A_TIME: Final = 256  # sessions ended in one turn: to close ten thousand sockets takes a while
PAUSE: Final = 0.05  # seconds between two such turns
ANSWER_WITHIN: Final = 2.0  # seconds that a drain gives a server; a client asks again after less


@define(eq=False, slots=False)
class UdpClients:
    """
    Has the sessions of one entrypoint.

    Attributes:
        name: The entrypoint's.
        resource: What sessions begin with from now on.
        sessions: One for each client.
        is_allowed: Who may begin one.
        timers: Of the reactor.

    """

    name: str
    resource: UdpResource
    sessions: SessionTable[UdpSession]
    is_allowed: Callable[[str], bool]
    timers: Timers
    now: Callable[[], float] = monotonic
    is_draining: bool = field(default=False, init=False)
    _port: DatagramPort | None = field(default=None, init=False)
    _doomed: list[UdpSession] = field(factory=list, init=False)
    _drained: list[Deferred[None]] = field(factory=list, init=False)
    _sweep: Timer = field(init=False)
    _limit: Timer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sweep = self.timers.timer(self._end_some)
        self._limit = self.timers.timer(self.abort)

    @property
    def connections(self) -> Sequence[UdpSession]:
        """The sessions, those that were silent for longest first."""
        return tuple(self.sessions)

    def serve(self, port: DatagramPort) -> None:
        """Use this port, which is closed with the last session of a drain."""
        self._port = port
        port.start()

    # -- datagrams

    def received(self, data: bytes, client: Raw) -> None:
        """Take a datagram of a client's."""
        counters = self.resource.counters
        counters.datagrams_in += 1
        counters.bytes_in += len(data)
        now = self.now()
        session = self.sessions.find(client, now)
        if session is not None:
            session.forward(data)
        else:
            self._begin(data, client, now)

    def reply(self, session: UdpSession, data: bytes) -> None:
        """Send to a client; who does not take it, or cannot, loses it."""
        assert self._port is not None  # it is open while there are sessions
        self.sessions.touch(session, self.now())
        try:
            self._port.send(data, session.client)
        except OSError as error:
            self.drop(why_lost(error) or "unreachable")
        else:
            counters = self.resource.counters
            counters.datagrams_out += 1
            counters.bytes_out += len(data)
        if self.is_draining:
            session.end()

    def drop(self, reason: str) -> None:
        """Count a datagram that goes no further."""
        self.resource.counters.dropped[reason] += 1

    # -- sessions

    def _begin(self, data: bytes, client: Raw, now: float) -> None:
        assert self._port is not None
        address = plain_address(self._port.source_of(client)[0])
        if not self.is_allowed(address):
            self.drop("denied")
            return
        begun = self.resource.begin(address, now)
        if begun is None:
            self.drop("no_route")
            return
        # However fast clients change, those who are silent go faster than others come.
        for silent in islice(self.sessions.silent(now), 2):
            silent.end()
        for silent in self.sessions.crowded():
            silent.end("SESSION_EVICTED")
        session = UdpSession(self, client, *begun)
        self.sessions.add(session, now)
        if not self._sweep.active:
            self._sweep.set(self.sessions.idle)
        session.forward(data)
        session.start()

    def has_ended(self, session: UdpSession) -> None:
        """Forget a session."""
        self.sessions.remove(session)
        if self.is_draining:
            self._look_if_drained()

    def _end_some(self) -> None:
        """End those that were silent for too long, and those that have to go, some at a time."""
        now = self.now()
        for session in islice(self.sessions.silent(now), AT_A_TIME):
            session.end()
        doomed, self._doomed = self._doomed[:AT_A_TIME], self._doomed[AT_A_TIME:]
        for session in doomed:
            session.end()
        until = self.sessions.next_silence()
        if until is not None:
            self._sweep.set(PAUSE if self._doomed else max(PAUSE, until - now))

    # -- changes

    def become(self, other: UdpClients) -> None:
        """
        Serve as another does, who has no sessions; those that are here live on.

        But not one whose server is gone, or whose client may come no more.
        """
        self.name, self.resource, self.is_allowed = other.name, other.resource, other.is_allowed
        self.sessions.idle, self.sessions.limit = other.sessions.idle, other.sessions.limit
        self._doomed = [each for each in self.sessions if not self._may_stay(each)]
        self._sweep.set(PAUSE)

    def _may_stay(self, session: UdpSession) -> bool:
        backend = session.backend
        is_served = backend is None or backend in self.resource.backends
        return is_served and self.is_allowed(session.exchange.peer)

    def stop_receiving(self) -> None:
        """Hear clients no more; close the port unless it is needed for answers."""
        if self._port is not None:
            self._port.stop()
            if not len(self.sessions):
                self._close()

    def drain(self) -> Deferred[None]:
        """End who is owed nothing; fires when the others are answered, or soon."""
        self.is_draining = True
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        self._limit.set(ANSWER_WITHIN)
        for session in tuple(self.sessions):
            if not session.is_owed:
                session.end()
        self._look_if_drained()
        return drained

    def _look_if_drained(self) -> None:
        if len(self.sessions):
            return
        self._limit.cancel()
        self._close()
        waiting, self._drained = self._drained, []
        for drained in waiting:
            drained.callback(None)

    def abort(self) -> None:
        """End every session now."""
        for session in tuple(self.sessions):
            session.end("SHUTTING_DOWN")

    def _close(self) -> None:
        self._sweep.cancel()
        if self._port is not None:
            self._port.close()
            self._port = None

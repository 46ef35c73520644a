"""One client's talk with one server, over datagrams."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, Protocol

from a3s_gateway.datagrams import UdpUpstream
from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.http import Exchange
from a3s_gateway.service.backend import Backend, Lease
from a3s_gateway.task import Task
from a3s_gateway.transport.datagram import CONGESTED, DatagramLink, Raw, Talker

KEPT: Final = 16  # datagrams: those of a client that asks, and asks again, until it is answered
KEPT_BYTES: Final = 4096  # of them; a question is short, and a session must be cheap


class Listener(Protocol):
    """Whose session it is."""

    def reply(self, session: UdpSession, data: bytes) -> None:
        """Send to the client."""

    def drop(self, reason: str) -> None:
        """Count a datagram that goes no further."""

    def has_ended(self, session: UdpSession) -> None:
        """Forget a session."""

    @property
    def now(self) -> Callable[[], float]:
        """Monotonic time in seconds."""


class UdpSession:
    """
    Between the first datagram of a client and silence.

    The server is chosen once, so that all of a session goes to one. Until it has answered, what
    was sent is kept: if nobody is there, and the machine says so, another server gets it.

    Attributes:
        client: Who it is for, as the port tells its peers apart.
        seen_at: When a datagram last went, either way.
        exchange: What is told of it.
        backend: The server; None until it is chosen.
        is_owed: Whether the last datagram was the client's.

    """

    __slots__ = (
        "__weakref__",
        "_kept", "_lease", "_link", "_listener", "_room", "_task", "_tried", "_upstream",
        "backend", "client", "exchange", "is_owed", "seen_at",
    )  # fmt: skip

    def __init__(
        self, listener: Listener, client: Raw, exchange: Exchange, upstream: UdpUpstream
    ) -> None:
        self._listener = listener
        self._upstream = upstream
        self.client = client
        self.exchange = exchange
        self.seen_at = 0.0
        self.backend: Backend | None = None
        self.is_owed = True
        self._lease: Lease | None = None
        self._link: DatagramLink | None = None
        self._tried: tuple[Backend, ...] = ()
        self._kept: list[bytes] | None = []
        self._room = KEPT_BYTES
        self._task: Task[None] | None = None

    def start(self) -> None:
        """Choose a server; it may be known at once, and there may be none."""
        self._task = Task(self._choose(), lambda _: None, self._failed)
        self._task.start()

    # -- to the server

    def forward(self, data: bytes) -> None:
        """Take a datagram of the client's."""
        self.exchange.bytes_in += len(data)
        self.is_owed = True
        if self._kept is not None:
            self._keep(data)
        link = self._link
        if link is not None:
            try:
                link.send(data)
            except OSError as error:
                self._unsent(error)

    def _keep(self, data: bytes) -> None:
        """Keep what is not answered yet; one too many waits for nothing, or ends the keeping."""
        assert self._kept is not None
        self._room -= len(data)
        if len(self._kept) < KEPT and (self._room >= 0 or not self._kept):
            self._kept.append(data)
        elif self._link is None:
            self._listener.drop("waiting")
        else:
            self._kept = None

    def _unsent(self, error: OSError) -> None:
        if reason := why_lost(error):
            self._listener.drop(reason)
        else:
            self.broke(error)

    async def _choose(self) -> None:
        upstream, exchange = self._upstream, self.exchange
        code = "NO_HEALTHY_BACKEND"
        while True:
            backend = upstream.balancer.pick(self._tried)
            if backend is None:
                backend = upstream.watch.find_last_resort(self._tried)
            if backend is None:
                for _ in self._kept or ():
                    self._listener.drop("no_backend")
                self.end(code)
                return
            exchange.backend = backend.url
            exchange.attempts += 1
            lease = backend.acquire(upstream.watch)
            try:
                link = await upstream.origins[backend].open(self)
            except UpstreamConnectError as error:
                self._has_failed(backend, lease, error)
                code = error.fault.code
                continue
            except BaseException:
                lease.release()
                raise
            self.backend, self._lease, self._link = backend, lease, link
            self._send_kept(link)
            return

    def _send_kept(self, link: DatagramLink) -> None:
        for data in tuple(self._kept or ()):
            if self._link is not link:
                return  # it broke
            try:
                link.send(data)
            except OSError as error:
                self._unsent(error)

    def _has_failed(self, backend: Backend, lease: Lease, error: UpstreamConnectError) -> None:
        lease.failed(error)
        lease.release()
        self._tried += (backend,)
        self._upstream.report(backend, error)

    # -- from the server

    def answered(self, data: bytes) -> None:
        """Take a datagram of the server's."""
        exchange = self.exchange
        if not exchange.first_byte_at:
            self._has_answered()
        exchange.bytes_out += len(data)
        self.is_owed = False
        self._listener.reply(self, data)

    def _has_answered(self) -> None:
        self._kept = None
        self.exchange.first_byte_at = self._listener.now()
        if self._lease is not None:
            self._lease.answered(0)

    def broke(self, error: OSError) -> None:
        """Hear that nobody is there; another server gets what was not answered."""
        backend, lease = self.backend, self._lease
        assert backend is not None  # there is a link
        assert lease is not None
        fault = UpstreamConnectError("UPSTREAM_CONNECT", error.strerror or str(error))
        self._let_go()
        self._has_failed(backend, lease, fault)
        if self._kept is None:
            self.end("UPSTREAM_CONNECT")
        else:
            self.start()

    # -- the end

    def end(self, code: str = "") -> None:
        """Be over, for a reason that is a fault, or by silence; harmless when repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        lease = self._lease
        self._let_go()
        if lease is not None:
            if not code:
                lease.answered(0)  # nothing speaks against it, though it may never have answered
            lease.release()
        self.exchange.code = code
        self.exchange.close()
        self._listener.has_ended(self)  # the last: after a drain nothing is noted any more

    def _let_go(self) -> None:
        link, self._link, self._lease, self.backend = self._link, None, None, None
        if link is not None:
            link.close()

    def _failed(self, error: BaseException) -> None:
        self.end("INTERNAL")
        raise error


def why_lost(error: OSError) -> str:
    """Say why one datagram could not be sent, where that says nothing of others; else nothing."""
    if error.errno in CONGESTED:
        return "congested"
    return "too_large" if error.errno == errno.EMSGSIZE else ""


_: type[Talker] = UdpSession

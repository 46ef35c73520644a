"""A connected stream socket in the poller's care: its addresses and its options."""

from __future__ import annotations

import socket
from contextlib import suppress

from .addresses import StreamAddress, local_address
from .poller import Pollable, Poller


class StreamSocket(Pollable):
    """The part of a transport that knows the socket and nothing of its traffic."""

    __slots__ = ("__weakref__", "_host", "_interest", "_peer", "_poller", "_socket", "_watched")

    def __init__(self, poller: Poller, sock: socket.socket, peer: StreamAddress) -> None:
        self._poller = poller
        self._socket = sock
        self._peer = peer
        self._host: StreamAddress | None = None
        self._watched = False
        self._interest = 0  # the events the poller watches for

    def _watch(self, events: int) -> None:
        fd = self._socket.fileno()
        if self._watched:
            self._poller.modify(fd, events)
        else:
            self._poller.register(fd, self, events)
            self._watched = True
        self._interest = events

    def _unwatch(self) -> None:
        if self._watched:
            self._poller.unregister(self._socket.fileno())
            self._watched = False
            self._interest = 0

    def getHost(self) -> StreamAddress:
        """Address of the near end; asked of the kernel once, so ask while connected."""
        if self._host is None:
            self._host = local_address(self._socket)
        return self._host

    def getPeer(self) -> StreamAddress:
        """Address of the far end."""
        return self._peer

    def getTcpNoDelay(self) -> bool:
        """Whether small pieces are sent without waiting for more; so by default."""
        return self._get_option(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001 - Twisted's interface
        """Send small pieces without waiting for more; nothing on a Unix socket."""
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether the kernel probes a silent peer."""
        return self._get_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001 - Twisted's interface
        """Let the kernel probe a silent peer."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def _get_option(self, level: int, option: int) -> bool:
        try:
            return bool(self._socket.getsockopt(level, option))
        except OSError:
            return False

"""Datagram sockets: one that clients send to, and one for each talk with a server."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure

from .listening import PASSIVE_LITERAL
from .poller import EPOLLIN, Pollable
from .watch import Watch

LARGEST: Final = 65_535  # bytes; what IP can carry, and more than UDP can
BATCH: Final = 64  # datagrams per readiness event, so that everybody else is served in between
BULK: Final = 1000  # bytes; a datagram that fills a packet is seldom alone, an answer mostly is
BUFFER: Final = 4 * 1024 * 1024  # bytes asked for, for bursts; net.core.rmem_max may lower it

# What a full queue of the kernel's says. UDP may lose a datagram, and waits for nobody.
CONGESTED: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})

_IP_PKTINFO: Final = 8  # of Linux; the module `socket` has it from Python 3.12 on
_HAS_PKTINFO: Final = sys.platform == "linux"

Raw = tuple[Any, ...]  # an address as the kernel's calls give it back

log = Logger()


class Talker(Protocol):
    """Who talks with one server."""

    def answered(self, data: bytes) -> None:
        """Take a datagram of the server's."""

    def broke(self, error: OSError) -> None:
        """Hear that nobody is there, as ICMP said; the link is closed."""


def open_datagram(host: str, port: int) -> socket.socket:
    """
    Open a socket that clients can send to.

    Args:
        host: A literal address; empty for all addresses of IPv4 and, where there is one, IPv6.
        port: 0 lets the kernel choose.

    Raises:
        CannotListenError: The address cannot be had.

    """
    try:
        if host:
            return _bind(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port)
        try:
            return _bind(socket.AF_INET6, "", port)
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                raise
            return _bind(socket.AF_INET, "", port)
    except OSError as error:
        raise CannotListenError(host, port, error) from error


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = _socket(family)
    try:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            with suppress(OSError):  # the system's own sizes do, too
                sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        if family == socket.AF_INET6 and not host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        raw = socket.getaddrinfo(
            host or None, port, family, socket.SOCK_DGRAM, flags=PASSIVE_LITERAL
        )[0][4]
        sock.bind(raw)
    except BaseException:
        sock.close()
        raise
    return sock


def _socket(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)  # noqa: FBT003
    return sock


def port_for(
    watch: Watch, sock: socket.socket, received: Callable[[bytes, Raw], None]
) -> DatagramPort:
    """Make the port of a bound socket; of one for all addresses answers come from the right one."""
    wildcard = not any(socket.inet_pton(sock.family, sock.getsockname()[0]))
    kind = WildcardPort if wildcard and _HAS_PKTINFO else DatagramPort
    return kind(watch, sock, received)


class DatagramPort(Pollable):
    """Owns a bound socket, and hands on what comes with the address to answer to: its `peer`."""

    __slots__ = ("_receive", "_received", "_socket", "_watch", "_watched", "send")

    def __init__(
        self, watch: Watch, sock: socket.socket, received: Callable[[bytes, Raw], None]
    ) -> None:
        self._watch = watch
        self._socket = sock
        self._received = received
        self._watched = False
        # Not methods: a call more for each datagram would be a tenth of what it costs.
        self._receive: Callable[[int], tuple[bytes, Raw]] = sock.recvfrom
        #: Send to a peer of `received`; raises `OSError`, `CONGESTED` where the queue is full.
        self.send: Callable[[bytes, Raw], object] = sock.sendto

    def start(self) -> None:
        """Begin to receive."""
        self._watched = True
        self._watch.register(self._socket.fileno(), self, EPOLLIN)

    def stop(self) -> None:
        """Receive no more; answers can still be sent."""
        if self._watched:
            self._watched = False
            self._watch.unregister(self._socket.fileno())

    def close(self) -> None:
        """Give the address back."""
        self.stop()
        self._socket.close()

    def getHost(self) -> IPv4Address | IPv6Address:
        """Address that is bound."""
        host, port = self._socket.getsockname()[:2]
        kind = IPv6Address if ":" in host else IPv4Address
        return kind("UDP", host, port)

    def on_events(self, events: int) -> None:  # noqa: ARG002 - a bound socket has no others
        """Receive what is there, but not for ever."""
        receive, received = self._receive, self._received
        try:
            for _ in range(BATCH):
                received(*receive(LARGEST))
        except BlockingIOError:
            pass
        except OSError as error:  # no memory for one; the others wait in the queue
            log.debug("a datagram could not be received: {error}", error=error)

    def on_failure(self, failure: Failure) -> None:
        """Go on after an error in `received`; end with the reactor."""
        if failure.check(ConnectionLost):
            self.stop()

    def source_of(self, peer: Raw) -> Raw:
        """Return the address of a peer."""
        return peer


class WildcardPort(DatagramPort):
    """
    One bound to all addresses: a peer is who sent, and to which of them.

    Without a word the kernel answers from the address nearest to the client, which need not be
    the one that the client asked, and believes.
    """

    __slots__ = ("_is_v4", "_room")

    def __init__(
        self, watch: Watch, sock: socket.socket, received: Callable[[bytes, Raw], None]
    ) -> None:
        super().__init__(watch, sock, received)
        self._receive, self.send = self._receive_with_place, self._send_from_place
        self._is_v4 = sock.family == socket.AF_INET
        if self._is_v4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            self._room = socket.CMSG_SPACE(12)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self._room = socket.CMSG_SPACE(20)

    def _receive_with_place(self, size: int) -> tuple[bytes, Raw]:
        data, ancillary, _, source = self._socket.recvmsg(size, self._room)
        if not ancillary:
            return data, (source, b"")
        # struct in_pktinfo has the local address in its middle, in6_pktinfo at its beginning.
        # What stands beside it, the interface, may change from one datagram to the next.
        place = ancillary[0][2]
        return data, (source, place[4:8] if self._is_v4 else place[:16])

    def _send_from_place(self, data: bytes, peer: Raw) -> None:
        """Send from the address that the peer had sent to."""
        source, local = peer
        if self._is_v4:
            place = (socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("=i4s4x", 0, local))
        else:
            place = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("=16si", local, 0))
        self._socket.sendmsg((data,), (place,), 0, source)

    def source_of(self, peer: Raw) -> Raw:
        """Return the address of a peer."""
        source: Raw = peer[0]
        return source


class DatagramLink(Pollable):
    """Owns a socket that is connected to one server, so that it hears when nobody is there."""

    __slots__ = ("_receive", "_socket", "_talker", "_watch", "send")

    def __init__(self, watch: Watch, sock: socket.socket, talker: Talker) -> None:
        self._watch = watch
        self._socket = sock
        self._talker: Talker | None = talker
        self._receive = sock.recv
        #: Send one datagram; raises `OSError`, also that of one sent before.
        self.send: Callable[[bytes], object] = sock.send
        watch.register(sock.fileno(), self, EPOLLIN)

    @classmethod
    def open(
        cls, watch: Watch, family: socket.AddressFamily, raw: Raw, talker: Talker
    ) -> DatagramLink:
        """Connect to a server; raises `OSError` when there is no way, or no descriptor."""
        sock = _socket(family)
        try:
            sock.connect(raw)
        except BaseException:
            sock.close()
            raise
        return cls(watch, sock, talker)

    def on_events(self, events: int) -> None:  # noqa: ARG002 - receiving tells of an error, too
        """Receive what is there, but not for ever."""
        talker = self._talker
        left = BATCH
        try:
            while talker is not None:
                data = self._receive(LARGEST)
                talker.answered(data)
                left -= 1
                if len(data) < BULK or not left:  # should there be more, there is another event
                    return
                talker = self._talker
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in CONGESTED:
                self._break(error)

    def on_failure(self, failure: Failure) -> None:
        """End the talk: a part of it raised, or the reactor has stopped."""
        self._break(OSError(errno.EIO, failure.getErrorMessage()))

    def _break(self, error: OSError) -> None:
        talker = self._talker
        self.close()
        if talker is not None:
            talker.broke(error)

    def close(self) -> None:
        """Hear nothing more; harmless when repeated."""
        if self._talker is not None:
            self._talker = None
            self._watch.unregister(self._socket.fileno())
            self._socket.close()

"""Sockets that another process opened and passed to this one: sd_listen_fds(3)."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, wrapServerTLS
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from .poller import Reactor
from .server import ServerEndpoint
from .tls_server import ServerTls

FIRST: Final = 3  # file descriptor; SD_LISTEN_FDS_START
UNNAMED: Final = "unknown"  # what systemd calls a socket without a name

_COUNT = re.compile(r"[0-9]{1,5}")


class NotPassedError(CannotListenError):
    """There is no socket of a name that can be listened on; `remedy` says what to do."""

    def __init__(self, name: str, reason: str, remedy: str) -> None:
        super().__init__("systemd", name, reason)
        self.remedy = remedy


def passed_sockets(environment: Mapping[str, str], pid: int) -> dict[str, tuple[int, ...]]:
    """
    Read which file descriptors were passed to a process, by name; a name may have several.

    Variables that are for another process, an ancestor of this one, mean nothing.
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(pid) or not _COUNT.fullmatch(count):
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    passed: dict[str, tuple[int, ...]] = {}
    for index in range(int(count)):
        name = names[index] if index < len(names) and names[index] else UNNAMED
        passed[name] = (*passed.get(name, ()), FIRST + index)
    return passed


def _environment() -> dict[str, str]:
    """Recall also the variables that Twisted's endpoints drop when they are imported."""
    try:
        first = Path("/proc/self/environ").read_bytes()
    except OSError:
        first = b""
    pairs = (os.fsdecode(each).partition("=") for each in first.split(b"\0"))
    return {name: value for name, _, value in pairs} | dict(os.environ)


@implementer(IListeningPort)
@frozen(eq=False)
class Ports:
    """Several listening sockets that are one listener."""

    ports: Sequence[IListeningPort]

    def startListening(self) -> None:
        """Begin to accept on each."""
        for port in self.ports:
            port.startListening()

    def stopListening(self) -> Deferred[Any]:
        """Close each; fires when all are closed."""
        closing = [maybeDeferred(port.stopListening) for port in self.ports]
        return gatherResults(closing, consumeErrors=True)

    def getHost(self) -> IAddress:
        """Return the address of the first."""
        return self.ports[0].getHost()


@implementer(IStreamServerEndpoint)
@frozen
class InheritedEndpoint:
    """
    Listens on all sockets of one name; made by `systemd_server_endpoint`.

    It works with duplicates, so that a reload can leave a socket and another come back to it.
    Who connects while nobody accepts waits in the kernel's queue.
    """

    reactor: Reactor
    name: str
    max_connections: int | None
    tls: ServerTls | None
    handshake_timeout: float
    stock: bool
    passed: Mapping[str, Sequence[int]] = field(
        factory=lambda: passed_sockets(_environment(), os.getpid())
    )

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept on each socket; fails with `NotPassedError`, and then accepts on none."""
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        ports: list[IListeningPort] = []
        try:
            for sock in self._sockets():
                ports.append(await self._endpoint(sock).listen(factory))  # noqa: PERF401
        except BaseException:
            await Ports(ports).stopListening()
            raise
        return ports[0] if len(ports) == 1 else Ports(ports)

    def _sockets(self) -> Iterator[socket.socket]:
        if not self.passed.get(self.name):
            remedy = f"put FileDescriptorName={self.name} into a .socket unit of this service"
            if self.passed:
                remedy += f"; passed were: {', '.join(sorted(self.passed))}"
                raise NotPassedError(self.name, "no socket of that name was passed", remedy)
            raise NotPassedError(self.name, "no socket was passed to this process", remedy)
        for fd in self.passed[self.name]:
            try:
                yield self._duplicate(fd)
            except OSError as error:
                reason = f"file descriptor {fd}: {error.strerror}"
                raise NotPassedError(self.name, reason, "let systemd start the process") from error

    def _duplicate(self, fd: int) -> socket.socket:
        os.set_inheritable(fd, False)  # noqa: FBT003 - children have no use for it
        sock = socket.socket(fileno=os.dup(fd))
        reason = _unfit(sock, is_stock=self.stock)
        if reason:
            sock.close()
            raise NotPassedError(self.name, *reason)
        sock.setblocking(False)  # noqa: FBT003
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
        return sock

    def _endpoint(self, sock: socket.socket) -> IStreamServerEndpoint:
        if not self.stock:
            return ServerEndpoint(
                reactor=self.reactor,
                host="systemd",
                port=self.name,
                open_socket=lambda _: (sock, None),
                max_connections=self.max_connections,
                tls=self.tls,
                handshake_timeout=self.handshake_timeout,
            )
        adopt = partial(AdoptedStreamServerEndpoint, self.reactor)
        endpoint: IStreamServerEndpoint = adopt(sock.detach(), sock.family)
        if self.tls is None:
            return endpoint
        return wrapServerTLS(self.tls, endpoint, IReactorTime(self.reactor))


def _unfit(sock: socket.socket, *, is_stock: bool) -> tuple[str, str] | None:
    """Tell what keeps a socket from being accepted on, and what to do; None if nothing does."""
    is_stream = sock.type == socket.SOCK_STREAM
    if not is_stream or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "what was passed is no listening stream socket", "use ListenStream= and Accept=no"
    if is_stock and sock.family == socket.AF_UNIX:  # Twisted's ports unlink what they adopted
        return "Twisted's own transports would remove the file of the Unix socket", "use a port"
    return None

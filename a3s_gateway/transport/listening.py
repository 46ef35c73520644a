"""Opening of listening sockets: TCP and Unix."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress

PASSIVE_LITERAL = socket.AI_PASSIVE | socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def open_tcp(host: str, port: int, backlog: int) -> socket.socket:
    """
    Open a listening socket.

    Args:
        host: A literal address; empty for all addresses of IPv4 and, where there is one, IPv6.
        port: 0 lets the kernel choose.
        backlog: Connections that wait in the kernel's queue.

    Raises:
        OSError: The address cannot be had.

    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return _listen(family, host, port, backlog)
    try:
        return _listen(socket.AF_INET6, "", port, backlog)
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            raise
        return _listen(socket.AF_INET, "", port, backlog)


def _listen(family: socket.AddressFamily, host: str, port: int, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
        if family == socket.AF_INET6 and not host:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        raw = socket.getaddrinfo(host or None, port, family, flags=PASSIVE_LITERAL)[0][4]
        sock.bind(raw)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def open_unix(path: str, mode: int, backlog: int) -> tuple[socket.socket, Callable[[], None]]:
    """
    Open a listening Unix socket, and tell how to remove its file.

    A file that an earlier process left behind, and on which nobody listens, is replaced.

    Raises:
        OSError: The path cannot be had, or somebody listens there.

    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind(path)
        os.chmod(path, mode)  # noqa: PTH101 - the path is a socket's name, often relative
        ours = os.stat(path)  # noqa: PTH116
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise

    def remove() -> None:
        """Unlink the file, unless a newer listener has put its own there."""
        with suppress(OSError):
            now = os.stat(path)  # noqa: PTH116
            if (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino):
                os.unlink(path)  # noqa: PTH108

    return sock, remove


def _remove_stale(path: str) -> None:
    """Unlink a socket that nobody listens on; anything else at the path is left to `bind`."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)  # noqa: PTH108

"""What systemd is told of a process whose unit has `Type=notify`: sd_notify(3), as datagrams."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from time import monotonic_ns
from typing import Any, Final
from weakref import finalize

from attrs import define, field
from twisted.application.service import Service
from twisted.logger import Logger

_log = Logger()

VARIABLE: Final = "NOTIFY_SOCKET"


@define(eq=False)
class Notifier:
    """
    Tells the state of a process; without an address, nobody.

    Its socket is opened once and kept: a process at its limit of open files is alive, and has
    to be able to say so.

    Attributes:
        address: Of a datagram socket, as `sendto` takes it: a path, or an abstract name.

    """

    address: str | None
    _socket: socket.socket | None = field(default=None, init=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """Find out who wants to be told."""
        return cls(notify_address(environment.get(VARIABLE, "")))

    def ready(self, status: str) -> None:
        """Say that all listens, after the start or after a reload."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self, status: str) -> None:
        """Say that a reload begins; `ready` ends it."""
        # For Type=notify-reload, which compares it with the time of its own signal; on Linux
        # Python's clock is CLOCK_MONOTONIC, as is wanted.
        now = monotonic_ns() // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """Say that the end begins."""
        self._tell("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        """Say that the reactor turns."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if self.address is None:
            return
        try:
            if self._socket is None:
                self._socket = self._opened()
            self._socket.sendto(message(*lines), self.address)
        except OSError as error:
            _log.warn("systemd could not be told {what}: {error}", what=lines[0], error=error)

    def _opened(self) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.setblocking(False)  # noqa: FBT003 - no supervisor holds up traffic
        finalize(self, opened.close)
        return opened


@define(eq=False, slots=False)
class Watchdog(Service):
    """
    Says from the reactor that it turns, as a unit with `WatchdogSec=` wants to hear.

    Attributes:
        seconds: In which systemd wants to hear of it; 0.0 if it does not.

    """

    notifier: Notifier
    reactor: Any
    seconds: float
    _call: Any = field(default=None, init=False)

    @classmethod
    def from_environment(
        cls, notifier: Notifier, reactor: Any, environment: Mapping[str, str] = os.environ
    ) -> Watchdog:
        """Find out how often it is to be said, if by this process."""
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        text = environment.get("WATCHDOG_USEC", "")
        return cls(notifier, reactor, int(text) / 1e6 if is_ours and text.isdecimal() else 0.0)

    def __attrs_post_init__(self) -> None:
        self.setName("watchdog")

    def startService(self) -> None:
        """Say it now, and at half of the time each."""
        super().startService()
        if self.seconds:
            self._say()

    def stopService(self) -> None:
        """Say it no longer."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _say(self) -> None:
        self.notifier.alive()
        self._call = self.reactor.callLater(self.seconds / 2, self._say)


def notify_address(text: str) -> str | None:
    """Convert what stands in `NOTIFY_SOCKET`; None for what is not a Unix socket, or nothing."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def message(*lines: str) -> bytes:
    """Make one datagram; each assignment stays on a line of its own."""
    return "".join(f"{' '.join(line.splitlines())}\n" for line in lines).encode()

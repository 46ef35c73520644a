from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from a3s_gateway.systemd_service import Notifier, Watchdog, message, notify_address


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


def test_each_state_is_one_datagram(supervisor: socket.socket) -> None:
    """In the order in which they come about, each with words for `systemctl status`."""
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": supervisor.getsockname()})
    notifier.ready("serving")
    notifier.reloading("reading")
    notifier.stopping("stopping")
    ready, reloading, stopping = (supervisor.recv(4096) for _ in range(3))
    assert ready == b"READY=1\nSTATUS=serving\n"
    names = [line.partition(b"=")[0] for line in reloading.splitlines()]
    assert names == [b"RELOADING", b"MONOTONIC_USEC", b"STATUS"]
    assert stopping == b"STOPPING=1\nSTATUS=stopping\n"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/systemd/notify", "/run/systemd/notify"),
        ("@/org/freedesktop", "\0/org/freedesktop"),
        ("", None),
        ("vsock:2:1234", None),
        ("relative", None),
    ],
)
def test_where_it_is_told(text: str, address: str | None) -> None:
    """A path, or a name without a file; other kinds of sockets are for virtual machines."""
    assert notify_address(text) == address


def test_without_a_supervisor_nothing_is_told() -> None:
    """Nor logged: most processes have none."""
    with capturedLogs() as events:
        Notifier.from_environment({}).ready("serving")
    assert events == []


def test_a_supervisor_that_does_not_take_it_is_not_waited_for(
    supervisor: socket.socket,
) -> None:
    """Its queue is full: that is logged, and the gateway goes on."""
    notifier = Notifier(supervisor.getsockname())
    with capturedLogs() as events:
        for _ in range(10_000):
            notifier.stopping("stopping")
            if events:
                break
    (event,) = events
    assert event["log_level"] is LogLevel.warn
    assert "systemd could not be told STOPPING=1: " in (formatEvent(event) or "")


def test_a_process_at_its_limit_of_open_files_can_still_tell(
    supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is alive: who watches must not take it for dead."""
    notifier = Notifier(supervisor.getsockname())
    notifier.ready("serving")

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", refuse)
    notifier.alive()
    assert [supervisor.recv(4096) for _ in range(2)][1] == b"WATCHDOG=1\n"


def watchdog(clock: Clock, supervisor: socket.socket, **environment: str) -> Watchdog:
    notifier = Notifier(supervisor.getsockname())
    return Watchdog.from_environment(notifier, clock, environment)


def test_a_watchdog_hears_of_the_reactor_twice_in_its_time(supervisor: socket.socket) -> None:
    """From the start to the end, and not from a thread that lives on when the reactor hangs."""
    clock = Clock()
    service = watchdog(clock, supervisor, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid()))
    service.startService()
    assert supervisor.recv(4096) == b"WATCHDOG=1\n"
    clock.advance(14.9)
    supervisor.setblocking(False)  # noqa: FBT003 - the standard library's
    with pytest.raises(BlockingIOError):
        supervisor.recv(4096)
    clock.advance(0.1)
    assert supervisor.recv(4096) == b"WATCHDOG=1\n"
    service.stopService()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_nobody_watches(environment: dict[str, str], supervisor: socket.socket) -> None:
    """Or somebody watches another process, whose environment this one has inherited."""
    clock = Clock()
    service = watchdog(clock, supervisor, **environment)
    service.startService()
    assert clock.getDelayedCalls() == []
    service.stopService()


def test_words_cannot_say_more_than_words() -> None:
    """A line break in a status begins no further assignment."""
    assert message("STATUS=a\nMAINPID=1\r\nb") == b"STATUS=a MAINPID=1 b\n"

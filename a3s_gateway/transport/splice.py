# ruff: noqa: SLF001 - a part of both connections, apart only to be readable
"""Bytes from one plain connection to another through a pipe, without passing by this process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .poller import EPOLLIN

if TYPE_CHECKING:
    from .tcp import TcpConnection

HAS_SPLICE: Final = hasattr(os, "splice")

PIPE_SIZE: Final = 256 * 1024  # bytes; more than the kernel hands over at once
SPARE_PIPES: Final = 64  # kept for the next ones
FILLS: Final = 4  # times that a pipe is filled before others have their turn
_FLAGS: Final = getattr(os, "SPLICE_F_MOVE", 0) | getattr(os, "SPLICE_F_NONBLOCK", 0)

_spare: list[tuple[int, int]] = []


def take_pipe() -> tuple[int, int] | None:
    """Return an empty pipe, its reading end first; None when the system has none left."""
    if _spare:
        return _spare.pop()
    try:
        pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):  # beyond its share of memory a user gets smaller ones
        fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return pipe


def give_pipe_back(pipe: tuple[int, int], held: int) -> None:
    """Keep a pipe for the next who takes one, unless bytes are left in it."""
    if not held and len(_spare) < SPARE_PIPES:
        _spare.append(pipe)
        return
    for end in pipe:
        os.close(end)


class Splice:
    """
    Moves what `source` receives to `sink`, until one of them ends.

    It stands between the two: what the pipe holds counts as unsent by the sink.
    """

    __slots__ = ("_held", "_moved", "_pipe", "_sink", "_source")

    def __init__(
        self,
        source: TcpConnection,
        sink: TcpConnection,
        pipe: tuple[int, int],
        moved: Callable[[int], None],
    ) -> None:
        self._source: TcpConnection | None = source
        self._sink: TcpConnection | None = sink
        self._pipe = pipe
        self._held = 0  # bytes in the pipe
        self._moved = moved

    def fill(self, events: int) -> None:
        """Take what the source has; it is ready, or has ended."""
        source = self._source
        assert source is not None
        if self._held:  # only now it matters that the sink is behind
            if events & EPOLLIN == events:
                source._watch(source._interest & ~EPOLLIN)
            else:
                source._unwatch()  # the poller would tell again and again that the peer is gone
            return
        for _ in range(FILLS):
            try:
                count = os.splice(source._socket.fileno(), self._pipe[1], PIPE_SIZE, flags=_FLAGS)
            except BlockingIOError:
                return
            except OSError:
                source._broke_off()
                return
            if not count:
                source._read_eof()
                return
            self._held = count
            self._moved(count)
            self._push()
            if self._held or self._source is None:
                return

    def flush(self) -> None:
        """Go on: the sink takes bytes again."""
        self._push()
        source, sink = self._source, self._sink
        if self._held or sink is None:
            return
        if source is None:
            self.sink_ended()
        else:
            source._watch(source._interest | EPOLLIN)
        sink._drained()

    def _push(self) -> None:
        """Give the sink what the pipe holds, as far as it takes it."""
        sink = self._sink
        assert sink is not None
        while self._held:
            try:
                sent = os.splice(self._pipe[0], sink._socket.fileno(), self._held, flags=_FLAGS)
            except BlockingIOError:
                sink._direct = False
                sink._watch_writing()
                break
            except OSError:
                sink._end_write()
                return
            self._held -= sent
        sink._queued = self._held

    def source_ended(self) -> None:
        """Hear that nothing more will come; what the pipe holds is still sent."""
        self._source = None
        if not self._held:
            self.sink_ended()

    def sink_ended(self) -> None:
        """Hear that nothing more can be sent, or has to be."""
        source, sink = self._source, self._sink
        self._source = self._sink = None
        if source is not None:
            source._outflow = None
        if sink is not None:
            sink._inflow = None
            give_pipe_back(self._pipe, self._held)


def begin_splice(source: TcpConnection, sink: TcpConnection, moved: Callable[[int], None]) -> bool:
    """Have bytes go past this process from now on; see `TcpConnection.splice_to`."""
    if not HAS_SPLICE or not sink._direct or source._outflow is not None:
        return False
    pipe = take_pipe()
    if pipe is None:
        return False
    source._outflow = sink._inflow = Splice(source, sink, pipe, moved)
    source._reading = False
    return True

"""Where access-log lines end: a file, a pipe or standard output. Blocks: it runs in a thread."""

from __future__ import annotations

import os
import select
import stat
import time
from typing import Final

from attrs import define, field, frozen

STDOUT: Final = 1
MODE: Final = 0o640  # of a new file: it tells who asked for what
# A pipe that polls as writable takes this much without blocking (pipe(7)).
PIPE_CHUNK: Final = select.PIPE_BUF


@frozen
class Written:
    """How an attempt ended: what is left to write, and why if it was not only for lack of time."""

    rest: bytes
    error: OSError | None = None


@define(eq=False)
class Output:
    """
    Appends bytes, which are lines, to `path`, or to standard output if that is empty.

    Only a regular file can block it, for as long as the disk does; a pipe that nobody reads
    costs the patience of an attempt.
    """

    path: str
    _fd: int | None = field(default=None, init=False)
    _file: tuple[int, int] | None = field(default=None, init=False)  # device and inode, if regular
    _torn: bytes = field(default=b"", init=False)  # what is written of a line that is cut
    _again: bytes = field(default=b"", init=False)  # what of it the new file lacks

    def open(self) -> int:
        """Open it unless it is open, and return the descriptor; raises `OSError`."""
        if self._fd is not None:
            return self._fd
        if not self.path:
            self._fd = STDOUT
        else:
            # Without O_NONBLOCK this would wait for a FIFO's reader; with it, it is ENXIO.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY
            self._fd = os.open(self.path, flags, MODE)
        status = os.fstat(self._fd)
        file = (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
        if file is None or file != self._file:
            self._again, self._torn = self._torn, b""
        self._file = file
        return self._fd

    def close(self) -> None:
        """Close it; harmless when it is not open. Standard output stays open for others."""
        fd, self._fd = self._fd, None
        if fd is not None and self.path:
            os.close(fd)

    def write(self, data: bytes, patience: float, *, reopen: bool = False) -> Written:
        """
        Write as much of `data` as can be had within `patience` seconds; call with the rest again.

        A line that was cut when the file was opened anew begins the new file, whole.

        Args:
            data: Lines, from where the last attempt stopped.
            patience: For the reader of a pipe, in seconds.
            reopen: Whether to open `path` anew before: it was renamed, a new file begins.

        """
        if reopen and self.path:
            self.close()
        deadline = time.monotonic() + patience
        done = 0
        error = None
        try:
            fd = self.open()
            data, self._again = self._again + data, b""
            while done < len(data) and self._is_writable(fd, deadline):
                done += os.write(fd, memoryview(data)[done : self._end(data, done)])
        except BlockingIOError:
            pass  # someone else filled the pipe in between; the next attempt goes on
        except OSError as caught:
            error = caught
            self.close()
        whole = data.rfind(b"\n", 0, done) + 1
        self._torn = data[whole:done] if whole else self._torn + data[:done]
        return Written(data[done:], error)

    def _is_writable(self, fd: int, deadline: float) -> bool:
        if self._file is not None:
            return True
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))

    def _end(self, data: bytes, start: int) -> int:
        """Cut a pipe's share at a line, so that what others write to it stands between lines."""
        end = start + PIPE_CHUNK
        if self._file is not None or end >= len(data):
            return len(data)
        return data.rfind(b"\n", start, end) + 1 or end

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.observability.output import PIPE_CHUNK, Output, Written

LINES = b"".join(b"line %d\n" % number for number in range(20_000))  # more than a pipe holds


@contextmanager
def fifo_reader(path: Path) -> Iterator[int]:
    """The reading end of a FIFO, which reads when it is told to."""
    if not path.exists():
        os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield reader
    finally:
        os.close(reader)


def read_all(reader: int) -> bytes:
    """What lies in the pipe now."""
    parts = []
    try:
        while part := os.read(reader, 1 << 20):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size`: what a full disk does, and undoable."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    """A restart of the gateway does not empty the log; a new file is not for everybody's eyes."""
    path = tmp_path / "access.log"
    for line in (b"one\n", b"two\n"):
        output = Output(str(path))
        assert output.write(line, 0) == Written(b"")
        output.close()
        output.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert not stat.S_IMODE(path.stat().st_mode) & 0o007


def test_standard_output_stays_open(capfd: pytest.CaptureFixture[str]) -> None:
    """The log's end is not the end of what else the process prints."""
    output = Output("")
    assert output.write(b"one\n", 1) == Written(b"")
    output.close()
    os.write(1, b"two\n")
    assert capfd.readouterr().out == "one\ntwo\n"


def test_reopening_begins_a_new_file(tmp_path: Path) -> None:
    """After a rename nothing goes into the old file any more."""
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    output = Output(str(path))
    output.write(b"one\n", 0)
    path.rename(old)
    output.write(b"two\n", 0)
    assert output.write(b"three\n", 0, reopen=True) == Written(b"")
    output.close()
    assert (old.read_bytes(), path.read_bytes()) == (b"one\ntwo\n", b"three\n")


def test_a_full_device_is_an_error_and_keeps_the_rest() -> None:
    """Nothing is taken for written that is not."""
    output = Output("/dev/full")
    for _ in range(2):
        written = output.write(b"one\n", 0)
        assert written.rest == b"one\n"
        assert written.error is not None
        assert written.error.errno == errno.ENOSPC
    output.close()


def test_a_file_is_continued_where_the_disk_was_full(tmp_path: Path) -> None:
    """With space again, the line that was cut goes on at its very byte: none is lost or broken."""
    path = tmp_path / "access.log"
    output = Output(str(path))
    size = 1024 * 1024 + 3
    data = b"".join(b"%07d\n" % number for number in range(size // 8 + 1000))
    with file_size_limit(size):
        written = output.write(data, 0)
        assert written.error is not None
        assert len(data) - len(written.rest) == size
        written = output.write(written.rest, 0)
        assert written.error is not None
    assert output.write(written.rest, 0) == Written(b"")
    output.close()
    assert path.read_bytes() == data


def test_a_line_that_was_cut_is_whole_in_the_new_file(tmp_path: Path) -> None:
    """A rotation on a full disk leaves no half line at the head of the new file."""
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    output = Output(str(path))
    size = 1024 * 1024 + 3
    data = b"".join(b"%07d\n" % number for number in range(size // 8 + 2))
    with file_size_limit(size):
        rest = output.write(data, 0).rest
    path.rename(old)
    assert output.write(rest, 0, reopen=True) == Written(b"")
    output.close()
    cut = data.rindex(b"\n", 0, size) + 1
    assert old.read_bytes() == data[:size]
    assert path.read_bytes() == data[cut:]


def test_a_fifo_without_a_reader_is_an_error(tmp_path: Path) -> None:
    """Opening it does not wait for ever for somebody to read."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    output = Output(str(path))
    written = output.write(b"one\n", 0)
    assert written.rest == b"one\n"
    assert written.error is not None
    assert written.error.errno == errno.ENXIO
    with fifo_reader(path) as reader:
        assert output.write(written.rest, 0) == Written(b"")
        assert read_all(reader) == b"one\n"
    output.close()


def test_a_pipe_that_nobody_reads_takes_what_fits(tmp_path: Path) -> None:
    """A stuck reader costs the patience of an attempt; what it did not take comes later."""
    with fifo_reader(tmp_path / "fifo") as reader:
        output = Output(str(tmp_path / "fifo"))
        received = b""
        written = output.write(LINES, 0.01)
        assert written.rest
        while written.rest:
            assert written.error is None
            assert written.rest.startswith(b"line ")  # cut between lines
            received += read_all(reader)
            written = output.write(written.rest, 0.01)
        output.close()
        assert received + read_all(reader) == LINES


def test_the_next_reader_of_a_pipe_gets_whole_lines(tmp_path: Path) -> None:
    """A reader that went away in the middle of a long line leaves no half line to the next."""
    line = b"x" * (2 * PIPE_CHUNK) * 20 + b"\n"  # longer than a pipe holds
    output = Output(str(tmp_path / "fifo"))
    with fifo_reader(tmp_path / "fifo"):
        written = output.write(line, 0)
        assert 0 < len(written.rest) < len(line)
    written = output.write(written.rest, 0)
    assert isinstance(written.error, BrokenPipeError)
    with fifo_reader(tmp_path / "fifo") as reader:
        received = b""
        while written.rest:
            written = output.write(written.rest, 0)
            received += read_all(reader)
    output.close()
    assert received == line


@given(cuts=st.lists(st.integers(0, 400), max_size=10))
def test_how_it_is_handed_over_does_not_show(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    """Any chunks, with the file opened anew between any two of them, make the same file."""
    data = LINES[:400]
    path = tmp_path_factory.mktemp("output") / "access.log"
    output = Output(str(path))
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        assert output.write(data[start:end], 0, reopen=bool(start % 2)) == Written(b"")
    output.close()
    assert path.read_bytes() == data

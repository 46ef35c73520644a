# ruff: noqa: SLF001 - looks at spare pipes
"""Bytes that go from one connection to another past this process: all, in order, and to the end."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.threads import deferToThread

from a3s_gateway.transport import splice
from tests.unit.transport.peers import ConnectionCase, HalfCloser, Recorder, reset, turns

BLOB = bytes(range(256)) * 16 * 1024  # 4 MB


def read_all(sock: socket.socket, count: int) -> bytes:
    """Take so many bytes, or what comes until the end."""
    taken = bytearray()
    while len(taken) < count and (data := sock.recv(65536)):
        taken += data
    return bytes(taken)


class SpliceTests(ConnectionCase):
    """A source and a sink, each with a socket of the test at its other end."""

    async def spliced(self, protocol: type[Recorder] = Recorder) -> None:
        """Connect two pairs, and let bytes pass from one to the other."""
        if not splice.HAS_SPLICE:
            self.skipTest("no os.splice here")
        self.source, self.begin = await self.raw_pair(protocol)
        self.sink, self.end_ = await self.raw_pair(protocol)
        self.moved: list[int] = []
        self.assertTrue(self.splice())

    def splice(self) -> Any:
        return self.source.transport.splice_to(self.sink.transport, self.moved.append)

    async def test_all_comes_in_order_and_none_is_shown(self) -> None:
        """More than the buffers hold, read by somebody slow; each byte is told of once."""
        await self.spliced()
        sending = deferToThread(self.begin.sendall, BLOB)
        self.assertEqual(await deferToThread(read_all, self.end_, len(BLOB)), BLOB)
        await sending
        self.assertEqual((bytes(self.source.data), sum(self.moved)), (b"", len(BLOB)))

    async def test_a_sink_that_is_behind_holds_the_source_back(self) -> None:
        """No more is taken than the pipe and the kernel's buffers hold; then all goes on."""
        await self.spliced()
        size = 64 * 1024 * 1024
        sending = deferToThread(self.begin.sendall, bytes(size))
        await self.source_rests()
        self.assertLess(sum(self.moved), size)
        self.assertEqual(len(await deferToThread(read_all, self.end_, size)), size)
        await sending

    async def source_rests(self) -> None:
        before = -1
        while sum(self.moved) != before or not self.moved:
            before = sum(self.moved)
            await turns(50)

    async def test_once_is_enough(self) -> None:
        """A source has one sink."""
        await self.spliced()
        self.assertFalse(self.splice())

    async def test_what_was_sent_before_the_end_arrives(self) -> None:
        """The end of the source is its protocol's matter; the pipe is emptied before."""
        await self.spliced(HalfCloser)
        self.begin.sendall(b"last words")
        self.begin.shutdown(socket.SHUT_WR)
        self.assertEqual(await deferToThread(read_all, self.end_, 10), b"last words")
        await self.source.until(lambda: self.source.transport._outflow is None)
        self.assertIsNone(self.sink.transport._inflow)

    async def test_a_reset_source_is_lost(self) -> None:
        """Its protocol hears of it, and the sink is free of it."""
        await self.spliced()
        reset(self.begin)
        self.assertIs(await self.source.lost(), ConnectionLost)
        self.assertIsNone(self.sink.transport._inflow)

    async def test_a_sink_that_is_gone(self) -> None:
        """What comes then finds nobody: the sink ends, and the source is free of it."""
        await self.spliced()
        reset(self.end_)
        await self.sink.lost()
        self.assertIsNone(self.source.transport._outflow)

    async def test_an_empty_pipe_is_used_again(self) -> None:
        """One that holds bytes is closed instead: they are nobody else's."""
        self.patch(splice, "_spare", [])
        pipe = splice.take_pipe()
        assert pipe is not None
        splice.give_pipe_back(pipe, 0)
        self.assertEqual(splice.take_pipe(), pipe)
        os.write(pipe[1], b"x")
        splice.give_pipe_back(pipe, 1)
        self.assertEqual(splice._spare, [])
        for end in pipe:
            self.assertRaises(OSError, os.fstat, end)

    async def test_without_a_pipe_bytes_are_shown(self) -> None:
        """When files have run out nothing changes for the protocol."""
        await self.spliced()
        self.patch(splice, "take_pipe", lambda: None)
        back = self.sink.transport.splice_to(self.source.transport, self.moved.append)
        self.assertFalse(back)
        self.end_.sendall(b"seen")
        self.assertEqual(await self.sink.received(4), b"seen")

    async def test_no_more_than_some_pipes_are_kept(self) -> None:
        """Those beyond are closed."""
        self.patch(splice, "_spare", [])
        self.patch(splice, "SPARE_PIPES", 1)
        pipes = [pipe for _ in range(2) if (pipe := splice.take_pipe())]
        for pipe in pipes:
            splice.give_pipe_back(pipe, 0)
        self.assertEqual(splice._spare, pipes[:1])
        for end in splice._spare.pop():
            os.close(end)

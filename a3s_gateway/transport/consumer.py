"""The sending half of a transport: what the kernel does not take, and who produces it."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterable
from typing import cast

from twisted.internet.interfaces import IProducer, IPushProducer

from .addresses import StreamAddress
from .poller import EPOLLOUT, HELD, Poller
from .sockets import next_block
from .splice import Splice
from .stream_socket import StreamSocket

HIGH_WATER = 64 * 1024  # bytes unsent at which a push producer is paused; Twisted's bufferSize

READ_CLOSED, WRITE_CLOSING, WRITE_CLOSED = 1, 2, 4  # bits


class Consumer(StreamSocket):
    """Sends at once, keeps what the kernel does not take, and paces a producer by it."""

    __slots__ = (
        "_direct",
        "_established",
        "_flush_planned",
        "_half_close",
        "_held",
        "_inflow",
        "_producer",
        "_producer_paused",
        "_producer_pulled",
        "_queue",
        "_queued",
        "connected",
        "disconnecting",
    )

    def __init__(self, poller: Poller, sock: socket.socket, peer: StreamAddress) -> None:
        super().__init__(poller, sock, peer)
        self.connected = True
        self.disconnecting = False
        self._established = True  # false during a TLS handshake
        self._direct = True  # bytes may go to the socket now: nothing waits before them
        self._held: bytes | None = None  # waits for the end of the poller's batch, if alone
        self._queue: deque[bytes | memoryview] | None = None
        self._queued = 0  # bytes held, in the queue and in a pipe
        self._inflow: Splice | None = None  # sends in our place, past this process
        self._flush_planned = False  # the poller calls `flush` when its batch is done
        self._half_close = 0  # READ_CLOSED, WRITE_CLOSING, WRITE_CLOSED
        self._producer: IPushProducer | None = None  # or a pulled one: it is never paused
        self._producer_pulled = False
        self._producer_paused = False

    def write(self, data: bytes) -> None:
        """
        Send; what the kernel does not take is kept and sent when it does.

        While the poller serves a batch, little ones are held back to its end: sent in one go,
        they wake each peer once, not once per connection.
        """
        if not self._direct:
            self._write_later(data)
            return
        if 0 < len(data) <= self._poller.holds:
            self._hold(data)
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end_write()
            return
        if sent != len(data):
            self._enqueue(memoryview(data)[sent:] if sent else data)

    def _hold(self, data: bytes) -> None:
        self._held = data
        self._queued = len(data)
        self._direct = False
        self._flush_planned = True
        self._poller.held.append(self)

    def flush(self) -> None:
        """Send what was held back; called by the poller at the end of a batch."""
        self._flush_planned = False
        held = self._held
        if not self.connected:
            return
        if held is None:
            if self._queue:
                self._flush()
            return
        sent = self._send_block(held)
        if sent == len(held):
            self._held = None
            self._queued = 0
            if not (
                self._producer_paused
                or self._producer_pulled
                or self.disconnecting
                or self._half_close
            ):
                self._direct = True  # `_drained` would do no more
            else:
                self._drained()
        elif self.connected:
            self._queue_held(max(sent, 0))
            self._watch_writing()

    def _queue_held(self, sent: int) -> None:
        assert self._held is not None
        self._queue = deque((memoryview(self._held)[sent:] if sent else self._held,))
        self._queued -= sent
        self._held = None
        self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write the pieces as one; large ones are not copied together for it."""
        pieces = list(iovec)
        size = sum(map(len, pieces))
        if size <= HELD or not self._direct:
            self.write(b"".join(pieces))
            return
        try:
            sent = self._socket.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end_write()
            return
        if sent != size:
            self._enqueue(memoryview(b"".join(pieces))[sent:])

    @property
    def bufferedBytes(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._queued

    def _write_later(self, data: bytes) -> None:
        """Queue, unless the end was asked for; a producer still registered may go on."""
        if not data or not self.connected or self._half_close & WRITE_CLOSED:
            return
        closing = self.disconnecting or self._half_close & WRITE_CLOSING
        if not closing or self._producer is not None:
            self._enqueue(bytes(data))

    def _enqueue(self, data: bytes | memoryview) -> None:
        if self._held is not None:
            self._queue_held(0)
        if self._queue is None:
            self._queue = deque()
        self._queue.append(data)
        self._queued += len(data)
        self._direct = False
        if self._established and not self._flush_planned:
            self._watch_writing()
        self._pause_producer()

    def _pause_producer(self) -> None:
        """Hold a pushing producer back when much is unsent."""
        if self._queued > HIGH_WATER and not self._producer_paused and not self._producer_pulled:
            producer = self._producer
            if producer is not None:
                self._producer_paused = True
                producer.pauseProducing()

    def _watch_writing(self) -> None:
        if not self._interest & EPOLLOUT:
            self._watch(self._interest | EPOLLOUT)

    def _flush(self) -> None:
        """Send what waits, as far as the kernel takes it."""
        if self._inflow is not None:
            self._inflow.flush()
            return
        if self._held is not None:
            self._queue_held(0)
        queue = self._queue
        assert queue is not None
        while queue:
            block = next_block(queue)
            sent = self._send_block(block)
            if sent < len(block):
                if sent > 0:
                    self._queued -= sent
                    queue[0] = memoryview(block)[sent:]
                if self.connected:
                    self._watch_writing()
                return
            self._queued -= sent
            queue.popleft()
        self._drained()

    def _send_block(self, block: bytes | memoryview) -> int:
        """Send; -1 when nothing could be sent, now or ever."""
        try:
            return self._socket.send(block)
        except BlockingIOError:
            return -1
        except OSError:
            self._end_write()
            return -1

    def _drained(self) -> None:
        """Nothing waits to be sent: let the producer go on, or close what was to be closed."""
        self._queue = None
        if self._interest & EPOLLOUT:
            self._watch(self._interest & ~EPOLLOUT)
        producer = self._producer
        if producer is not None:
            self._direct = not self._producer_pulled
            if self._producer_pulled or self._producer_paused:
                self._producer_paused = False
                producer.resumeProducing()
        elif self.disconnecting:
            self._finish()
        elif self._half_close & WRITE_CLOSING:
            self._close_write()
        else:
            self._direct = not self._half_close & WRITE_CLOSED

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:  # noqa: FBT001
        """Let a producer feed this connection: pushed (`streaming`) or pulled."""
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is still registered, so {producer!r} cannot be")
        if not self.connected:
            producer.stopProducing()
            return
        pushing = cast("IPushProducer", producer)
        self._producer = pushing
        self._producer_paused = False
        self._producer_pulled = not streaming
        if not streaming:
            self._direct = False  # so that each write comes back as a request for more
            pushing.resumeProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer; what was to be closed after its last write is closed."""
        self._producer = None
        self._producer_pulled = False
        self._producer_paused = False
        if self.connected and self._established and not self._queued:
            self._drained()

    def _end_write(self) -> None:
        """End after a failed send."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Close the connection, now that all is sent."""
        raise NotImplementedError

    def _close_write(self) -> None:
        """Close the sending half, now that all is sent."""
        raise NotImplementedError

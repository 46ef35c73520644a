"""Ends of sockets: the ways to close one, and the pieces to send next."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque

DISCARD_SIZE = 64 * 1024  # bytes per read of what nobody wants
MAX_DISCARD = 1024 * 1024  # bytes; a peer that goes on sending is reset after all
BLOCK_SIZE = 128 * 1024  # bytes; smaller unsent pieces are joined up to this for one send

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, no seconds


def close_orderly(sock: socket.socket) -> None:
    """
    Close so that the peer receives all that was sent.

    Closing with unread input makes Linux reset the connection (RFC 1122 §4.2.2.13), and a reset
    can overtake the last bytes sent; so what lies in the buffer is taken out first.
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        left = MAX_DISCARD
        while left > 0 and (unread := sock.recv(DISCARD_SIZE)):
            left -= len(unread)
    sock.close()


def close_with_reset(sock: socket.socket) -> None:
    """Close so that the peer knows that it was cut off; Unix sockets have no reset."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


def next_block(queue: deque[bytes | memoryview]) -> bytes | memoryview:
    """Join small pieces at the head of a queue, which is not empty, and leave the block there."""
    block = queue[0]
    if len(queue) == 1 or len(block) + len(queue[1]) > BLOCK_SIZE:
        return block
    pieces = []
    size = 0
    while queue and size + len(queue[0]) <= BLOCK_SIZE:
        piece = queue.popleft()
        size += len(piece)
        pieces.append(piece)
    block = b"".join(pieces)
    queue.appendleft(block)
    return block

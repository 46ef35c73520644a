"""
The server behind the proxies for what is not plain HTTP, on one port for TCP and UDP.

What comes is sent back; but the byte M asks for a megabyte, a request for /ws becomes a WebSocket
whose frames are sent back, and one for /sse a stream of events. Run as: echoes.py PORT.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
import sys
import time

MEGABYTE = bytes(1024 * 1024)
EVENT_EVERY = 0.004  # seconds
KEY = re.compile(rb"^sec-websocket-key: *(\S+)", re.IGNORECASE | re.MULTILINE)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)
EVENTS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


class Echo(asyncio.Protocol):
    """One connection; what it asks for first, it has to the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.head: bytes | None = b""  # what is there of it; None: no HTTP, or no longer

    def data_received(self, data: bytes) -> None:
        """Answer."""
        if self.head is not None and (self.head or data.startswith(b"GET ")):
            self.head += data
            if self.head.endswith(b"\r\n\r\n"):
                self.answer(self.head)
                self.head = None
            return
        self.head = None
        self.transport.write(MEGABYTE if data == b"M" else data)

    def answer(self, head: bytes) -> None:
        """Begin what a request asks for."""
        if key := KEY.search(head):
            accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())  # noqa: S324 - RFC 6455
            self.transport.write(SWITCHED % accept)
        else:
            self.transport.write(EVENTS)
            self.tell()

    def tell(self) -> None:
        """Send one event, which says when, and come back soon."""
        if not self.transport.is_closing():
            event = b"data: %020d\n\n" % time.monotonic_ns()
            self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            asyncio.get_running_loop().call_later(EVENT_EVERY, self.tell)


def echo_datagrams(sock: socket.socket) -> None:
    """Send back what has come."""
    try:
        while True:
            sock.sendto(*sock.recvfrom(65_535))
    except BlockingIOError:
        pass


async def serve(port: int) -> None:
    """Be that server, for ever."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)  # noqa: FBT003
    loop.add_reader(sock, echo_datagrams, sock)
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

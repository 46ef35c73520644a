"""
Load for what neither wrk nor h2load can ask for. Run as: clients.py PROTOCOL PORT SECONDS.

Prints what `load.parse_result` takes. All clients are one loop on one core: that bounds how much is
asked, not what each of it costs the proxy, which is what is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from echoes import MEGABYTE

CLIENTS = 64
STREAMS = 32  # of events
BULK_CLIENTS = HANDSHAKES = 8  # at a time
MESSAGE = os.urandom(64)
FRAME = b"\x82\xc0" + bytes(4) + MESSAGE  # binary, 64 bytes, masked with zeros
LOST = 0.2  # seconds after which clients send their datagrams again
PATIENCE = 5.0  # seconds
OPENING = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LISTENING = b"GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


@dataclass
class Tally:
    """What the clients saw."""

    began: float = field(default_factory=time.monotonic)
    micros: list[float] = field(default_factory=list)  # of each answer
    seconds: float = 0.0

    def end(self) -> None:
        """Count no more."""
        self.seconds = time.monotonic() - self.began

    def result(self) -> str:
        """Say it as wrk's script does."""
        took = sorted(self.micros)
        figures = {
            "requests": len(took),
            "seconds": self.seconds,
            "p50_us": took[len(took) // 2] if took else 0,
            "p99_us": took[len(took) * 99 // 100] if took else 0,
            "errors": {},
        }
        return f"RESULT {json.dumps(figures)}"


def connect(port: int) -> socket.socket:
    """Open a connection on which small things are sent at once."""
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def read_head(client: socket.socket, status: bytes) -> None:
    """Take the head of an answer, and nothing behind it."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            raise ConnectionError(f"closed after {head!r}")
        head += byte
    if not head.startswith(b"HTTP/1.1 " + status):
        raise ConnectionError(f"answered {head!r}")


def again_and_again(
    clients: list[socket.socket], seconds: float, message: bytes, answer: bytes
) -> Tally:
    """Have each client send a message as soon as the last one is answered."""
    poll, by_number = select.epoll(), {client.fileno(): client for client in clients}
    is_datagram = clients[0].type == socket.SOCK_DGRAM
    size = len(answer)
    chunk = min(size + 1, 256 * 1024)
    tally = Tally()
    sent, missing = {}, {}
    for number, client in by_number.items():
        poll.register(client, select.EPOLLIN)
        sent[number], missing[number] = time.monotonic(), size
        client.send(message)
    while (now := time.monotonic()) < tally.began + seconds:
        ready = poll.poll(LOST)
        if not ready and is_datagram:
            for number, client in by_number.items():
                sent[number] = now
                client.send(message)
        for number, _ in ready:
            client = by_number[number]
            data = client.recv(chunk)
            missing[number] -= len(data)
            if not data or missing[number] < 0 or not (len(data) < size or data == answer):
                raise ConnectionError(f"expected {size} bytes, got {data[:80]!r}")
            if not missing[number]:
                now = time.monotonic()
                tally.micros.append((now - sent[number]) * 1e6)
                missing[number], sent[number] = size, now
                client.send(message)
    tally.end()
    return tally


def ping_pong(port: int, seconds: float) -> Tally:
    """Small messages over TCP."""
    return again_and_again([connect(port) for _ in range(CLIENTS)], seconds, MESSAGE, MESSAGE)


def megabytes(port: int, seconds: float) -> Tally:
    """One byte there, a megabyte back."""
    return again_and_again([connect(port) for _ in range(BULK_CLIENTS)], seconds, b"M", MEGABYTE)


def datagrams(port: int, seconds: float) -> Tally:
    """Small messages over UDP, each client a session."""
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(CLIENTS)]
    for client in clients:
        client.connect(("127.0.0.1", port))
    return again_and_again(clients, seconds, MESSAGE, MESSAGE)


def frames(port: int, seconds: float) -> Tally:
    """Small messages over WebSockets."""
    clients = [connect(port) for _ in range(CLIENTS)]
    for client in clients:
        client.sendall(OPENING)
        read_head(client, b"101")
    return again_and_again(clients, seconds, FRAME, FRAME)


def events(port: int, seconds: float) -> Tally:
    """Events as the server tells them, at its pace."""
    poll, clients = select.epoll(), {}
    for _ in range(STREAMS):
        client = connect(port)
        client.sendall(LISTENING)
        read_head(client, b"200")
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLIN)
    tally = Tally()
    while time.monotonic() < tally.began + seconds:
        for number, _ in poll.poll(LOST):
            data = clients[number].recv(65_536)
            if not data:
                raise ConnectionError("a stream of events has ended")
            now = time.monotonic_ns()
            for event in data.split(b"data: ")[1:]:
                tally.micros.append((now - int(event[:20])) / 1000)
    tally.end()
    return tally


def shake_hands(port: int, context: ssl.SSLContext) -> Iterator[socket.socket]:
    """Make one TLS handshake and close in order; yields the socket whenever it waits for it."""
    with (
        connect(port) as plain,
        context.wrap_socket(
            plain, server_hostname="localhost", do_handshake_on_connect=False
        ) as client,
    ):
        client.setblocking(False)  # noqa: FBT003
        for step in (client.do_handshake, client.unwrap):
            while True:
                try:
                    step()
                except ssl.SSLWantReadError:
                    yield client
                except ssl.SSLEOFError:
                    if step == client.do_handshake:
                        raise
                    break  # the proxy closes without a farewell
                else:
                    break
            if client.session_reused:
                raise ConnectionError("a session was resumed")


def handshakes(port: int, seconds: float) -> Tally:
    """Full TLS handshakes, several under way at a time."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tally = Tally()
    poll = select.epoll()
    under_way: dict[int, tuple[float, Iterator[socket.socket]]] = {}

    def begin() -> None:
        shaking = shake_hands(port, context)
        number = next(shaking).fileno()
        under_way[number] = time.monotonic(), shaking
        poll.register(number, select.EPOLLIN)

    while time.monotonic() < tally.began + seconds:
        while len(under_way) < HANDSHAKES:
            begin()
        for number, _ in poll.poll(LOST):
            began, shaking = under_way[number]
            if next(shaking, None) is None:  # closed, and so out of the poll
                del under_way[number]
                tally.micros.append((time.monotonic() - began) * 1e6)
    tally.end()
    return tally


PROTOCOLS: dict[str, Callable[[int, float], Tally]] = {
    "tcp": ping_pong,
    "tcp1m": megabytes,
    "udp": datagrams,
    "ws": frames,
    "sse": events,
    "handshake": handshakes,
}


def main() -> None:
    """Do what the command line asks."""
    name, port, seconds = sys.argv[1:]
    try:
        tally = PROTOCOLS[name](int(port), float(seconds))
    except (OSError, ConnectionError) as error:
        sys.exit(f"{name}: {error!r}")
    with contextlib.suppress(BrokenPipeError):
        print(tally.result())


if __name__ == "__main__":
    main()

"""Load at a steady rate: requests have their time, whether or not answers to earlier ones came."""

from __future__ import annotations

import collections
import contextlib
import errno
import re
import select
import socket
import time
from array import array
from dataclasses import dataclass, field

from load import HOST

CONNECTIONS = 64
REQUESTS_PER_CONNECTION = 2_000  # then another one is opened, as clients come and go
PATIENCE = 10.0  # seconds until a request without an answer counts as failed
LAST_WORDS = 2.0  # seconds for what is under way at the end
SHARES = ("GET",) * 8 + ("POST", "64K")  # one of ten each is a POST of 4 KB and a GET of 64 KB
HEADERS = (
    f"Host: {HOST}\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0\r\n"
    "Accept: application/json, text/plain, */*\r\nAccept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    "Accept-Encoding: gzip, deflate, br\r\nReferer: https://h7.example.com/orders?page=2\r\n"
    "Cookie: session=5b9f6d1f0c3e4a7d8e21; theme=dark\r\n"
)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CODE = re.compile(rb"\r\nx-gateway-error: *(\w+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
POST = (
    f"POST /api3/upload HTTP/1.1\r\n{HEADERS}Content-Type: application/json\r\n"
    "Content-Length: 4096\r\n\r\n"
).encode() + b"x" * 4096
BUFFER = memoryview(bytearray(1 << 17))  # one for all: what is in it is used up at once
LARGE = f"GET /api3/64k HTTP/1.1\r\n{HEADERS}\r\n".encode()


def request_bytes(number: int) -> tuple[str, bytes]:
    """Make a request; the small ones are never the same twice."""
    match SHARES[number % len(SHARES)]:
        case "POST":
            return "POST", POST
        case "64K":
            return "GET", LARGE
        case _:
            unique = f"{number:012x}"
            text = (
                f"GET /api3/items/{unique}?page={number % 100} HTTP/1.1\r\n{HEADERS}"
                f"X-Request-Id: 7d9e3b2a60c14f580000{unique}\r\n\r\n"
            )
            return "GET", text.encode()


@dataclass(frozen=True)
class Failure:
    """A request that came to no good end; times are those of the monotonic clock."""

    method: str
    kind: str
    began: float
    ended: float


@dataclass
class Outcome:
    """What became of a period of load."""

    answered: int = 0
    seconds: float = 0.0
    micros: array[int] = field(default_factory=lambda: array("I"))  # from when it was due
    slowest: tuple[float, float] = (0.0, 0.0)  # seconds it took, and when it was due
    failures: list[Failure] = field(default_factory=list)


class Client:
    """A connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(0)
        self.served = 0
        self.busy = False
        self.method = ""
        self.due = 0.0
        self.began = 0.0
        self.received = bytearray()
        self.status = 0
        self.missing = 0  # bytes of the answer's body; once the head is there

    def send(self, number: int, due: float, now: float) -> None:
        """Begin a request; raises OSError."""
        self.method, content = request_bytes(number)
        self.busy, self.due, self.began = True, due, now
        self.received.clear()
        self.status = 0
        if self.socket.send(content) != len(content):
            raise OSError(errno.ENOBUFS, "the request does not fit into the socket's buffer")

    def receive(self) -> bool:
        """Take what came; returns whether the answer is complete, raises OSError when it ended."""
        size = self.socket.recv_into(BUFFER)
        if not size:
            raise ConnectionResetError(0, "closed")
        if self.status:
            self.missing -= size
        else:
            self.received += BUFFER[:size]
            head, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return False
            length = LENGTH.search(head)
            self.received = head
            self.status = int(head[9:12])
            self.missing = int(length[1]) - len(rest) if length else 0
        return self.missing <= 0

    def verdict(self) -> str:
        """Say what is wrong with a complete answer; empty if nothing is."""
        if self.missing < 0:
            return "more bytes than announced"
        if self.status == 200:
            return ""
        code = CODE.search(self.received)
        return f"status {self.status} {code[1].decode() if code else ''}".rstrip()

    def is_spent(self) -> bool:
        """Tell whether the next request needs another connection."""
        return self.served >= REQUESTS_PER_CONNECTION or bool(CLOSE.search(self.received))


class Generator:
    """All connections, in one loop."""

    def __init__(self, port: int, rate: float | None) -> None:
        """Without a rate: as fast as the answers come."""
        self.port = port
        self.step = 1 / rate if rate else 0.0
        self.outcome = Outcome()
        self.epoll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.idle: collections.deque[Client] = collections.deque()

    def open(self) -> None:
        """Add a connection, at once or, if it is refused, by another attempt soon."""
        client = Client(self.port)
        self.clients[client.socket.fileno()] = client
        self.epoll.register(client.socket, select.EPOLLIN)
        self.idle.append(client)

    def close(self, client: Client) -> None:
        """Drop a connection."""
        del self.clients[client.socket.fileno()]
        client.socket.close()
        with contextlib.suppress(ValueError):
            self.idle.remove(client)

    def replace(self, client: Client) -> None:
        """Open another one for it."""
        self.close(client)
        try:
            self.open()
        except OSError as error:
            now = time.monotonic()
            kind = f"no connection: {error.strerror or error}"
            self.outcome.failures.append(Failure("connect", kind, now, now))

    def fail(self, client: Client, kind: str) -> None:
        """Note a failed request and go on with a new connection."""
        now = time.monotonic()
        self.outcome.failures.append(Failure(client.method, kind, client.began, now))
        self.replace(client)

    def run(self, seconds: float) -> Outcome:
        """Send until the time is over, and wait for what is under way."""
        for _ in range(CONNECTIONS):
            self.open()
        begin = due = swept = time.monotonic()
        end, number = begin + seconds, 0
        while (now := time.monotonic()) < end:
            while self.idle and due <= now:
                self.begin(number, due if self.step else now, now)
                number += 1
                due += self.step
            if now - swept > 1:
                swept = now
                self.sweep(now)
            waiting = due - now if self.idle else 1.0
            self.take(min(max(waiting, 0.0), 0.2))
        self.outcome.seconds = time.monotonic() - begin
        while any(c.busy for c in self.clients.values()) and time.monotonic() < end + LAST_WORDS:
            self.take(0.1)
        for client in list(self.clients.values()):
            if client.busy:
                self.fail(client, "no answer at the end")
        for client in list(self.clients.values()):
            self.close(client)
        return self.outcome

    def begin(self, number: int, due: float, now: float) -> None:
        """Send one request on the connection that has been idle longest."""
        client = self.idle.popleft()
        try:
            client.send(number, due, now)
        except OSError as error:
            self.fail(client, f"cannot send: {error.strerror}")

    def take(self, timeout: float) -> None:
        """Deal with what comes within a time."""
        for descriptor, _ in self.epoll.poll(timeout):
            if client := self.clients.get(descriptor):
                self.serve(client)

    def serve(self, client: Client) -> None:
        """Take what a connection has for us."""
        try:
            complete = client.receive()
        except BlockingIOError:
            return
        except OSError as error:
            if not client.busy:
                self.replace(client)  # no request is lost: it was closed between two
            elif client.status:
                self.fail(client, "broken off within the answer")
            else:
                self.fail(client, f"no answer: {error.strerror}")
            return
        if complete:
            self.finish(client)
        elif not client.busy:
            self.fail(client, "an answer to nothing")

    def finish(self, client: Client) -> None:
        """Note an answer."""
        now = time.monotonic()
        if verdict := client.verdict():
            self.fail(client, verdict)
            return
        outcome = self.outcome
        took = now - client.due
        outcome.answered += 1
        outcome.micros.append(int(took * 1e6))
        outcome.slowest = max(outcome.slowest, (took, client.due))
        client.busy = False
        client.served += 1
        if client.is_spent():
            self.replace(client)
        else:
            self.idle.append(client)

    def sweep(self, now: float) -> None:
        """Give up requests that have waited too long, and make up for missing connections."""
        for client in list(self.clients.values()):
            if client.busy and now - client.began > PATIENCE:
                self.fail(client, "timeout")
        with contextlib.suppress(OSError):
            while len(self.clients) < CONNECTIONS:
                self.open()

"""The first bytes of a connection: whom a proxy speaks for, and whom a TLS client wants."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from a3s_gateway.protocol.forwarded import Trust
from a3s_gateway.protocol.proxy_protocol import ProxyHeaderError, read_proxy_header
from a3s_gateway.protocol.tls import ClientHello, HelloError, NotTlsError, read_client_hello
from a3s_gateway.router.tcp import Caller
from a3s_gateway.transport.opening import OpeningConnection
from a3s_gateway.transport.stock import proceed

if TYPE_CHECKING:
    from a3s_gateway.transport.timers import Timers
    from a3s_gateway.transport.tls_server import ServerTls


@frozen
class Came:
    """A connection of a client, as far as is known before it is routed: who, from where, when."""

    caller: Caller
    peer: str
    at: float


class Host(Interface):
    """Who decides what becomes of connections: a factory whose `has_openings` is true."""

    connections: set[Any]

    @property
    def timers(self) -> Timers:
        """Of its reactor."""

    @property
    def patience(self) -> float:
        """Seconds for the first bytes."""

    @property
    def needs_hello(self) -> bool:
        """Whether it wants to know what a TLS client says first."""

    @property
    def is_proxy(self) -> Trust | None:
        """Who begins with a header of the PROXY protocol."""

    def decide(self, came: Came) -> tuple[IProtocol, ServerTls | None] | None:
        """Make the protocol of a connection, and say whether it has TLS; None: no connection."""

    def refuse(self, came: Came, code: str) -> None:
        """Take note of a connection that ends here."""

    def has_closed(self) -> None:
        """Hear that a connection is gone."""


class FirstBytes(Protocol):
    """Looks at the first bytes of a connection, within a time, and lets it become another."""

    transport: Any

    def __init__(self, host: Host) -> None:
        self._host = host
        self._came_at = monotonic()
        self._peer = ""
        self._expects_header = False
        self._received = b""  # by a transport that cannot look without taking
        self._timer = host.timers.timer(self._late)

    def connectionMade(self) -> None:
        """Decide at once, where nothing has to be looked at."""
        self._host.connections.add(self)
        self._peer = getattr(self.transport.getPeer(), "host", "")
        is_proxy = self._host.is_proxy
        self._expects_header = is_proxy is not None and is_proxy(self._peer)
        if self._expects_header or self._host.needs_hello:
            self._timer.set(self._host.patience)
        else:
            self._decide(ClientHello(), 0, None)

    def dataReceived(self, data: bytes) -> None:
        """Look at all that has come, on transports that cannot peek."""
        self._received += data
        self.look(self._received)

    def look(self, data: bytes) -> int:
        """See `transport.opening.Opening`."""
        skip, source = 0, None
        hello = ClientHello()
        try:
            if self._expects_header:
                header = read_proxy_header(data)
                if isinstance(header, int):
                    return header
                skip, source = header.length, header.source
            if self._host.needs_hello:
                found = read_client_hello(data[skip:])
                if isinstance(found, int):
                    return skip + found
                hello = found
        except NotTlsError:
            pass  # it names nobody, then
        except ProxyHeaderError:
            self._refuse("PROXY_HEADER")
            return 0
        except HelloError:
            self._refuse("CLIENT_HELLO")
            return 0
        self._decide(hello, skip, source)
        return 0

    def _came(self, hello: ClientHello = ClientHello(), client: str = "") -> Came:  # noqa: B008 - frozen
        caller = Caller(client or self._peer, hello.server_name, hello.alpn)
        return Came(caller, self._peer, self._came_at)

    def _decide(self, hello: ClientHello, skip: int, source: tuple[str, int] | None) -> None:
        found = self._host.decide(self._came(hello, source[0] if source else ""))
        if found is None:
            self._end()
            return
        protocol, tls = found
        self._let_go()
        if isinstance(self.transport, OpeningConnection):
            peer = None
            if source is not None:
                make = IPv6Address if ":" in source[0] else IPv4Address
                peer = make("TCP", *source)
            self.transport.proceed(protocol, skip, tls, peer)
        else:
            received, self._received = self._received, b""
            proceed(
                self.transport, protocol, self._host.timers.clock,
                received=received, skip=skip, tls=tls,
            )  # fmt: skip

    def _late(self) -> None:
        self._refuse("REQUEST_TIMEOUT")

    def _refuse(self, code: str) -> None:
        self._host.refuse(self._came(), code)
        self._end()

    def _end(self) -> None:
        self._let_go()
        self.transport.abortConnection()

    def _let_go(self) -> None:
        self._timer.end()
        self._host.connections.discard(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        """Count it, unless all has been told."""
        if self in self._host.connections:
            self._let_go()
            self._host.refuse(self._came(), "CLIENT_GONE")
        self._host.has_closed()

    def drain(self) -> None:
        """End: it has not begun."""
        self._refuse("SHUTTING_DOWN")

    abort = drain

    def forget(self) -> None:
        """Have nothing to forget."""

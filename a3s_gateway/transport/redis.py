"""A connection to a Redis server that comes back by itself; txredisapi speaks the protocol."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen
from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger

from a3s_gateway.effects import RedisUnavailableError

_log = Logger()

PORT: Final = 6379
CONNECT_TIMEOUT: Final = 5.0  # seconds
GREETING_TIMEOUT: Final = 2.0  # seconds for the login and for the first answer
# Redis restarts within seconds, and whoever asks meanwhile is answered by policy.
_RETRY: Final = backoffPolicy(initialDelay=0.1, maxDelay=2.0, factor=1.6)


@frozen
class RedisAddress:
    """
    What a URL says: `redis://[user:password@]host[:port][/database]`, `rediss://`, `unix:///path`.

    `str` of it names the place without the credentials.
    """

    scheme: str
    place: str
    port: int
    database: int | None
    username: str | None
    password: str | None = field(repr=False)

    @classmethod
    def of(cls, url: str) -> RedisAddress:
        """Read a URL that the configuration has checked."""
        parts = urlsplit(url)
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password is not None else None
        if parts.scheme == "unix":
            return cls("unix", unquote(parts.path), 0, None, username, password)
        database = parts.path.strip("/")
        return cls(
            parts.scheme,
            parts.hostname or "",
            parts.port or PORT,
            int(database) if database else None,
            username,
            password,
        )

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.place}"
        return f"{self.scheme}://{self.place}:{self.port}"

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """Make what connects."""
        if self.scheme == "unix":
            return UNIXClientEndpoint(reactor, self.place, timeout=CONNECT_TIMEOUT)
        endpoint = HostnameEndpoint(reactor, self.place, self.port, timeout=CONNECT_TIMEOUT)
        if self.scheme == "rediss":
            return wrapClientTLS(optionsForClientTLS(self.place), endpoint)
        return endpoint


class Redis:
    """
    Commands for one server, over one connection.

    While the server is away, commands fail at once, but for those that come before the first
    attempt to connect has ended: they wait for it.

    Args:
        reactor: Whose timers are used.
        url: Where it is; its password never leaves this object.
        on_message: Hears (channel, message) of what is published on channels that match `pattern`.
        pattern: Of channels to listen on; with it the connection can do nothing else.

    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        pattern: bytes = b"",
        on_message: Callable[[bytes, bytes], None] | None = None,
    ) -> None:
        self.address = RedisAddress.of(url)
        self._reactor = reactor
        self._pattern = pattern
        self._on_message = on_message
        self._endpoint = self.address.endpoint(reactor)
        self._protocol: Any = None
        self._attempt: Deferred[None] | None = None
        self._next_attempt: IDelayedCall | None = None
        self._failures = 0  # attempts in a row
        self._was_told = False  # the log has heard that it is away
        self._is_closed = False
        self._waiting: list[Deferred[None]] = []  # for the first attempt
        self._connect()

    @property
    def is_connected(self) -> bool:
        """Whether a command would be sent at once."""
        return self._protocol is not None

    async def execute(self, *command: Any, within: float) -> Any:
        """
        Send a command and return its answer, `within` so many seconds.

        Raises:
            RedisUnavailableError: There was none, none in time, or it was an error.

        """
        import txredisapi  # noqa: PLC0415 - it imports the global reactor, which it must not choose

        protocol = self._protocol
        try:
            if protocol is None:
                protocol = await self._first_connected(within)
            return await protocol.execute_command(*command).addTimeout(within, self._reactor)
        except txredisapi.ResponseError as error:
            raise RedisUnavailableError(str(error)) from error
        except Exception as error:  # whatever a connection can die of
            # Nobody else is to wait for a server that does not answer; and what it says late must
            # not be taken for the answer to something else.
            self._is_lost(protocol, error)
            raise RedisUnavailableError(f"{self.address}: {error!r}") from error

    async def _first_connected(self, within: float) -> Any:
        if not self._failures and not self._is_closed:
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            await waiting.addTimeout(within, self._reactor)
        if self._protocol is None:
            raise RedisUnavailableError("away")
        return self._protocol

    def close(self) -> None:
        """Close, and do not come back."""
        self._is_closed = True
        if self._next_attempt is not None:
            self._next_attempt.cancel()
        if self._attempt is not None:
            self._attempt.cancel()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.transport.abortConnection()

    # -- the connection's life

    def _connect(self) -> None:
        self._next_attempt = None
        self._attempt = Deferred.fromCoroutine(self._try())

    async def _try(self) -> None:
        protocol: Any = None
        factory = _Factory(self.address)
        try:
            protocol = await self._endpoint.connect(factory)
            await protocol.whenConnected().addTimeout(GREETING_TIMEOUT, self._reactor)
            # Only when it has answered is it a connection: a stopped server accepts some, too.
            await self._ask(protocol).addTimeout(GREETING_TIMEOUT, self._reactor)
        except Exception as error:  # noqa: BLE001 - whatever a connection can die of
            if protocol is not None:
                protocol.transport.abortConnection()
            self._has_failed(factory.why_refused or repr(error))
        else:
            self._is_ready(protocol)
        finally:
            self._attempt = None
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def _is_ready(self, protocol: Any) -> None:
        self._protocol, self._failures = protocol, 0
        protocol.whenDisconnected().addCallback(self._is_lost, ConnectionLost())
        if self._was_told:
            self._was_told = False
            _log.info("Redis at {address} is back", address=str(self.address))

    def _is_lost(self, protocol: Any, error: Exception) -> None:
        if protocol is not None and self._protocol is protocol:
            self._protocol = None
            protocol.transport.abortConnection()
            self._has_failed(repr(error))

    def _has_failed(self, reason: str) -> None:
        if self._is_closed:
            return
        self._failures += 1
        self._next_attempt = self._reactor.callLater(_RETRY(self._failures), self._connect)
        if not self._was_told:
            self._was_told = True
            _log.warn(
                "Redis at {address} is away: {reason}", address=str(self.address), reason=reason
            )

    def _ask(self, protocol: Any) -> Any:
        if not self._pattern:
            return protocol.execute_command("PING")
        protocol.messageReceived = self._hear
        return protocol.psubscribe([self._pattern])

    def _hear(self, _pattern: bytes, channel: bytes, message: bytes) -> None:
        if self._on_message is not None:
            self._on_message(channel, message)


def redis_on(reactor: Any) -> Callable[[str], Redis]:
    """Prepare to connect, by this reactor, to what URLs name."""
    return partial(Redis, reactor)


class _Factory(Factory):
    """Makes what txredisapi speaks the protocol with, and takes part in what it does at a login."""

    noisy = False
    isLazy = False

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self.why_refused = ""

    def buildProtocol(self, addr: object) -> Any:  # noqa: ARG002 - Twisted's interface
        """Make one that logs in by itself, and leaves bytes alone."""
        from txredisapi import SubscriberProtocol  # noqa: PLC0415 - as in `execute`

        address = self._address
        protocol = SubscriberProtocol(
            charset=None,
            password=address.password,
            username=address.username,
            dbid=address.database,
            convertNumbers=False,
        )
        protocol.factory = self
        return protocol

    def stopTrying(self) -> None:
        """Go on nevertheless: whoever refused the login may be set right."""

    def connectionError(self, why: str) -> None:
        """Note why Redis does not want us."""
        self.why_refused = why

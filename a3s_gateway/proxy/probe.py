"""One look at a server: connect as requests do, and perhaps ask for a page."""

from __future__ import annotations

from typing import Final, cast

from attrs import define, field
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol

from a3s_gateway.body import NO_BODY, Body
from a3s_gateway.config.balancing import HealthCheckConfig
from a3s_gateway.errors import UpstreamError
from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Request
from a3s_gateway.service.health import ProbeError

from .http import HttpOrigin

MAX_DISCARDED: Final = 64 * 1024  # bytes of an answer read before its connection is cut off
_USER_AGENT: Final = ("User-Agent", "a3s-gateway-health-check")


@define(eq=False)
class ConnectProbe:
    """Asks whether a connection can be had, with a TLS handshake where the server has TLS."""

    _endpoint: IStreamClientEndpoint

    async def look(self) -> None:
        """Connect, and close; raises `ProbeError`."""
        factory = Factory.forProtocol(TwistedProtocol)
        factory.noisy = False
        try:
            connected = await self._endpoint.connect(factory)
        except Exception as error:  # whatever a transport raises; a `Task` cancels otherwise
            raise ProbeError(str(error) or type(error).__name__) from error
        cast(TwistedProtocol, connected).transport.loseConnection()  # type: ignore[union-attr]

    def close(self) -> None:
        """Do nothing: nothing is read."""


@define(eq=False)
class HttpProbe:
    """
    Asks for a page and looks at the status; redirects are answers like others.

    Args:
        origin: Keeps no connections, and is as patient as the probe.
        config: What to ask for.
        path: Of `config`.

    """

    _origin: HttpOrigin
    _config: HealthCheckConfig
    _path: str
    _headers: Headers = field(init=False)
    _body: Body = field(default=NO_BODY, init=False)  # of the last answer

    @_headers.default
    def _fields(self) -> Headers:
        given = Headers.of(*self._config.headers.items())
        return given if "user-agent" in given else Headers.of(_USER_AGENT).joined(given)

    async def look(self) -> None:
        """Ask; raises `ProbeError`."""
        self.close()
        try:
            response = await self._origin.forward(self._request())
        except UpstreamError as error:
            raise ProbeError(str(error)) from error
        # Read the rest in the background: a server that is cut off complains in its log.
        self._body = response.body
        response.body.pipe(_Discard(response.body))
        if not any(low <= response.status <= high for low, high in self._config.status):
            raise ProbeError(f"it answered {response.status}")

    def _request(self) -> Request:
        config = self._config
        path, mark, query = self._path.partition("?")
        authority = config.host or self._origin.authority
        return Request(
            config.method, path, query if mark else None, authority, authority, 11, "http",
            self._headers, Body.of(b""), "", Exchange("", "", 0.0),
        )  # fmt: skip

    def close(self) -> None:
        """Cut the last answer off, should it still come."""
        self._body.close()
        self._body = NO_BODY


@define(eq=False)
class _Discard:
    """Reads an answer that nobody wants, up to a limit."""

    _body: Body
    _left: int = field(default=MAX_DISCARDED, init=False)

    def write(self, data: bytes) -> None:
        """Count it."""
        self._left -= len(data)
        if self._left < 0:
            self._body.close()

    def finish(self, trailers: Headers) -> None:
        """Be done."""

    def fail(self, error: Exception) -> None:
        """Be done: the head is what counts."""

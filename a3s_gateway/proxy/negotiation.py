"""Which version of HTTP a server with TLS speaks: it chooses by ALPN (RFC 7301)."""

from __future__ import annotations

from attrs import define, field

from a3s_gateway.errors import UpstreamConnectError

from .connection import UpstreamConnection
from .http2_pool import Http2Pool
from .http2_stream import UpstreamStream
from .pool import Pool


class SpeaksHttp1Error(UpstreamConnectError):
    """A connection is there, and the server does not want to speak HTTP/2 on it."""


@define(eq=False)
class NegotiatedPool:
    """
    The connections to one server of which the first one decides what all are.

    It is asked anew when none is left: another version of the server may speak another one.

    Args:
        http1: Its connections offer HTTP/1.1 alone.
        http2: Its connections offer both; one on which the server has chosen HTTP/1.1 is given to
            `http1`, and `SpeaksHttp1Error` raised.

    """

    http1: Pool
    http2: Http2Pool
    _is_http2: bool = field(default=True, init=False)

    @property
    def open(self) -> int:
        """How many connections there are, idle ones and those being opened included."""
        return self.http1.open + self.http2.open

    @property
    def idle(self) -> int:
        """How many of them nobody uses."""
        return self.http1.idle + self.http2.idle

    def take(self) -> UpstreamConnection | UpstreamStream | None:
        """Return what can carry a request at once, if there is any."""
        return self.http2.take() if self._is_http2 else self.http1.take()

    async def fresh(self) -> UpstreamConnection | UpstreamStream:
        """Do as that of the pool in use does."""
        if self._is_http2 or not self.http1.open:
            try:
                stream = await self.http2.fresh()
            except SpeaksHttp1Error:
                self._is_http2 = False
            else:
                self._is_http2 = True
                return stream
        return self.http1.take() or await self.http1.fresh()

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""
        self.http1.close()
        self.http2.close()

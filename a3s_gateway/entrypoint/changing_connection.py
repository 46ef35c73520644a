"""The ways from HTTP/1.1 to another protocol on the same connection."""

from __future__ import annotations

import base64
import binascii
from random import getrandbits
from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.interfaces import IHandshakeListener
from zope.interface import implementer

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import EMPTY_HEADERS
from a3s_gateway.protocol.codec import Head
from a3s_gateway.protocol.http1.request_head import Http2PrefaceError
from a3s_gateway.protocol.http1.server import Http1Server
from a3s_gateway.transport.switching import hand_over

from .client_connection import ClientConnection
from .http2_connection import Http2Connection

if TYPE_CHECKING:
    from .http_service import HttpFactory


@implementer(IHandshakeListener)
class ChangingConnection(ClientConnection):
    """
    A connection that begins with HTTP/1.1 and may go on with something else.

    HTTP/2 is chosen by ALPN, by its preface in place of a first request, or, without TLS, by
    `Upgrade: h2c`.
    """

    def __init__(self, factory: HttpFactory) -> None:
        super().__init__(factory)
        self._codec = Http1Server(factory.limits)

    def handshakeCompleted(self) -> None:
        """Speak what was agreed on by ALPN."""
        if self.transport.negotiatedProtocol == b"h2":
            self._go_on_with(Http2Connection(self.factory))

    def _go_on_with(self, other: ClientConnection) -> None:
        """Hand the transport over; this object is done."""
        self._timer.end()
        self.factory.connections.discard(self)
        hand_over(self.transport, other)

    def _has_begun_http2(self, error: RemoteProtocolError) -> bool:
        """Go on with HTTP/2 if what was found wrong is how that begins."""
        codec, factory = self._codec, self.factory
        if not isinstance(error, Http2PrefaceError) or not codec.is_fresh or factory.http2 is None:
            return False
        self._go_on_with(Http2Connection(factory, codec.take_unread()))
        return True

    @property
    def _may_be_of_another_protocol(self) -> bool:
        """Whether what looks unlike HTTP can be none: who sends that understands no answer."""
        return self._codec.is_fresh and self.factory.scheme == "http"

    def _has_changed_to_http2(self, head: Head) -> bool:
        """Go on with HTTP/2 if a request asks for it as it should; else it is an ordinary one."""
        factory, codec = self.factory, self._codec
        if factory.http2 is None or factory.scheme != "http" or head.length != 0:
            return False
        offered = [name.strip() for name in head.upgrade.lower().split(",")]
        settings = _decoded(head.http2_settings)
        if "h2c" not in offered or settings is None:
            return False
        request_id = head.request_id or f"{getrandbits(128):032x}"
        first, rest = codec.switch_protocols("h2c", EMPTY_HEADERS, request_id)
        self.transport.write(first)
        upgraded = (evolve(head, request_id=request_id), settings)
        self._go_on_with(Http2Connection(factory, rest, upgraded))
        return True


def _decoded(settings: str) -> bytes | None:
    """Return the payload that an HTTP2-Settings field is (RFC 7540 §3.2.1); None if it is none."""
    try:
        payload = base64.b64decode(settings + "=" * (-len(settings) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    return payload if len(payload) % 6 == 0 else None

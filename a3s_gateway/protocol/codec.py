"""
What a codec says and hears: one vocabulary for every version of HTTP.

A codec turns received bytes into events (`receive_data`; a client's `receive_eof`) and messages to
be sent into bytes (`send_…`, which return what to write). A peer's fault is raised as
`RemoteProtocolError`, ours as `LocalProtocolError`. Nothing above it knows the version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from a3s_gateway.headers import EMPTY_HEADERS, Headers

if TYPE_CHECKING:
    from attrs import frozen as event

    from a3s_gateway.errors import RemoteProtocolError
else:
    event = define  # as for the heads in http.py: frozen for the checker only

CHUNKED: Final = -1  # as a length: delimited by the transfer coding
UNTIL_CLOSE: Final = -2  # as a length: delimited by the end of the connection
RESET_BY_PEER: Final = "reset by the peer"  # the reason of a `Reset` that is not ours


@event(eq=False)
class Head:
    """
    A request began.

    Attributes:
        host: For matching: lower case, no port, no trailing dot.
        authority: As it goes upstream.
        headers: The end-to-end fields alone.
        length: Of the body in bytes; 0 for none, or `CHUNKED`.
        forwarded: What the peer says of those before it (X-Forwarded-…, Forwarded).
        request_id: The value of X-Request-Id when it is sane, else empty.
        expects_continue: The client waits for a 100 before it sends the body.
        upgrade: The protocols of an Upgrade field that Connection names, as sent; else empty.
        stream: Its number; always 0 in HTTP/1.
        http2_settings: The value of HTTP2-Settings, where it asks to change to HTTP/2.

    """

    method: str
    path: str
    query: str | None
    host: str
    authority: str
    version: int
    headers: Headers
    length: int
    forwarded: tuple[tuple[str, str], ...] = ()
    request_id: str = ""
    expects_continue: bool = False
    keep_alive: bool = True
    upgrade: str = ""
    stream: int = 0
    http2_settings: str = ""


@event(eq=False)
class ResponseHead:
    """
    The final head of a response came; `length` also may be `CHUNKED` or `UNTIL_CLOSE`.

    `announced` is what Content-Length said, if there was one: where no body may follow
    (HEAD, 304), `length` is 0 whatever it says.
    """

    status: int
    reason: str
    headers: Headers
    length: int
    keep_alive: bool
    announced: int | None = None
    stream: int = 0


@event(eq=False)
class Informational:
    """A 1xx response came; the final one is still to come."""

    status: int
    reason: str
    headers: Headers
    stream: int = 0


@event(eq=False)
class Data:
    """Bytes of a body; `is_last` when the message ends with them."""

    data: bytes
    is_last: bool
    stream: int = 0


@event(eq=False)
class End:
    """The message ended."""

    trailers: Headers = field(default=EMPTY_HEADERS)
    stream: int = 0


@event(eq=False)
class Refused:
    """A request came whole enough to be answered, but must not be served; `error` says why."""

    error: RemoteProtocolError
    stream: int


@event(eq=False)
class Reset:
    """A stream ended before its time; `code` is HTTP/2's, `reason` says whose doing it was."""

    stream: int
    code: int
    reason: str


@event(eq=False)
class WindowOpened:
    """All that waited in a stream is on its way: more may be sent."""

    stream: int


@event(eq=False)
class GoingAway:
    """The peer begins no streams any more, or answers none above `last_stream`."""

    last_stream: int
    code: int


@event(eq=False)
class Closed:
    """The connection is over by a fault of the peer's; what is to be sent tells it so."""

    code: int
    reason: str


ServerEvent = Head | Data | End
ClientEvent = ResponseHead | Informational | Data | End
Http2Event = (
    Head
    | ResponseHead
    | Informational
    | Data
    | End
    | Refused
    | Reset
    | WindowOpened
    | GoingAway
    | Closed
)

"""Lets clients of gRPC-Web call servers of gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, evolve

from a3s_gateway.body import Body
from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import Header, Headers
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.protocol.grpc_web import (
    Base64Decoder,
    read_type,
    to_base64,
    trailers_frame,
    write_type,
)

_TE: Final = Header.of("TE", "trailers")


@define(eq=False)
class GrpcWeb:
    """Translates calls of gRPC-Web for the rest of a route; other requests pass as they are."""

    next: Handler

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        kind = read_type(request.headers.find("content-type") or "")
        if kind is None or request.method != "POST":
            return await self.next(request)
        is_text, content_type = kind
        response = await self.next(_as_grpc(request, content_type, is_text=is_text))
        accepted = read_type(request.headers.find("accept") or "")
        return _as_web(response, is_text=is_text if accepted is None else accepted[0])


def _as_grpc(request: Request, content_type: str, *, is_text: bool) -> Request:
    headers = request.headers.without("content-type", "te").plus(
        Header.of("Content-Type", content_type), _TE
    )
    body = request.body
    if is_text and not (body.is_complete and body.length == 0):
        decoder = Base64Decoder()
        body = Translation(body, decoder.feed, decoder.finish).body
    return evolve(request, headers=headers, body=body)


def _as_web(response: Response, *, is_text: bool) -> Response:
    headers = response.headers
    content_type = write_type(headers.find("content-type") or "", is_text=is_text)
    if content_type is None:
        return response
    headers = headers.replaced("Content-Type", content_type)
    if "grpc-status" in headers:  # trailers-only: they may stay in the head
        return evolve(response, headers=headers)
    encode = to_base64 if is_text else bytes
    translation = Translation(
        response.body, encode, lambda trailers: encode(trailers_frame(trailers))
    )
    return evolve(response, headers=headers, body=translation.body)


class Translation:
    """
    A body made of another, piece by piece: the sink of the one and the source of the other.

    Args:
        origin: What is translated.
        change: Translates a piece; raises `ValueError`.
        end: Makes the last piece of the trailers.

    """

    def __init__(
        self,
        origin: Body,
        change: Callable[[bytes], bytes],
        end: Callable[[Headers], bytes],
    ) -> None:
        self._origin = origin
        self._change = change
        self._end = end
        self.body = Body(self, None)
        self.body.ask = origin.ask
        self.body.owns(origin.close)
        origin.pipe(self)

    # -- Sink

    def write(self, data: bytes) -> None:
        """Translate the next piece."""
        try:
            changed = self._change(data)
        except ValueError as error:
            self.body.fail(RemoteProtocolError(str(error)))
            return
        if changed:
            self.body.feed(changed)

    def finish(self, trailers: Headers) -> None:
        """Translate the end."""
        try:
            last = self._end(trailers)
        except ValueError as error:
            self.body.fail(RemoteProtocolError(str(error)))
            return
        if last:
            self.body.feed(last)
        self.body.end()

    def fail(self, error: Exception) -> None:
        """Hand on that there is no end."""
        self.body.fail(error)

    # -- Source

    def pause(self) -> None:
        """Hold the origin back."""
        self._origin.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._origin.resume()

    def cancel(self) -> None:
        """Drop the rest."""
        self._origin.close()

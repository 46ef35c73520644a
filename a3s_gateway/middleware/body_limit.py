"""`type = "body-limit"`: refuse large requests."""

from __future__ import annotations

from attrs import define, evolve, frozen

from a3s_gateway.body import Body
from a3s_gateway.config.kinds import size
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key
from a3s_gateway.effects import Effects
from a3s_gateway.errors import GatewayError
from a3s_gateway.headers import Headers
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class BodyLimitConfig(Settings):
    """Answers 413 to a request whose body is too large."""

    max_body_bytes: int = key(size(1), "The largest body that passes.", example='"10MB"')


@define(eq=False)
class BodyLimit:
    """
    Refuse a body at once where its length is told, and otherwise when it turns out too large.

    Of the latter nothing beyond the limit reaches the backend; if its answer has begun, that
    is cut off. What follows in a tunnel is no body.
    """

    config: BodyLimitConfig

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer by `next`, or refuse."""
        body, limit = request.body, self.config.max_body_bytes
        if body.length is not None:
            if body.length > limit:
                raise _too_large(limit)
            return await next(request)
        if request.upgrade:
            return await next(request)
        limited = Limited(body, limit)
        if limited.is_over:
            raise _too_large(limit)
        return await next(evolve(request, body=limited.body))


class Limited:
    """
    The source of a body that fails when another, which it passes on, is too large.

    Args:
        inner: Piped here.
        limit: Bytes.

    Attributes:
        body: What to read instead.
        is_over: There were more.

    """

    def __init__(self, inner: Body, limit: int) -> None:
        self.body = Body(self)
        self.body.ask = inner.ask
        self.is_over = False
        self._inner = inner
        self._limit = limit
        self._left = limit
        inner.pipe(self)

    # -- Sink of the inner body

    def write(self, data: bytes) -> None:
        """Pass the next bytes on, or none any more."""
        if self.is_over:
            return
        self._left -= len(data)
        if self._left < 0:
            self.is_over = True
            self.body.fail(_too_large(self._limit))
        else:
            self.body.feed(data)

    def finish(self, trailers: Headers) -> None:
        """End it."""
        if not self.is_over:
            self.body.end(trailers)

    def fail(self, error: Exception) -> None:
        """Fail with it."""
        self.body.fail(error)

    # -- Source

    def pause(self) -> None:
        """Hold the client back."""
        self._inner.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._inner.resume()

    def cancel(self) -> None:
        """Drop the rest."""
        self.is_over = True
        self._inner.close()


def _too_large(limit: int) -> GatewayError:
    return GatewayError("BODY_TOO_LARGE", f"more than {limit} bytes")


def _build(config: BodyLimitConfig, _: Effects) -> BodyLimit:
    return BodyLimit(config)


PLUGIN = Plugin("middleware", "body-limit", BodyLimitConfig, _build)

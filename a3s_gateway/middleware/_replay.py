"""The body of a request that may have to be sent again, kept within bounds."""

from __future__ import annotations

from a3s_gateway.body import Body
from a3s_gateway.headers import Headers


async def keep(body: Body, limit: int) -> tuple[Body, bytes | None]:
    """
    Read a body that is to be sent perhaps more than once.

    Returns:
        A body to be sent first, and all its bytes; None in their place if it is longer than
        `limit`, so that it can be sent once only.

    """
    if body.length is not None and body.length > limit:
        return body, None
    parts: list[bytes] = []
    size = 0
    async for part in body:
        parts.append(part)
        size += len(part)
        if size > limit:
            return Continued(b"".join(parts), body).body, None
    if body.trailers:
        return Continued(b"".join(parts), body).body, None  # they would be lost
    data = b"".join(parts)
    return Body.of(data), data


class Continued:
    """A body of which something was read: that, and then the rest as it comes."""

    def __init__(self, begun: bytes, rest: Body) -> None:
        self.body = Body(self, rest.length)
        self._rest = rest
        self.body.feed(begun)
        rest.pipe(self)

    # -- Source of the new body

    def pause(self) -> None:
        """Hold the client back."""
        self._rest.pause()

    def resume(self) -> None:
        """Let the client go on."""
        self._rest.resume()

    def cancel(self) -> None:
        """Drop the rest."""
        self._rest.close()

    # -- Sink of the old one

    def write(self, data: bytes) -> None:
        """Hand the next bytes on."""
        self.body.feed(data)

    def finish(self, trailers: Headers) -> None:
        """Hand the end on."""
        self.body.end(trailers)

    def fail(self, error: Exception) -> None:
        """Hand on that there will be no end."""
        self.body.fail(error)

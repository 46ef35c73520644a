"""`type = "forward-auth"`: let another service decide."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from attrs import define, evolve, field, frozen

from a3s_gateway.body import NO_BODY, Body, BodyTooLargeError
from a3s_gateway.config.address import HTTP_URL, ServerUrl
from a3s_gateway.config.kinds import FLAG, HEADER_NAME, duration, size
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys
from a3s_gateway.effects import AwayError, Client, Effects
from a3s_gateway.errors import UpstreamError, refuse
from a3s_gateway.headers import Header, Headers, folded
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.plugin import Plugin

# They are about the answer to the client's request, or are for us to say.
_NOT_ASKED: Final = frozenset(
    {
        "range", "if-range", "if-match", "if-none-match", "if-modified-since",
        "if-unmodified-since", "accept-encoding", "x-forwarded-method", "x-forwarded-uri",
    }
)  # fmt: skip
_WITHOUT_BODY: Final = _NOT_ASKED | {"content-type", "content-encoding", "content-language"}


@frozen(kw_only=True)
class ForwardAuthConfig(Settings):
    """Asks a service about each request, and refuses what that refuses."""

    forward_auth_url: ServerUrl = key(
        HTTP_URL, "Whom to ask.", example='"http://127.0.0.1:9000/verify"'
    )
    forward_auth_response_headers: tuple[str, ...] = keys(
        HEADER_NAME,
        "Fields of its answer that are handed on to the backend, in place of the client's.",
        example='["X-Auth-User"]',
    )
    timeout: float = key(duration(0.001), "Until it has answered.", default=5.0)
    forward_body: bool = key(FLAG, "Send it the request's body as well.", default=False)
    max_body_bytes: int = key(
        size(), "How large that may be; a larger one is refused.", default=64 * 1024
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse a limit for what is not sent."""
        if "max_body_bytes" in self.place.nodes and not self.forward_body:
            yield Mistake("max_body_bytes", '"max_body_bytes" needs forward_body = true')


@define(eq=False)
class ForwardAuth:
    """
    Ask whether a request may pass; any answer but 2xx goes to the client as it is.

    A redirect is such an answer: followed here it would end at a login page, whose 200 would
    let everybody in.
    """

    config: ForwardAuthConfig
    client: Client
    complain: Callable[[Exception], None]
    _listed: frozenset[str] = field(init=False)

    @_listed.default
    def _lower(self) -> frozenset[str]:
        return frozenset(folded(name.lower()) for name in self.config.forward_auth_response_headers)

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Pass the request on with what the service says of it, or its answer back."""
        body: Body | None = None
        if self.config.forward_body and not request.upgrade:
            try:
                data = await request.body.read(self.config.max_body_bytes)
            except BodyTooLargeError:
                return refuse(request, "BODY_TOO_LARGE")
            request, body = evolve(request, body=Body.of(data)), Body.of(data)
        try:
            answer = await self._ask(request, body)
        except UpstreamError as error:
            self.complain(AwayError(str(error)))
            return refuse(request, "AUTH_UNAVAILABLE")
        if not 200 <= answer.status < 300:
            if not answer.body.is_complete:
                request.exchange.on_close(answer.body.close)
            return answer
        answer.body.close()
        kept = (each for each in request.headers if folded(each.name) not in self._listed)
        said = (each for each in answer.headers if folded(each.name) in self._listed)
        return await next(request.with_headers(Headers((*kept, *said))))

    async def _ask(self, request: Request, body: Body | None) -> Response:
        method = "GET" if body is None else request.method
        left_out = _WITHOUT_BODY if body is None else _NOT_ASKED
        headers = Headers(
            (
                *(each for each in request.headers if folded(each.name) not in left_out),
                Header.of("X-Forwarded-Method", request.method),
                Header.of("X-Forwarded-Uri", request.target),
            )
        )
        request_id = request.exchange.request_id
        return await self.client.ask(method, headers, body or NO_BODY, request_id)

    def close(self) -> None:
        """Ask no more."""
        self.client.close()


def _build(config: ForwardAuthConfig, effects: Effects) -> ForwardAuth:
    client = effects.client(config.forward_auth_url.text, config.timeout)
    return ForwardAuth(config, client, partial(effects.complain, effects.name))


PLUGIN = Plugin("middleware", "forward-auth", ForwardAuthConfig, _build)

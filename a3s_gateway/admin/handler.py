"""`api@internal`: the admin API as a service that a router may name."""

from __future__ import annotations

from a3s_gateway.admin.answers import Asked
from a3s_gateway.admin.resources import Api
from a3s_gateway.body import Body
from a3s_gateway.headers import Headers, date
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.proxy.internal import Wall


def api_handler(api: Api, wall: Wall) -> Handler:
    """Answer on a route as on the API's own listener: the token is asked for here, too."""

    async def answer(request: Request) -> Response:
        credentials = request.headers.all("authorization")
        asked = Asked(
            request.method,
            request.path,
            request.query or "",
            request.client,
            credentials[0] if len(credentials) == 1 else None,
        )
        found = await api.answer(asked)
        headers = Headers.of(
            ("Content-Type", found.content_type),
            ("Cache-Control", "no-store"),
            *found.headers,
        ).plus(date(wall()))
        return Response(found.status, headers, Body.of(found.body))

    return answer

"""`type = "forward-auth"`: let another service decide."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.address import HTTP_URL, ServerUrl
from a3s_gateway.config.kinds import HEADER_NAME
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key, keys
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class ForwardAuthConfig(Settings):
    """Asks a service about each request, and refuses what that refuses."""

    forward_auth_url: ServerUrl = key(
        HTTP_URL, "Whom to ask.", example='"http://127.0.0.1:9000/verify"'
    )
    forward_auth_response_headers: tuple[str, ...] = keys(
        HEADER_NAME,
        "Fields of its answer that are handed on to the backend.",
        example='["X-Auth-User"]',
    )


PLUGIN = Plugin("middleware", "forward-auth", ForwardAuthConfig)

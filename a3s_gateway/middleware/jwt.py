"""`type = "jwt"`: answer only requests with a valid token."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from a3s_gateway.config.kinds import HEADER_NAME, WORD
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key
from a3s_gateway.plugin import Plugin

SHORTEST_SECRET = 32  # bytes; RFC 7518 §3.2 for HS256


@frozen(kw_only=True)
class JwtConfig(Settings):
    """Verifies JSON web tokens signed with HS256."""

    value: str = key(
        WORD, "The secret that tokens are signed with.", secret=True, example='"${JWT_SECRET}"'
    )
    header: str = key(HEADER_NAME, "Field that carries the token.", default="Authorization")

    def mistakes(self) -> Iterator[Mistake]:
        """Warn of a secret that can be guessed."""
        if len(self.value.encode()) < SHORTEST_SECRET:
            message = f"the secret is shorter than {SHORTEST_SECRET} bytes and could be guessed"
            hint = "make one with: openssl rand -base64 32"
            yield Mistake("value", message, hint, severity="warning")


PLUGIN = Plugin("middleware", "jwt", JwtConfig)

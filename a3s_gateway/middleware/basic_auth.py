"""`type = "basic-auth"`: ask for a user name and a password."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from a3s_gateway.config.kinds import WORD
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class BasicAuthConfig(Settings):
    """One user, by HTTP Basic authentication."""

    username: str = key(WORD, "Name of the user.", example='"admin"')
    password: str = key(WORD, "Password of the user.", secret=True, example='"${PASSWORD}"')

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse a name that could never be sent: the first colon ends it (RFC 7617 §2)."""
        if ":" in self.username:
            yield Mistake("username", '"username" must not contain a colon')


PLUGIN = Plugin("middleware", "basic-auth", BasicAuthConfig)

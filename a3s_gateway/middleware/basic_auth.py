"""`type = "basic-auth"`: ask for a user name and a password (RFC 7617)."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

import hmac
import secrets
from base64 import b64decode
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from attrs import define, field, frozen

from a3s_gateway.config.kinds import FLAG, WORD
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys
from a3s_gateway.effects import Effects
from a3s_gateway.errors import refuse
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._passwords import is_known, verify
from a3s_gateway.plugin import Plugin
from a3s_gateway.protocol.cache import TwoGenerations

REMEMBERED: Final = 1000  # pairs that were right, as keyed hashes; twice as many at most
AT_ONCE: Final = 32  # passwords being verified; each takes a core for a tenth of a second


@frozen(kw_only=True)
class BasicAuthConfig(Settings):
    """Users with passwords, by HTTP Basic authentication."""

    username: str | None = key(WORD, "Name of a user.", default=None, example='"admin"')
    password: str | None = key(
        WORD, "Password of that user.", default=None, secret=True, example='"${PASSWORD}"'
    )
    users: tuple[str, ...] = keys(
        WORD,
        "More users, as lines of htpasswd: bcrypt (`htpasswd -nB alice`) or SHA-crypt "
        "(`openssl passwd -6`).",
        secret=True,
        example='["alice:$2y$10$uKtmE7aaBzjGsvfv6E3MXe5ju.EnXYxyrfjd9T8Ab97a1hwS2nJtW"]',
    )
    realm: str = key(WORD, "What browsers say the password is for.", default="a3s-gateway")
    forward: bool = key(
        FLAG, "Leave user name and password in the request to the backend.", default=False
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse users that nobody can be."""
        for given, other in (("username", "password"), ("password", "username")):
            if getattr(self, given) is not None and getattr(self, other) is None:
                yield Mistake(given, f'"{given}" needs "{other}" as well')
        if self.username is None and self.password is None and not self.users:
            message = "basic-auth middleware requires 'username' and 'password', or 'users'"
            yield Mistake("", message)
        if self.username is not None and ":" in self.username:  # the first one ends it; §2
            yield Mistake("username", '"username" must not contain a colon')
        if '"' in self.realm or "\\" in self.realm or not self.realm.isascii():
            yield Mistake("realm", '"realm" must be ASCII, without quotes and backslashes')
        for index, line in enumerate(self.users):
            name, colon, hashed = line.partition(":")
            if not name or not colon or not is_known(hashed):
                message = "an entry of users must be a name, a colon, and a bcrypt or SHA-crypt"
                hint = "make one with: htpasswd -nB NAME"
                yield Mistake("users", message, hint, item=index)


@define(eq=False)
class BasicAuth:
    """
    Refuse who is no user.

    A hash that is slow to verify is verified in a thread; a pair that was right is remembered
    by its keyed hash, so that a user costs that time once. Names that do not exist take as long
    as those that do.
    """

    config: BasicAuthConfig
    effects: Effects
    _plain: tuple[bytes, bytes] | None = field(init=False)
    _users: dict[str, str] = field(init=False)
    _decoy: str = field(init=False)
    _challenge: tuple[str, str] = field(init=False)
    _key: bytes = field(factory=lambda: secrets.token_bytes(32), init=False)
    _known: TwoGenerations[bytes, str] = field(
        factory=lambda: TwoGenerations[bytes, str](REMEMBERED), init=False
    )
    _verifying: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        config = self.config
        self._users = dict(_entry(line) for line in config.users)
        self._decoy = next(iter(self._users.values()), "")
        self._plain = None
        if config.username is not None and config.password is not None:
            self._plain = config.username.encode(), config.password.encode()
        value = f'Basic realm="{config.realm}", charset="UTF-8"'
        self._challenge = ("WWW-Authenticate", value)

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Pass the request on without its password, or refuse it."""
        given = request.headers.find("authorization")
        scheme, _, token = (given or "").partition(" ")
        if scheme.lower() != "basic":
            return self._refuse(request, "Missing Authorization header")
        pair = _decoded(token.strip())
        if pair is None:
            return self._refuse(request)
        user = self._find(*pair)
        if user is None and self._users:
            if self._verifying >= AT_ONCE:
                return refuse(request, "AUTH_BUSY", ("Retry-After", "1"))
            user = await self._verify(*pair)
        if user is None:
            return self._refuse(request)
        request.exchange.user = user
        if self.config.forward:
            return await next(request)
        return await next(request.with_headers(request.headers.without("authorization")))

    def _refuse(self, request: Request, message: str = "") -> Response:
        return refuse(request, "INVALID_CREDENTIALS", self._challenge, message=message)

    def _find(self, name: bytes, password: bytes) -> str | None:
        """Compare with the user whose password is here, and with those who were here before."""
        if self._plain is not None:
            is_name = hmac.compare_digest(name, self._plain[0])
            if hmac.compare_digest(password, self._plain[1]) and is_name:
                return self.config.username
        return self._known.get(self._condensed(name, password)) if self._users else None

    async def _verify(self, name: bytes, password: bytes) -> str | None:
        user = name.decode("utf-8", "replace")
        hashed = self._users.get(user)
        against = self._decoy if hashed is None else hashed
        self._verifying += 1
        try:
            is_right = await self.effects.in_thread(lambda: verify(password, against))
        finally:
            self._verifying -= 1
        if not is_right or hashed is None:
            return None
        self._known.put(self._condensed(name, password), user)
        return user

    def _condensed(self, name: bytes, password: bytes) -> bytes:
        return hmac.digest(self._key, name + b":" + password, sha256)


def _entry(line: str) -> tuple[str, str]:
    name, _, hashed = line.partition(":")
    return name, hashed


def _decoded(token: str) -> tuple[bytes, bytes] | None:
    """Read user name and password, strictly; None if they are not there."""
    try:
        name, colon, password = b64decode(token, validate=True).partition(b":")
    except ValueError:
        return None
    return (name, password) if colon else None


def _build(config: BasicAuthConfig, effects: Effects) -> BasicAuth:
    return BasicAuth(config, effects)


PLUGIN = Plugin("middleware", "basic-auth", BasicAuthConfig, _build)

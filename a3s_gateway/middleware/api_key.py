"""`type = "api-key"`: answer only clients that know a key."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Final
from urllib.parse import unquote_plus

from attrs import define, evolve, field, frozen

from a3s_gateway.config.kinds import FLAG, HEADER_NAME, WORD
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, Section, blocks, key, keys
from a3s_gateway.effects import Effects
from a3s_gateway.errors import refuse
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.plugin import Plugin

_HASH: Final = "sha256:"
_DIGITS: Final = re.compile(r"[0-9a-fA-F]{64}")


@frozen(kw_only=True)
class NamedKeyConfig(Section):
    """A key and whose it is."""

    name: str = key(WORD, "Whose it is, for limits and the log.", example='"acme"')
    key: str = key(WORD, "The key, or `sha256:` and its hash.", secret=True, example='"${API_KEY}"')

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse what looks like a hash and is none."""
        if _is_half_a_hash(self.key):
            yield Mistake("key", _HALF, _HOW)


@frozen(kw_only=True)
class ApiKeyConfig(Settings):
    """Asks for a key in a header field, or in the query."""

    header: str = key(HEADER_NAME, "Field that carries the key.", default="X-API-Key")
    query: str | None = key(
        WORD,
        "Parameter of the query that may carry it as well.",
        default=None,
        example='"api_key"',
    )
    keys: tuple[str, ...] = keys(
        WORD,
        "Keys that are accepted, each as it is or as `sha256:` and 64 hexadecimal digits.",
        secret=True,
        example='["${API_KEY}"]',
    )
    clients: tuple[NamedKeyConfig, ...] = blocks(
        NamedKeyConfig,
        "Keys with a name each; those of `keys` are called `key-1`, `key-2` and so on.",
        example='[{ name = "acme", key = "${API_KEY}" }]',
    )
    forward: bool = key(FLAG, "Leave the key in the request to the backend.", default=False)

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse a door that nobody can open."""
        if not self.keys and not self.clients:
            hint = 'write keys = ["${API_KEY}"]'
            yield Mistake("", "api-key middleware requires at least one key", hint)
        for index, each in enumerate(self.keys):
            if _is_half_a_hash(each):
                yield Mistake("keys", _HALF, _HOW, item=index)


_HALF: Final = "what follows sha256: must be 64 hexadecimal digits"
_HOW: Final = "printf %s KEY | sha256sum"


def _is_half_a_hash(text: str) -> bool:
    return text.startswith(_HASH) and _DIGITS.fullmatch(text.removeprefix(_HASH)) is None


@define(eq=False)
class ApiKey:
    """
    Refuse who does not know a key.

    Keys are compared by their hashes: how long that takes says nothing of how near a guess is,
    and however many there are, it is one look-up.
    """

    config: ApiKeyConfig
    _names: dict[bytes, str] = field(init=False)
    _field: str = field(init=False)
    _challenge: tuple[str, str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        config = self.config
        self._names = {_digest(each): f"key-{n}" for n, each in enumerate(config.keys, 1)}
        self._names |= {_digest(each.key): each.name for each in config.clients}
        self._field = config.header.lower()
        self._challenge = ("WWW-Authenticate", f'ApiKey header="{config.header}"')

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Pass the request on without its key, or refuse it."""
        given = request.headers.find(self._field)
        rest = request.query
        if self.config.query is not None and rest is not None:
            asked, rest = _taken(self.config.query, rest)
            given = asked if given is None else given
        name = None
        if given is not None:
            name = self._names.get(sha256(given.encode("utf-8", "surrogateescape")).digest())
        if name is None:
            return refuse(request, "INVALID_API_KEY", self._challenge)
        exchange = request.exchange
        exchange.key_name = exchange.user = name
        if self.config.forward:
            return await next(request)
        onward = request.with_headers(request.headers.without(self._field))
        return await next(onward if rest == request.query else evolve(onward, query=rest))


def _digest(text: str) -> bytes:
    if text.startswith(_HASH):
        return bytes.fromhex(text.removeprefix(_HASH))
    return sha256(text.encode()).digest()


def _taken(name: str, query: str) -> tuple[str | None, str | None]:
    """Take a parameter out of a query; the rest stays as it is written, None if there is none."""
    rest, value = [], None
    for part in query.split("&"):
        key, _, given = part.partition("=")
        if unquote_plus(key) != name:
            rest.append(part)
        elif value is None:
            value = unquote_plus(given)
    if value is None:
        return None, query
    return value, "&".join(rest) or None


def _build(config: ApiKeyConfig, _: Effects) -> ApiKey:
    return ApiKey(config)


PLUGIN = Plugin("middleware", "api-key", ApiKeyConfig, _build)

"""Who knows a key gets in, and its name is known."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.middleware.api_key import ApiKey, ApiKeyConfig, NamedKeyConfig
from a3s_gateway.testing import Answer, ask, request


def answer(target: str = "/", *, key: str | None = None, **config: Any) -> Answer:
    middleware = ApiKey(ApiKeyConfig(**{"keys": ("one", "two"), **config}))
    fields = [] if key is None else [("X-API-Key", key)]
    return ask(middleware, request(target, fields=fields))


def test_a_known_key() -> None:
    """The backend does not get it, limits and log get its name."""
    got = answer(key="two").forwarded
    assert got is not None
    assert "x-api-key" not in got.headers
    assert got.exchange.key_name == "key-2"
    assert got.exchange.user == "key-2"


@pytest.mark.parametrize("key", [None, "", "three", "tw", "ONE", "sha256:" + "0" * 64])
def test_no_key_or_another(key: str | None) -> None:
    """It is refused with the text of old; the answer says what is wanted."""
    refused = answer(key=key)
    assert (refused.status, refused.code) == (401, "INVALID_API_KEY")
    assert b'"error": "Invalid or missing API key"' in refused.body
    assert refused.headers.find("content-type") == "application/json"
    assert refused.headers.find("www-authenticate") == 'ApiKey header="X-API-Key"'
    assert refused.forwarded is None


def test_keys_by_their_hash() -> None:
    """The configuration need not hold the key; its hash opens nothing."""
    hashed = "sha256:" + sha256(b"three").hexdigest().upper()
    assert answer(key="three", keys=(hashed,)).status == 200
    assert answer(key=hashed, keys=(hashed,)).status == 401


def test_clients_have_names() -> None:
    """Beside those that are only counted."""
    acme = NamedKeyConfig(name="acme", key="three")
    got = answer(key="three", clients=(acme,)).forwarded
    assert got is not None
    assert got.exchange.key_name == "acme"


def test_another_field() -> None:
    """In whatever case it is written."""
    middleware = ApiKey(ApiKeyConfig(keys=("one",), header="X-Partner"))
    assert ask(middleware, request(fields=[("x-PARTNER", "one")])).status == 200
    assert ask(middleware, request(fields=[("X-API-Key", "one")])).status == 401


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        ("api_key=one", None),
        ("a=1&api_key=one&b=%20", "a=1&b=%20"),
        ("api%5Fkey=%6fne&a", "a"),
        ("api_key=one&api_key=two", None),
    ],
)
def test_a_key_in_the_query(query: str, rest: str | None) -> None:
    """It is taken out; the rest stays as it was written."""
    got = answer(f"/?{query}", query="api_key").forwarded
    assert got is not None
    assert got.query == rest


def test_the_query_is_not_looked_at_unless_asked_for() -> None:
    """URLs are written down in many places."""
    assert answer("/?api_key=one").status == 401


def test_a_query_without_the_key_stays() -> None:
    """The field may have it as well."""
    got = answer("/?a=1", key="one", query="api_key").forwarded
    assert got is not None
    assert got.query == "a=1"


def test_the_key_may_be_forwarded() -> None:
    """For backends that ask once more."""
    got = answer("/?api_key=one", query="api_key", forward=True).forwarded
    assert got is not None
    assert got.query == "api_key=one"


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("", "api-key middleware requires at least one key"),
        ('keys = ["sha256:12"]', "must be 64 hexadecimal digits"),
        ('clients = [{ name = "a", key = "sha256:x" }]', "must be 64 hexadecimal digits"),
    ],
)
def test_faults(keys: str, fault: str) -> None:
    """A door that nobody can open is a mistake."""
    text = f'middlewares "door" {{\n  type = "api-key"\n  {keys}\n}}'
    with pytest.raises(ConfigError, match=fault):
        GatewayConfig.from_text(text)

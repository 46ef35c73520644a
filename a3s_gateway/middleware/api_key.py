"""`type = "api-key"`: answer only clients that know a key."""

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.kinds import HEADER_NAME, WORD
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key, keys
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class ApiKeyConfig(Settings):
    """Asks for a key in a header field."""

    header: str = key(HEADER_NAME, "Field that carries the key.", default="X-API-Key")
    keys: tuple[str, ...] = keys(
        WORD, "Keys that are accepted.", at_least=1, secret=True, example='["${API_KEY}"]'
    )


PLUGIN = Plugin("middleware", "api-key", ApiKeyConfig)

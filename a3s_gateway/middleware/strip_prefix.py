"""`type = "strip-prefix"`: hide the front of the path from the backend."""

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.kinds import PATH_PREFIX
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import keys
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class StripPrefixConfig(Settings):
    """Removes the first prefix that fits."""

    prefixes: tuple[str, ...] = keys(
        PATH_PREFIX, "What to remove; the first that fits.", at_least=1, example='["/api"]'
    )


PLUGIN = Plugin("middleware", "strip-prefix", StripPrefixConfig)

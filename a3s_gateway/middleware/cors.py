"""`type = "cors"`: let pages of other origins read answers."""

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.kinds import HEADER_NAME, METHOD, ORIGIN, duration
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import key, keys
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class CorsConfig(Settings):
    """Cross-origin resource sharing, as browsers ask for it."""

    allowed_origins: tuple[str, ...] = keys(
        ORIGIN, "Who may read answers; `*`: everybody.", default=("*",)
    )
    allowed_methods: tuple[str, ...] = keys(
        METHOD, "Methods they may use.", default=("GET", "POST", "PUT", "DELETE", "OPTIONS")
    )
    allowed_headers: tuple[str, ...] = keys(
        HEADER_NAME,
        "Fields they may send; `*`: all.",
        default=("Content-Type", "Authorization"),
    )
    max_age: float = key(duration(), "How long a browser keeps the permission.", default=86400.0)


PLUGIN = Plugin("middleware", "cors", CorsConfig)

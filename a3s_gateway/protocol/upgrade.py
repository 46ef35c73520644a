"""Which protocol a request asks to change to (RFC 9110 §7.8)."""

from __future__ import annotations

import re
from typing import Final

WEBSOCKET: Final = "websocket"
_PROTOCOL: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+(?:/[!#$%&'*+\-.^_`|~0-9a-z]+)?")
# Other versions of HTTP, and TLS, would carry requests past the routes and middlewares.
_NEVER_TUNNELLED: Final = ("h2c", "http", "tls")


def wanted(offered: str) -> str:
    """
    Choose one of the protocols that an Upgrade field offers; empty when none may be.

    WebSocket goes first; otherwise the client's first choice. In lower case: the names are
    compared without regard to it.
    """
    names = [name.strip() for name in offered.lower().split(",")]
    if WEBSOCKET in names:
        return WEBSOCKET
    for name in names:
        if _PROTOCOL.fullmatch(name) and name.partition("/")[0] not in _NEVER_TUNNELLED:
            return name
    return ""

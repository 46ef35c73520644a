"""
All that a middleware of one's own is written with; what is not here may change at any time.

`docs/writing-a-middleware.md` shows how; `a3s_gateway.testing` tries one without a socket.
"""

from __future__ import annotations

from attrs import define, evolve, field, frozen

from a3s_gateway.body import Body, BodyTooLargeError
from a3s_gateway.config.kinds import (
    FLAG,
    HEADER_NAME,
    NETWORK,
    PATH,
    TEXT,
    WORD,
    choice,
    duration,
    integer,
    size,
)
from a3s_gateway.config.middleware import PluginSettings
from a3s_gateway.config.schema import Mistake, key, keys
from a3s_gateway.effects import Effects
from a3s_gateway.errors import GatewayError
from a3s_gateway.headers import EMPTY_HEADERS, Header, Headers
from a3s_gateway.http import Exchange, Handler, Middleware, Request, Response
from a3s_gateway.plugin import Plugin

__all__ = [
    "EMPTY_HEADERS", "FLAG", "HEADER_NAME", "NETWORK", "PATH", "TEXT", "WORD", "Body",
    "BodyTooLargeError", "Effects", "Exchange", "GatewayError", "Handler", "Header", "Headers",
    "Middleware", "Mistake", "Plugin", "PluginSettings", "Request", "Response", "choice", "define",
    "duration", "evolve", "field", "frozen", "integer", "key", "keys", "size",
]  # fmt: skip

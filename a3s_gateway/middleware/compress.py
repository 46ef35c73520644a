"""`type = "compress"`: send less."""

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.middleware import Settings
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class CompressConfig(Settings):
    """Compresses answers with brotli, gzip or deflate, as the client accepts; nothing to set."""


PLUGIN = Plugin("middleware", "compress", CompressConfig)

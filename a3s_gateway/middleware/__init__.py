"""Steps around a request: one file per type."""

from __future__ import annotations

from a3s_gateway.plugin import Plugin

PLUGINS: tuple[Plugin, ...] = ()

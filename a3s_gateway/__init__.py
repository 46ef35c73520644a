"""A3S Gateway: an API gateway and reverse proxy on Twisted."""

from __future__ import annotations

__version__ = "0.3.0"

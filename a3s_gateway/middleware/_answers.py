"""What answers of middlewares say that are neither a backend's nor faults."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

from a3s_gateway.headers import Header


def date(wall: Callable[[], float]) -> Header:
    """Return the Date of such an answer."""
    return Header.of("Date", formatdate(wall(), usegmt=True))

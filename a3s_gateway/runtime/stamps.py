"""Versions of certificate files: a reload takes new ones over, and leaves the rest alone."""

from __future__ import annotations

import os
from collections.abc import Hashable

from a3s_gateway.config.balancing import UpstreamTlsConfig


def stamps(tls: UpstreamTlsConfig | None) -> Hashable:
    """Tell versions of the files of a service apart."""
    if tls is None:
        return ()
    return tuple(_stamp(file) for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)


def _stamp(file: str) -> Hashable:
    try:
        status = os.stat(file)  # noqa: PTH116 - text in
    except OSError:
        return None  # whoever opens it says why
    return status.st_mtime_ns, status.st_size, status.st_ino

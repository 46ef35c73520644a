"""From an entrypoint's configuration to its listener: one function for each protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from a3s_gateway.config.entrypoint import EntrypointConfig, LimitsConfig
from a3s_gateway.protocol.http1.request_head import Limits
from a3s_gateway.transport.timers import timers_for
from a3s_gateway.transport.tls_server import ServerTls

from .http_service import HttpFactory
from .listener import Listener
from .stream_service import LateEndpoint, StreamEntrypoint, stream_endpoint
from .trust import trust_in


class Maker(Protocol):
    """Makes the listeners of one protocol; the arguments are those of `listener_for`."""

    def __call__(
        self,
        reactor: Any,
        entrypoint: EntrypointConfig,
        resource: Any,
        *,
        tls: ServerTls | None,
        stock: bool,
    ) -> Listener:
        """Make one that is not bound yet."""


def http_listener(
    reactor: Any,
    entrypoint: EntrypointConfig,
    resource: Any,
    *,
    tls: ServerTls | None,
    stock: bool,
) -> Listener:
    """Make the listener of an entrypoint that speaks HTTP; see `listener_for`."""
    factory = HttpFactory(
        entrypoint.name,
        "http" if entrypoint.tls is None else "https",
        resource,
        timers_for(reactor),
        _limits(entrypoint.limits),
        entrypoint.timeouts,
        trust_in(entrypoint.trusted_proxies),
    )
    endpoint = LateEndpoint(lambda: stream_endpoint(reactor, entrypoint, tls, stock=stock))
    return StreamEntrypoint(reactor, entrypoint, endpoint, factory, tls)


MAKERS: Final[Mapping[str, Maker]] = {"http": http_listener}


def listener_for(
    reactor: Any,
    entrypoint: EntrypointConfig,
    resource: Any,
    *,
    tls: ServerTls | None,
    stock: bool,
) -> Listener:
    """
    Make a listener that is not bound yet.

    Args:
        reactor: Where everything happens.
        entrypoint: Where, and with what limits.
        resource: What answers there, as its protocol has it: `runtime/compile.py` makes both.
        tls: How clients are met, where there is TLS.
        stock: Use Twisted's own transports.

    """
    return MAKERS[entrypoint.protocol](reactor, entrypoint, resource, tls=tls, stock=stock)


def _limits(config: LimitsConfig) -> Limits:
    return Limits(
        config.max_head_bytes,
        config.max_header_lines,
        config.max_target_bytes,
        config.max_trailer_bytes,
        config.max_pipelined_bytes,
    )

"""From an entrypoint's configuration to its listener: one function for each protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from a3s_gateway.config.entrypoint import EntrypointConfig, LimitsConfig
from a3s_gateway.protocol.forwarded import Trust
from a3s_gateway.protocol.http1.request_head import Limits
from a3s_gateway.protocol.http2 import frames
from a3s_gateway.protocol.http2.settings import Settings
from a3s_gateway.protocol.trust import trust_in
from a3s_gateway.service.udp_sessions import SessionTable
from a3s_gateway.transport.timers import timers_for
from a3s_gateway.transport.tls_server import ServerTls
from a3s_gateway.transport.watch import watch_for

from .http_service import HttpFactory
from .listener import Listener
from .stream_service import LateEndpoint, StreamEntrypoint, stream_endpoint
from .tcp_service import TcpFactory
from .udp_clients import UdpClients
from .udp_service import UdpEntrypoint
from .udp_session import UdpSession


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
        _http2(entrypoint),
        entrypoint.tls.client_auth if entrypoint.tls is not None else None,
        _proxies(entrypoint),
    )
    endpoint = LateEndpoint(lambda: stream_endpoint(reactor, entrypoint, tls, stock=stock))
    return StreamEntrypoint(reactor, entrypoint, endpoint, factory, tls)


def udp_listener(
    reactor: Any,
    entrypoint: EntrypointConfig,
    resource: Any,
    *,
    tls: ServerTls | None,  # noqa: ARG001 - the model refuses it here
    stock: bool,
) -> Listener:
    """Make the listener of an entrypoint for datagrams; see `listener_for`."""
    table: SessionTable[UdpSession] = SessionTable(
        entrypoint.udp_session_timeout_secs, entrypoint.udp_max_sessions
    )
    allowed = entrypoint.allowed_ips
    is_allowed = trust_in(allowed) if allowed else _everybody
    clients = UdpClients(entrypoint.name, resource, table, is_allowed, timers_for(reactor))
    return UdpEntrypoint(watch_for(reactor, stock=stock), entrypoint, clients)


def tcp_listener(
    reactor: Any,
    entrypoint: EntrypointConfig,
    resource: Any,
    *,
    tls: ServerTls | None,
    stock: bool,
) -> Listener:
    """Make the listener of an entrypoint that speaks TCP; see `listener_for`."""
    allowed = entrypoint.tcp_allowed_ips
    factory = TcpFactory(
        entrypoint.name,
        resource,
        timers_for(reactor),
        entrypoint.timeouts.tls_handshake,
        trust_in(allowed) if allowed else None,
        _proxies(entrypoint),
        entrypoint.max_connections,
    )
    endpoint = LateEndpoint(lambda: stream_endpoint(reactor, entrypoint, tls, stock=stock))
    return StreamEntrypoint(reactor, entrypoint, endpoint, factory, tls)


def _proxies(entrypoint: EntrypointConfig) -> Trust | None:
    config = entrypoint.proxy_protocol
    return None if config is None else trust_in(config.trusted_ips)


MAKERS: Final[Mapping[str, Maker]] = {
    "http": http_listener,
    "tcp": tcp_listener,
    "udp": udp_listener,
}


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


def _everybody(_address: str) -> bool:
    return True


def _http2(entrypoint: EntrypointConfig) -> Settings | None:
    config = entrypoint.http2
    if not config.enabled:
        return None
    streams, window = config.max_concurrent_streams, config.stream_window
    of_connection = config.connection_window or max(streams * window, frames.DEFAULT_WINDOW)
    return Settings(
        streams,
        min(window, frames.LARGEST_WINDOW),
        min(of_connection, frames.LARGEST_WINDOW),
        entrypoint.limits.max_head_bytes,
        config.max_resets_per_second,
        config.max_control_frames_per_second,
    )


def _limits(config: LimitsConfig) -> Limits:
    return Limits(
        config.max_head_bytes,
        config.max_header_lines,
        config.max_target_bytes,
        config.max_trailer_bytes,
        config.max_pipelined_bytes,
    )

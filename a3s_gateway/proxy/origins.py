"""From a server's URL to something that requests can be forwarded to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final, cast

from attrs import define, evolve, field
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.balancing import HealthCheckConfig, LoadBalancerConfig, PoolConfig
from a3s_gateway.transport.endpoints import client_endpoint, unix_client_endpoint
from a3s_gateway.transport.timers import Timers, timers_for
from a3s_gateway.transport.watch import watch_for

from .connection import UpstreamConnection
from .http import HttpOrigin
from .names import ServerAddresses
from .pool import Pool
from .probe import ConnectProbe, HttpProbe
from .tls import ClientContexts
from .udp import UdpOrigin

_TLS: Final = ("https", "wss")


@define(eq=False)
class Origins:
    """Makes origins whose connections live on one reactor."""

    reactor: Any
    stock: bool
    timers: Timers
    _contexts: ClientContexts = field(factory=ClientContexts, init=False)

    @classmethod
    def on(cls, reactor: Any, *, stock: bool) -> Origins:
        """Use this reactor; `stock` means Twisted's own transports."""
        return cls(reactor, stock, timers_for(reactor))

    def origin(self, url: ServerUrl, service: LoadBalancerConfig) -> HttpOrigin:
        """
        Make the origin of one server.

        Raises:
            TlsConfigurationError: A certificate file of the service cannot be used.

        """
        pool = Pool(
            self._connect(self._endpoint(url, service)),
            self.timers,
            service.pool.max_idle_connections,
            service.pool.max_connections,
            service.pool.idle_timeout,
            service.connect_timeout,
        )
        return HttpOrigin(
            pool,
            self.timers,
            url.authority,
            "" if url.scheme == "unix" else url.path,
            service.request_timeout,
            service.stream_idle_timeout,
            service.stream_total_timeout,
        )

    def udp_origin(self, url: ServerUrl, service: LoadBalancerConfig) -> UdpOrigin:
        """Make the origin of one server that datagrams go to."""
        addresses = ServerAddresses(
            url.host,
            url.port,
            self.reactor.nameResolver,
            self.timers,
            service.connect_timeout,
            monotonic,
        )
        return UdpOrigin(watch_for(self.reactor, stock=self.stock), addresses)

    def probe(
        self, url: ServerUrl, service: LoadBalancerConfig, check: HealthCheckConfig
    ) -> ConnectProbe | HttpProbe:
        """
        Make what looks at one server, and connects as requests do.

        Raises:
            TlsConfigurationError: A certificate file of the service cannot be used.

        """
        where = url if check.port is None else evolve(url, port=check.port)
        if check.port is not None and not url.is_http:
            where = evolve(where, scheme="http")  # what it speaks elsewhere is not what is asked
        as_patient = evolve(
            service,
            connect_timeout=check.timeout,
            request_timeout=check.timeout,
            stream_idle_timeout=check.timeout,
            stream_total_timeout=check.timeout,
            pool=PoolConfig(max_idle_connections=0),
        )
        if check.path is None or not where.is_http:
            return ConnectProbe(self._endpoint(where, as_patient))
        return HttpProbe(self.origin(where, as_patient), check, check.path)

    def _connect(
        self, endpoint: IStreamClientEndpoint
    ) -> Callable[[Pool], Awaitable[UpstreamConnection]]:
        def connect(pool: Pool) -> Awaitable[UpstreamConnection]:
            factory = Factory.forProtocol(lambda: UpstreamConnection(pool, self.timers))
            factory.noisy = False
            return cast(Awaitable[UpstreamConnection], endpoint.connect(factory))

        return connect

    def _endpoint(self, url: ServerUrl, service: LoadBalancerConfig) -> IStreamClientEndpoint:
        timeout = service.connect_timeout
        if url.scheme == "unix":
            return unix_client_endpoint(self.reactor, url.path, timeout=timeout, stock=self.stock)
        tls = self._contexts.tls_to(url.host, service.tls) if url.scheme in _TLS else None
        return client_endpoint(
            self.reactor, url.host, url.port, timeout=timeout, tls=tls, stock=self.stock
        )

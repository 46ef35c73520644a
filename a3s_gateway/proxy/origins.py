"""From a server's URL to something that requests can be forwarded to."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from attrs import define, evolve, field
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from a3s_gateway.config.address import TLS_SCHEMES, ServerUrl
from a3s_gateway.config.balancing import HealthCheckConfig, LoadBalancerConfig, PoolConfig
from a3s_gateway.transport.endpoints import client_endpoint, unix_client_endpoint
from a3s_gateway.transport.names import Names
from a3s_gateway.transport.switching import hand_over
from a3s_gateway.transport.timers import Timers, timers_for
from a3s_gateway.transport.watch import watch_for

from .connection import UpstreamConnection
from .http import Carriers, HttpOrigin
from .http2_connection import Http2Connection
from .http2_pool import Http2Pool
from .negotiation import NegotiatedPool, SpeaksHttp1Error
from .pool import Pool
from .probe import ConnectProbe, HttpProbe
from .tcp import TcpOrigin
from .tls import EITHER, HTTP1, HTTP2, ClientContexts
from .udp import UdpOrigin
from .waiting import WaitingRoom


@define(eq=False)
class Origins:
    """Makes origins whose connections live on one reactor."""

    reactor: Any
    stock: bool
    timers: Timers
    names: Names
    _contexts: ClientContexts = field(factory=ClientContexts, init=False)

    @classmethod
    def on(cls, names: Names, *, stock: bool) -> Origins:
        """Use the reactor that names are looked up on; `stock` means Twisted's own transports."""
        return cls(names.reactor, stock, timers_for(names.reactor), names)

    def origin(self, url: ServerUrl, service: LoadBalancerConfig) -> HttpOrigin:
        """
        Make the origin of one server.

        Raises:
            TlsConfigurationError: A certificate file of the service cannot be used.

        """
        http1 = self._http1(url, service)
        http2 = self._http2(url, service, http1)
        pool: Carriers = http1
        if http2 is not None:
            negotiates = url.scheme == "https" and service.protocol == "auto"
            pool = NegotiatedPool(http1, http2) if negotiates else http2
        return HttpOrigin(
            pool,
            http1 if pool is not http2 else pool,
            self.timers,
            url.authority,
            "" if url.scheme == "unix" else url.path,
            service.request_timeout,
            service.stream_idle_timeout,
            service.stream_total_timeout,
        )

    def udp_origin(self, url: ServerUrl, _: LoadBalancerConfig) -> UdpOrigin:
        """Make the origin of one server that datagrams go to."""
        watch = watch_for(self.reactor, stock=self.stock)
        return UdpOrigin(watch, self.names, url.host, url.port)

    def _http1(self, url: ServerUrl, service: LoadBalancerConfig) -> Pool:
        endpoint = self._endpoint(url, service, HTTP1)

        def connect(pool: Pool) -> Awaitable[UpstreamConnection]:
            factory = Factory.forProtocol(lambda: UpstreamConnection(pool, self.timers))
            factory.noisy = False
            return cast(Awaitable[UpstreamConnection], endpoint.connect(factory))

        return Pool(
            connect,
            WaitingRoom(self.timers, service.connect_timeout),
            service.pool.max_idle_connections,
            service.pool.max_connections,
            service.pool.idle_timeout,
        )

    def _http2(self, url: ServerUrl, service: LoadBalancerConfig, http1: Pool) -> Http2Pool | None:
        """Make the connections of HTTP/2, if it is to be spoken, or to be asked for."""
        is_chosen = url.scheme == "h2c" or service.protocol == "http2"
        if not is_chosen and not (url.scheme == "https" and service.protocol == "auto"):
            return None
        scheme = "https" if url.scheme == "https" else "http"
        endpoint = self._endpoint(url, service, HTTP2 if is_chosen else EITHER)
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False

        async def connect(pool: Http2Pool) -> Http2Connection:
            stand_in = cast(Protocol, await endpoint.connect(factory))
            transport: Any = stand_in.transport
            if scheme == "https" and transport.getHandle().get_alpn_proto_negotiated() != b"h2":
                if is_chosen:
                    transport.abortConnection()
                else:
                    http1_connection = UpstreamConnection(http1, self.timers)
                    hand_over(transport, http1_connection)
                    http1.adopt(http1_connection)
                raise SpeaksHttp1Error("UPSTREAM_CONNECT", "the server does not speak HTTP/2")
            connection = Http2Connection(pool, self.timers, scheme)
            hand_over(transport, connection)
            return connection

        return Http2Pool(
            connect,
            WaitingRoom(self.timers, service.connect_timeout),
            service.pool.max_idle_connections,
            service.pool.max_connections,
            service.pool.idle_timeout,
        )

    def tcp_origin(self, url: ServerUrl, service: LoadBalancerConfig) -> TcpOrigin:
        """
        Make the origin of one server that connections go to.

        Raises:
            TlsConfigurationError: A certificate file of the service cannot be used.

        """
        return TcpOrigin(self._endpoint(url, service, ()), service.proxy_protocol)

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

    def _endpoint(
        self, url: ServerUrl, service: LoadBalancerConfig, alpn: tuple[bytes, ...] = EITHER
    ) -> IStreamClientEndpoint:
        timeout = service.connect_timeout
        if url.scheme == "unix":
            return unix_client_endpoint(self.reactor, url.path, timeout=timeout, stock=self.stock)
        tls = (
            self._contexts.tls_to(url.host, service.tls, alpn)
            if url.scheme in TLS_SCHEMES
            else None
        )
        return client_endpoint(
            self.reactor,
            url.host,
            url.port,
            timeout=timeout,
            tls=tls,
            names=self.names,
            stock=self.stock,
        )

"""`load_balancer`: the servers of a service, and everything about talking to them."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from attrs import frozen

from a3s_gateway.config.address import SERVER_URL, ServerUrl
from a3s_gateway.config.kinds import (
    COOKIE_NAME,
    FLAG,
    HEADER_NAME,
    HEADER_VALUE,
    METHOD,
    PATH,
    STATUSES,
    WORD,
    choice,
    duration,
    integer,
)
from a3s_gateway.config.schema import Mistake, Section, block, blocks, key, keys, mapping

Strategy = Literal["round-robin", "weighted", "least-connections", "random", "p2c"]
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_OF_THE_MESSAGE: Final = ("host", "connection", "content-length", "transfer-encoding", "upgrade")
_NOT_BY_HTTP2: Final = ("ws", "wss", "tcp", "udp", "")
HttpVersion = Literal["auto", "http1", "http2"]
HTTP_VERSION = choice("auto", "http1", "http2")
STRATEGY = choice("round-robin", "weighted", "least-connections", "random", "p2c")


@frozen(kw_only=True)
class ServerConfig(Section):
    """One backend."""

    url: ServerUrl = key(
        SERVER_URL,
        "Scheme `http`, `https`, `h2c`, `ws`, `wss`, `tcp`, `tls` (TCP under TLS), `udp` or "
        "`unix`; bare `host:port` too.",
        example='"http://127.0.0.1:8001"',
    )
    weight: int = key(
        integer(0, 1_000_000), "Share of the requests against the others; 0: none.", default=1
    )


@frozen(kw_only=True)
class HealthCheckConfig(Section):
    """Regular probes; a server that fails them gets no requests."""

    path: str | None = key(
        WORD,
        "What to ask for; without it the probe only connects.",
        default=None,
        example='"/health"',
    )
    interval: float = key(duration(0.01), "Time between two probes of a server.", default=10.0)
    timeout: float = key(duration(0.001), "Patience with one probe.", default=5.0)
    unhealthy_threshold: int = key(
        integer(1), "Failures in a row that take a server out.", default=3
    )
    healthy_threshold: int = key(integer(1), "Successes in a row that bring it back.", default=1)
    method: str = key(METHOD, "Method of the request.", default="GET")
    status: tuple[tuple[int, int], ...] = key(
        STATUSES, "Answers that count as healthy.", default=((200, 399),), example='"200-399"'
    )
    host: str | None = key(
        WORD, "Host field of the request; none: that of the server.", default=None
    )
    headers: Mapping[str, str] = mapping(
        HEADER_NAME, HEADER_VALUE, "Further fields of the request."
    )
    port: int | None = key(
        integer(1, 65535), "Port to probe; none: that of the server.", default=None
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse what no request could have."""
        if self.path is not None and not self.path.startswith("/"):
            yield Mistake("path", f'"path" must begin with "/", not "{self.path}"')
        for name in ("path", "host"):
            if not _VISIBLE.fullmatch(getattr(self, name) or "/"):
                yield Mistake(name, f'"{name}" must have visible ASCII characters only')
        for name, value in self.headers.items():
            if name.lower() in _OF_THE_MESSAGE:
                yield Mistake(
                    "headers", f'"headers" cannot have "{name}", which is written for you'
                )
            elif not value.isascii():
                yield Mistake("headers", f'the value of "{name}" must have ASCII characters only')


@frozen(kw_only=True)
class PassiveHealthConfig(Section):
    """Watches real requests: a server that fails them is left out for a while."""

    failures: int = key(integer(1), "Failures within `window` that eject a server.", default=5)
    window: float = key(duration(0.001), "How long a failure counts.", default=30.0)
    ejection: float = key(
        duration(0.001), "Time without requests; longer each time it happens again.", default=30.0
    )
    statuses: tuple[int, ...] = keys(
        integer(100, 599), "Answers that count as failures.", default=(500, 502, 503, 504)
    )
    max_ejected_percent: int = key(
        integer(0, 100), "Share of the servers that may be left out at a time.", default=50
    )


@frozen(kw_only=True)
class StickyConfig(Section):
    """Keeps a client at the server that answered it first."""

    cookie: str = key(COOKIE_NAME, "Name of the cookie that remembers it.", example='"srv_id"')


@frozen(kw_only=True)
class PoolConfig(Section):
    """Connections kept to each server."""

    max_idle_connections: int = key(
        integer(), "Unused connections kept open, per server.", default=256
    )
    max_connections: int = key(
        integer(), "Connections open at the same time, per server; 0: no limit.", default=0
    )
    idle_timeout: float = key(duration(0.001), "How long an unused one is kept.", default=60.0)


@frozen(kw_only=True)
class UpstreamTlsConfig(Section):
    """TLS towards `https`, `wss` and `tls` servers."""

    ca_file: str | None = key(
        PATH,
        "Who signs their certificates, PEM; none: the system's authorities.",
        default=None,
        example='"/etc/certs/internal-ca.pem"',
    )
    insecure_skip_verify: bool = key(
        FLAG,
        "Accept any certificate. Anybody on the way can read and change the traffic.",
        default=False,
    )
    server_name: str | None = key(
        WORD, "Name expected in the certificate; none: the host of the URL.", default=None
    )
    cert_file: str | None = key(PATH, "Our certificate for servers that ask for one.", default=None)
    key_file: str | None = key(PATH, "Its private key.", default=None)

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse a certificate without its key, and keys that cancel each other."""
        for given, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
            if getattr(self, given) is not None and getattr(self, other) is None:
                yield Mistake(given, f'"{given}" needs "{other}" as well')
        if self.insecure_skip_verify and self.ca_file:
            message = '"ca_file" has no effect with insecure_skip_verify = true'
            yield Mistake("ca_file", message)


@frozen(kw_only=True)
class LoadBalancerConfig(Section):
    """Servers, and how requests are shared among them."""

    strategy: Strategy = key(STRATEGY, "How servers take turns.", default="round-robin")
    servers: tuple[ServerConfig, ...] = blocks(
        ServerConfig,
        "The backends.",
        example='[{ url = "http://127.0.0.1:8001" }, { url = "http://127.0.0.1:8002" }]',
    )
    protocol: HttpVersion = key(
        HTTP_VERSION,
        "What is spoken with HTTP servers. `auto`: HTTP/2 with `h2c`, what the server prefers with "
        "`https`, HTTP/1.1 with the others. `http2` asks it of every server, by prior knowledge "
        "where there is no TLS.",
        default="auto",
    )
    health_check: HealthCheckConfig | None = block(
        HealthCheckConfig, "Regular probes.", default=None
    )
    passive_health: PassiveHealthConfig = block(
        PassiveHealthConfig, "Watches real requests.", always=True
    )
    sticky: StickyConfig | None = block(StickyConfig, "Keeps a client at one server.", default=None)
    connect_timeout: float = key(duration(0.001), "Until a connection is there.", default=5.0)
    request_timeout: float = key(
        duration(0.001), "From the request to the head of the answer.", default=60.0
    )
    stream_idle_timeout: float = key(
        duration(0.001), "Between two pieces of an answer.", default=300.0
    )
    stream_total_timeout: float | None = key(
        duration(0.001), "For the whole exchange; none: as long as it takes.", default=None
    )
    pool: PoolConfig = block(PoolConfig, "Connections kept open.", always=True)
    proxy_protocol: int | None = key(
        integer(1, 2),
        "Begin each TCP connection with the client's address, in this version of the PROXY "
        "protocol; none: do not. For TCP routers.",
        default=None,
        example="2",
    )
    tls: UpstreamTlsConfig | None = block(
        UpstreamTlsConfig, "TLS towards the servers.", default=None
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Somebody must be able to answer, and those that are probed must be able to notice."""
        if self.servers and not any(server.weight for server in self.servers):
            yield Mistake("servers", "every server has weight 0, so none would get a request")
        check = self.health_check
        if check and check.port is None and any(s.url.scheme == "udp" for s in self.servers):
            hint = "probe a port of theirs that speaks TCP or HTTP: port = 8080"
            yield Mistake("health_check", "servers by UDP cannot be probed", hint)
        yield from self._mistaken_protocol()

    def _mistaken_protocol(self) -> Iterator[Mistake]:
        for server in self.servers:
            scheme = server.url.scheme
            if self.protocol == "http1" and scheme == "h2c":
                yield Mistake("protocol", f'"{server.url}" speaks HTTP/2, not HTTP/1.1')
            elif self.protocol == "http2" and scheme in _NOT_BY_HTTP2:
                yield Mistake("protocol", f'"{server.url}" does not speak HTTP/2')

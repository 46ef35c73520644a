"""`entrypoints "<name>"`: where the gateway listens."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import field, frozen

from a3s_gateway.config.address import ADDRESS, Address
from a3s_gateway.config.kinds import (
    FLAG,
    NETWORK,
    PATH,
    WORD,
    Network,
    choice,
    duration,
    integer,
    size,
)
from a3s_gateway.config.schema import Mistake, Section, block, blocks, key, keys
from a3s_gateway.config.tls import CertificateConfig, ClientAuthConfig

_KIB = 1024


@frozen(kw_only=True)
class TlsConfig(Section):
    """TLS towards clients: certificates from files, or by ACME."""

    cert_file: str | None = key(
        PATH,
        "Certificate chain, PEM. Required unless there are `certificates`, or `acme` is on.",
        default=None,
        example='"/etc/certs/cert.pem"',
    )
    key_file: str | None = key(
        PATH,
        "Private key of the certificate, PEM. Required with `cert_file`.",
        default=None,
        example='"/etc/certs/key.pem"',
    )
    min_version: Literal["1.2", "1.3"] = key(
        choice("1.2", "1.3"), "The oldest version of TLS that a client may use.", default="1.2"
    )
    certificates: tuple[CertificateConfig, ...] = blocks(
        CertificateConfig,
        "More certificates; a client gets the one for the name that it asks for. The very first "
        "one is for clients that ask for no name, or for another.",
        example='[{ cert_file = "/etc/certs/shop.pem", key_file = "/etc/certs/shop.key" }]',
    )
    strict_sni: bool = key(
        FLAG, "Send away clients that ask for no name there is a certificate for.", default=False
    )
    client_auth: ClientAuthConfig | None = block(
        ClientAuthConfig, "Asks clients for a certificate, too.", default=None
    )
    max_handshakes: int | None = key(
        integer(1),
        "Handshakes under way at the same time; further connections wait. None: no limit. "
        "Of several sockets of a `systemd:` address, on each.",
        default=None,
        example="500",
    )
    acme: bool = key(FLAG, "Obtain and renew certificates by ACME.", default=False)
    acme_email: str | None = key(
        WORD,
        "Where the certificate authority sends notices. Required with `acme`.",
        default=None,
    )
    acme_domains: tuple[str, ...] = keys(
        WORD,
        "Names to obtain certificates for; empty: those of the `Host` rules.",
    )
    acme_staging: bool = key(
        FLAG, "Use the authority's test service, whose certificates nobody trusts.", default=False
    )
    acme_storage_path: str = key(
        PATH, "Folder that keeps the account key and the certificates.", default="/etc/gateway/acme"
    )

    def mistakes(self) -> Iterator[Mistake]:
        """With ACME an address is needed; without it, a certificate."""
        if self.acme and not self.acme_email:
            yield Mistake("acme", 'ACME needs "acme_email"', 'add acme_email = "you@example.com"')
        missing = [n for n in ("cert_file", "key_file") if getattr(self, n) is None]
        if len(missing) == 1 or (missing and not self.acme and not self.certificates):
            names = " and ".join(f'"{name}"' for name in missing)
            hint = "or obtain a certificate with acme = true"
            yield Mistake("", f'"tls" needs {names}', hint)

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield every certificate and its key, the first of them the one by default."""
        if self.cert_file is not None and self.key_file is not None:
            yield self.cert_file, self.key_file
        for each in self.certificates:
            yield each.cert_file, each.key_file


@frozen(kw_only=True)
class LimitsConfig(Section):
    """How much of a request is accepted before it is refused."""

    max_head_bytes: int = key(size(512), "Request line and header together.", default=32 * _KIB)
    max_header_lines: int = key(integer(1), "Lines of the header.", default=128)
    max_target_bytes: int = key(
        size(64), "The target in the request line: path and query.", default=16 * _KIB
    )
    max_trailer_bytes: int = key(size(), "Fields after a chunked body.", default=8 * _KIB)
    max_pipelined_bytes: int = key(
        size(512), "Bytes of further requests kept while one is answered.", default=64 * _KIB
    )


@frozen(kw_only=True)
class Http2Config(Section):
    """HTTP/2, beside HTTP/1.1 on the same port: by ALPN, prior knowledge or `Upgrade: h2c`."""

    enabled: bool = key(FLAG, "Whether it is spoken.", default=True)
    max_concurrent_streams: int = key(
        integer(1), "Requests that a connection may have under way.", default=128
    )
    stream_window: int = key(
        size(1024),
        "Of a request's body, what may wait for its reader.",
        default=128 * _KIB,
    )
    connection_window: int | None = key(
        size(65535),
        "The same of all requests of a connection together: so much memory one client can claim. "
        "None: `max_concurrent_streams` times `stream_window`. With less, uploads whose readers "
        "stand still can stop others of their connection.",
        default=None,
        example='"2MiB"',
    )
    max_resets_per_second: int = key(
        integer(1),
        "Requests that a connection may break off, or have broken off by its faults, over time; "
        "ten times as many at once. Beyond that it is closed.",
        default=50,
    )
    max_control_frames_per_second: int = key(
        integer(1),
        "The same for frames that carry nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty "
        "DATA), beyond those that answers give cause for.",
        default=200,
    )


@frozen(kw_only=True)
class TimeoutsConfig(Section):
    """How long a client may take, phase by phase."""

    tls_handshake: float = key(duration(0.001), "Until TLS is established.", default=10.0)
    request_head: float = key(
        duration(0.001), "From the first byte of a request to the end of its head.", default=10.0
    )
    request_body_idle: float = key(
        duration(0.001), "Between two pieces of a request's body.", default=60.0
    )
    keep_alive_idle: float = key(duration(0.001), "Between two requests.", default=75.0)
    write_idle: float = key(
        duration(0.001), "While the client accepts nothing of an answer.", default=60.0
    )


@frozen(kw_only=True)
class ProxyProtocolConfig(Section):
    """Takes the client's address from proxies that speak the PROXY protocol, version 1 or 2."""

    trusted_ips: tuple[Network, ...] = keys(
        NETWORK,
        "Who speaks it: each of their connections has to begin with its header. All others are "
        "clients themselves.",
        example='["10.0.0.0/8"]',
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse a block that is about nobody."""
        if not self.trusted_ips:
            hint = 'list the proxies: trusted_ips = ["10.0.0.0/8"]'
            yield Mistake("", '"proxy_protocol" needs "trusted_ips"', hint)


@frozen(kw_only=True)
class EntrypointConfig(Section):
    """A listener: an address, and what is spoken there."""

    name: str = field()
    address: Address = key(
        ADDRESS,
        "Where to listen; also `:80`, `[::]:443`, `localhost:8080`, `unix:/run/gateway.sock`, and "
        "`systemd:NAME` for sockets of that name that systemd opens and passes.",
        example='"0.0.0.0:8080"',
    )
    protocol: Literal["http", "tcp", "udp"] = key(
        choice("http", "tcp", "udp"), "What is spoken there.", default="http"
    )
    tls: TlsConfig | None = block(TlsConfig, "Encrypts the connections.", default=None)
    proxy_protocol: ProxyProtocolConfig | None = block(
        ProxyProtocolConfig, "Proxies that say whom they speak for.", default=None
    )
    max_connections: int | None = key(
        integer(1),
        'Connections open at the same time; further ones wait, or with `protocol = "tcp"` are '
        "closed at once. None: no limit. Of several sockets of a `systemd:` address, to each.",
        default=None,
        example="10000",
    )
    tcp_allowed_ips: tuple[Network, ...] = keys(
        NETWORK,
        'Who may connect, for `protocol = "tcp"`; empty: everybody.',
    )
    allowed_ips: tuple[Network, ...] = keys(
        NETWORK,
        'Who may send, for `protocol = "udp"`; empty: everybody.',
    )
    udp_session_timeout_secs: float = key(
        duration(0.001),
        'Silence of both sides that ends a session, for `protocol = "udp"`.',
        default=30.0,
    )
    udp_max_sessions: int = key(
        integer(1),
        'Sessions at the same time, for `protocol = "udp"`; '
        "one more ends the one that was silent for longest.",
        default=10_000,
    )
    trusted_proxies: tuple[Network, ...] = keys(
        NETWORK,
        "Peers whose `X-Forwarded-*` and `Forwarded` fields are believed.",
        example='["10.0.0.0/8"]',
    )
    limits: LimitsConfig = block(LimitsConfig, "Sizes of requests.", always=True)
    http2: Http2Config = block(Http2Config, "HTTP/2 towards clients.", always=True)
    timeouts: TimeoutsConfig = block(TimeoutsConfig, "Patience with clients.", always=True)

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse a key that the protocol has no use for: it would be ignored."""
        written = self.place.nodes
        for name, protocols in _FOR_PROTOCOL.items():
            if name in written and self.protocol not in protocols:
                allowed = " or ".join(f'"{each}"' for each in protocols)
                message = f'"{name}" has no effect on an entrypoint with protocol "{self.protocol}"'
                yield Mistake(name, message, _INSTEAD.get(name, f"it is for protocol {allowed}"))
        if self.protocol == "udp" and self.address.kind != "tcp":
            yield Mistake("address", 'protocol "udp" needs an address with a port')


_FOR_PROTOCOL = {
    "tls": ("http", "tcp"),
    "max_connections": ("http", "tcp"),
    "tcp_allowed_ips": ("tcp",),
    "allowed_ips": ("udp",),
    "udp_session_timeout_secs": ("udp",),
    "udp_max_sessions": ("udp",),
    "trusted_proxies": ("http",),
    "proxy_protocol": ("http", "tcp"),
    "limits": ("http",),
    "http2": ("http",),
    "timeouts": ("http", "tcp"),
}
_INSTEAD = {
    "allowed_ips": 'for TCP use "tcp_allowed_ips", for HTTP a middleware of type "ip-allow"',
    "tcp_allowed_ips": 'for UDP use "allowed_ips", for HTTP a middleware of type "ip-allow"',
    "max_connections": 'for UDP use "udp_max_sessions"',
}

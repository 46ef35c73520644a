"""TLS towards servers, as a service's `tls` block has it."""

from __future__ import annotations

from attrs import define, field
from OpenSSL import SSL

from a3s_gateway.config.balancing import UpstreamTlsConfig
from a3s_gateway.transport.tls_client import ClientTls
from a3s_gateway.transport.tls_context import client_context

HTTP1 = (b"http/1.1",)
HTTP2 = (b"h2",)
EITHER = (b"h2", b"http/1.1")


@define(eq=False)
class ClientContexts:
    """Makes contexts; services that ask for the same share one."""

    _known: dict[tuple[UpstreamTlsConfig, tuple[bytes, ...]], SSL.Context] = field(
        factory=dict, init=False
    )

    def tls_to(
        self, host: str, config: UpstreamTlsConfig | None, alpn: tuple[bytes, ...] = HTTP1
    ) -> ClientTls:
        """
        Say how to meet the server at `host`, whose name is expected unless `config` has another.

        `alpn` is what we offer to speak, the preferred protocol first.

        Raises:
            TlsConfigurationError: A file of `config` cannot be used.

        """
        asked = config or UpstreamTlsConfig()
        return ClientTls(self._context(asked, alpn), asked.server_name or host)

    def _context(self, config: UpstreamTlsConfig, alpn: tuple[bytes, ...]) -> SSL.Context:
        context = self._known.get((config, alpn))
        if context is None:
            context = self._known[config, alpn] = client_context(
                ca_file=config.ca_file,
                insecure_skip_verify=config.insecure_skip_verify,
                cert_file=config.cert_file,
                key_file=config.key_file,
                alpn=alpn,
            )
        return context

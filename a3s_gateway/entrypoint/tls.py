"""TLS towards clients, as an entrypoint's `tls` block has it; and whether all TLS files are fit."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

from attrs import frozen

from a3s_gateway.config.entrypoint import EntrypointConfig, TlsConfig
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import Section
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.proxy.tls import ClientContexts
from a3s_gateway.runtime.reload import finish
from a3s_gateway.transport.tls_files import TlsConfigurationError
from a3s_gateway.transport.tls_server import (
    ClientAuth,
    ServerPolicy,
    ServerTls,
    load_server_tls,
)

HTTP1 = (b"http/1.1",)
ALPN = (b"h2", b"http/1.1")  # what HTTP entrypoints speak by TLS, the preferred one first


@frozen(eq=False)
class LoadedTls:
    """
    All TLS of a configuration.

    Attributes:
        entrypoints: How clients are met, by the entrypoint's name.
        faults: Files that cannot be used; whoever has one is missing above.

    """

    entrypoints: Mapping[str, ServerTls]
    faults: tuple[Diagnostic, ...]


def load_tls(config: GatewayConfig) -> Generator[None, None, LoadedTls]:
    """Read every certificate, key and CA file; yields wherever traffic may have its turn."""
    loaded: dict[str, ServerTls] = {}
    faults: list[Diagnostic] = []
    for name, entrypoint in config.entrypoints.items():
        if entrypoint.tls is None or entrypoint.tls.acme:
            continue
        try:
            loaded[name] = yield from load_entrypoint_tls(entrypoint.tls, alpn_of(entrypoint))
        except TlsConfigurationError as error:
            faults.append(_fault(entrypoint.tls, error))
    for each in _of_servers(config):
        faults += each
        yield
    return LoadedTls(loaded, tuple(faults))


def tls_of(config: GatewayConfig) -> Mapping[str, ServerTls]:
    """Read all of it at once; raises `ConfigError` with every file that cannot be used."""
    loaded = finish(load_tls(config))
    if loaded.faults:
        raise ConfigError(loaded.faults, config.sources)
    return loaded.entrypoints


def alpn_of(entrypoint: EntrypointConfig) -> tuple[bytes, ...]:
    """Say which protocols are offered there."""
    if entrypoint.protocol != "http":
        return ()  # what servers speak is not known here
    return ALPN if entrypoint.http2.enabled else HTTP1


def load_entrypoint_tls(
    tls: TlsConfig, alpn: tuple[bytes, ...]
) -> Generator[None, None, ServerTls]:
    """Read the files of one entrypoint; raises `TlsConfigurationError`."""
    asked = tls.client_auth
    auth = ClientAuth(asked.mode, asked.ca_files) if asked is not None else None
    policy = ServerPolicy(tls.min_version, alpn, tls.strict_sni, auth, tls.max_handshakes)
    return load_server_tls(tuple(tls.files()), policy)


def certificate_faults(config: GatewayConfig) -> tuple[Diagnostic, ...]:
    """Try every certificate, key and CA file that the configuration names."""
    return finish(load_tls(config)).faults


def _of_servers(config: GatewayConfig) -> Iterator[list[Diagnostic]]:
    contexts = ClientContexts()
    for service in config.services.values():
        balancing = service.load_balancer
        if balancing is not None and balancing.tls is not None:
            try:
                contexts.tls_to("", balancing.tls)
            except TlsConfigurationError as error:
                yield [_fault(balancing.tls, error)]


def _fault(tls: Section, error: TlsConfigurationError) -> Diagnostic:
    sections: list[Section] = [tls]
    if isinstance(tls, TlsConfig):
        sections += tls.certificates
        if tls.client_auth is not None and error.file in tls.client_auth.ca_files:
            index = tls.client_auth.ca_files.index(error.file)
            span = tls.client_auth.span_of("ca_files", index)
            return Diagnostic(span, error.fault, error.remedy)
    for section in sections:
        for name in ("cert_file", "key_file", "ca_file"):
            if getattr(section, name, None) == error.file:
                return Diagnostic(section.span_of(name), error.fault, error.remedy)
    return Diagnostic(tls.span, error.fault, error.remedy)

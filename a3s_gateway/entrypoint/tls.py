"""TLS towards clients, as an entrypoint's `tls` block has it; and whether all TLS files are fit."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

from OpenSSL import SSL

from a3s_gateway.config.entrypoint import TlsConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import Section
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.proxy.tls import ClientContexts
from a3s_gateway.runtime.reload import finish
from a3s_gateway.transport.tls_context import TlsConfigurationError, server_context

ALPN = (b"http/1.1",)


def context_of(tls: TlsConfig) -> SSL.Context:
    """Make an entrypoint's context; raises `TlsConfigurationError`."""
    assert tls.cert_file is not None
    assert tls.key_file is not None  # ACME is refused before this
    return server_context(tls.cert_file, tls.key_file, tls.min_version, ALPN)


def certificate_faults(config: GatewayConfig) -> tuple[Diagnostic, ...]:
    """Try every certificate, key and CA file that the configuration names."""
    return finish(try_certificates(config))


def try_certificates(config: GatewayConfig) -> Generator[None, None, tuple[Diagnostic, ...]]:
    """Do what `certificate_faults` does, and yield wherever traffic may have its turn."""
    faults: list[Diagnostic] = []
    for each in _faults(config):
        faults += each
        yield
    return tuple(faults)


def _faults(config: GatewayConfig) -> Iterator[Iterable[Diagnostic]]:
    for entrypoint in config.entrypoints.values():
        tls = entrypoint.tls
        if tls is not None and not tls.acme:
            yield _try(tls, partial(context_of, tls))
    contexts = ClientContexts()
    for service in config.services.values():
        balancing = service.load_balancer
        if balancing is not None and balancing.tls is not None:
            yield _try(balancing.tls, partial(contexts.tls_to, "", balancing.tls))


def _try(tls: Section, make: Callable[[], object]) -> Iterator[Diagnostic]:
    try:
        make()
    except TlsConfigurationError as error:
        names = ("cert_file", "key_file", "ca_file")
        name = next((n for n in names if getattr(tls, n, None) == error.file), "")
        yield Diagnostic(tls.span_of(name) if name else tls.span, error.fault, error.remedy)

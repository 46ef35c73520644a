"""OpenSSL contexts: the policy that all of them share, and those of clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from OpenSSL import SSL
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion, platformTrust

from .tls_faults import note_chain_fault, reason_text
from .tls_files import File, TlsConfigurationError, load_pair, no_certificate, read_file

MinVersion = Literal["1.2", "1.3"]

VERSIONS = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}

# Mozilla's "intermediate" list, without the finite-field groups that nobody needs any more.
TLS12_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString(
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
TLS13_CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

# Without this mode one SSL_write takes many records, not one: a quarter of the calls for 64 KB.
MODE_ENABLE_PARTIAL_WRITE = 0x1

# Where systems keep their roots; pyOpenSSL looks in the same places.
SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def client_context(
    *,
    ca_file: File | None = None,
    insecure_skip_verify: bool = False,
    cert_file: File | None = None,
    key_file: File | None = None,
    min_version: MinVersion = "1.2",
    alpn: Sequence[bytes] = (),
) -> SSL.Context:
    """
    Make the context of clients; the host's name is checked by who connects.

    Args:
        ca_file: PEM; trust these issuers instead of the system's.
        insecure_skip_verify: Trust everybody.
        cert_file: PEM: the client's certificate, then those of its issuers.
        key_file: PEM, not encrypted; needed with `cert_file`.
        min_version: Of TLS.
        alpn: Protocols offered, the preferred one first.

    Raises:
        TlsConfigurationError: A file cannot be used.

    """
    options: dict[str, Any] = {}
    if cert_file is not None and key_file is not None:
        (leaf, *issuers), key = load_pair(cert_file, key_file)
        options = {"privateKey": key, "certificate": leaf, "extraCertChain": issuers}
    elif cert_file is not None or key_file is not None:
        alone = cert_file or key_file or ""
        raise TlsConfigurationError(
            alone, f"{alone} is of no use alone", "give both a certificate and its key"
        )
    if not insecure_skip_verify and ca_file is None:
        options["trustRoot"] = platformTrust()
    with refused_by_openssl(cert_file or ""):
        context = base_context(min_version, **options)
    if not insecure_skip_verify:
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, note_chain_fault)
        _trust(context, ca_file)
    if alpn:
        context.set_alpn_protos(list(alpn))
    return context


def base_context(min_version: MinVersion, **options: Any) -> SSL.Context:
    """Make what every context begins with; `options` are those of `CertificateOptions`."""
    context = CertificateOptions(
        acceptableCiphers=TLS12_CIPHERS,
        insecurelyLowerMinimumTo=VERSIONS[min_version],
        enableSessionTickets=True,
        **options,
    ).getContext()
    context.set_tls13_ciphersuites(TLS13_CIPHERS)
    context.clear_mode(MODE_ENABLE_PARTIAL_WRITE)
    return context


@contextmanager
def refused_by_openssl(file: File) -> Iterator[None]:
    """Say which certificate it is that OpenSSL does not take."""
    try:
        yield
    except SSL.Error as error:
        raise TlsConfigurationError(
            file,
            f"OpenSSL refuses {file}: {reason_text(error)}",
            "have it issued anew, for a larger key and with a newer hash",
        ) from error


def _trust(context: SSL.Context, ca_file: File | None) -> None:
    if ca_file is None:
        if not any(Path(path).exists() for path in SYSTEM_ROOTS):
            _trust_certifi(context)
        return
    read_file(ca_file)
    try:
        context.load_verify_locations(str(ca_file))
    except SSL.Error as error:
        raise no_certificate(ca_file) from error


def _trust_certifi(context: SSL.Context) -> None:
    """Fall back to the roots that the `certifi` package brings: a bare container has no others."""
    try:
        import certifi  # noqa: PLC0415 - needed seldom, and perhaps not installed
    except ImportError:
        return
    context.load_verify_locations(certifi.where())

"""OpenSSL contexts for servers and clients, and the faults of the files they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates
from OpenSSL import SSL
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion, platformTrust

from .tls_faults import note_chain_fault, reason_text

MinVersion = Literal["1.2", "1.3"]
File = str | Path

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


class TlsConfigurationError(ValueError):
    """
    A certificate, key or CA file that cannot be used; the text names it and the remedy.

    Attributes:
        file: Its path, as given.
        fault: What is wrong with it.
        remedy: What to try.

    """

    def __init__(self, file: File, fault: str, remedy: str) -> None:
        super().__init__(f"{fault}; {remedy}")
        self.file = str(file)
        self.fault = fault
        self.remedy = remedy


def server_context(
    cert_file: File,
    key_file: File,
    min_version: MinVersion = "1.2",
    alpn: Sequence[bytes] = (b"http/1.1",),
) -> SSL.Context:
    """
    Make the context of a server; clients resume their sessions.

    Args:
        cert_file: PEM: the server's certificate, then those of its issuers.
        key_file: PEM, not encrypted.
        min_version: Of TLS.
        alpn: Protocols offered, the preferred one first.

    Raises:
        TlsConfigurationError: A file cannot be used.

    """
    context = _context(
        min_version,
        cert_file,
        enableSessions=True,
        enableSessionTickets=True,
        **_identity(cert_file, key_file),
    )
    if alpn:
        context.set_alpn_select_callback(lambda _, offered: _choose(alpn, offered))
    return context


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
        options = _identity(cert_file, key_file)
    elif cert_file is not None or key_file is not None:
        alone = cert_file or key_file or ""
        raise TlsConfigurationError(
            alone, f"{alone} is of no use alone", "give both a certificate and its key"
        )
    if not insecure_skip_verify and ca_file is None:
        options["trustRoot"] = platformTrust()
    context = _context(min_version, cert_file, enableSessionTickets=True, **options)
    if not insecure_skip_verify:
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, note_chain_fault)
        _trust(context, ca_file)
    if alpn:
        context.set_alpn_protos(list(alpn))
    return context


def _context(min_version: MinVersion, cert_file: File | None, **options: Any) -> SSL.Context:
    certificate_options = CertificateOptions(
        acceptableCiphers=TLS12_CIPHERS, insecurelyLowerMinimumTo=VERSIONS[min_version], **options
    )
    try:
        context = certificate_options.getContext()
    except SSL.Error as error:
        raise TlsConfigurationError(
            cert_file or "",
            f"OpenSSL refuses {cert_file}: {reason_text(error)}",
            "have it issued anew, for a larger key and with a newer hash",
        ) from error
    context.set_tls13_ciphersuites(TLS13_CIPHERS)
    context.clear_mode(MODE_ENABLE_PARTIAL_WRITE)
    return context


def _choose(wanted: Sequence[bytes], offered: Sequence[bytes]) -> bytes | Any:
    """Prefer the server's order; without a common protocol there is none, as without ALPN."""
    return next((p for p in wanted if p in offered), SSL.NO_OVERLAPPING_PROTOCOLS)


def _trust(context: SSL.Context, ca_file: File | None) -> None:
    if ca_file is None:
        if not any(Path(path).exists() for path in SYSTEM_ROOTS):
            _trust_certifi(context)
        return
    _read(ca_file)
    try:
        context.load_verify_locations(str(ca_file))
    except SSL.Error as error:
        raise _no_certificate(ca_file) from error


def _trust_certifi(context: SSL.Context) -> None:
    """Fall back to the roots that the `certifi` package brings: a bare container has no others."""
    try:
        import certifi  # noqa: PLC0415 - needed seldom, and perhaps not installed
    except ImportError:
        return
    context.load_verify_locations(certifi.where())


def _identity(cert_file: File, key_file: File) -> dict[str, Any]:
    """Read a certificate chain and its key, as arguments of Twisted's CertificateOptions."""
    leaf, *issuers = _load_certificates(cert_file)
    key = _load_key(key_file)
    if leaf.public_key() != key.public_key():
        raise TlsConfigurationError(
            key_file,
            f"the key in {key_file} does not belong to the first certificate in {cert_file}",
            "give the key that the certificate was issued for, and put the server's own"
            " certificate first",
        )
    return {"privateKey": key, "certificate": leaf, "extraCertChain": issuers}


def _load_certificates(file: File) -> list[Certificate]:
    pem = _read(file)
    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        raise _no_certificate(file) from error


def _no_certificate(file: File) -> TlsConfigurationError:
    return TlsConfigurationError(
        file,
        f"{file} holds no certificate in PEM format",
        "it has to begin with -----BEGIN CERTIFICATE-----",
    )


def _load_key(file: File) -> PrivateKeyTypes:
    pem = _read(file)
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise TlsConfigurationError(
            file,
            f"the key in {file} is encrypted",
            f"give it without a passphrase (openssl pkey -in {file} -out ...)",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsConfigurationError(
            file,
            f"{file} holds no private key in PEM format",
            "it has to begin with -----BEGIN PRIVATE KEY----- or the like",
        ) from error


def _read(file: File) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise TlsConfigurationError(
            file,
            f"cannot read {file}: {error.strerror}",
            "check the path, and that this user may read the file",
        ) from error

"""The files that TLS is made of: certificates and keys, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

File = str | Path
Stamp = tuple[int, int, int]  # changes when a file is written or replaced


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


def load_pair(cert_file: File, key_file: File) -> tuple[list[Certificate], PrivateKeyTypes]:
    """
    Read a certificate with those of its issuers, and its key.

    Raises:
        TlsConfigurationError: One of them cannot be used, or they do not belong together.

    """
    chain = load_certificates(cert_file)
    key = _load_key(key_file)
    if chain[0].public_key() != key.public_key():
        raise TlsConfigurationError(
            key_file,
            f"the key in {key_file} does not belong to the first certificate in {cert_file}",
            "give the key that the certificate was issued for, and put the server's own"
            " certificate first",
        )
    return chain, key


def load_certificates(file: File) -> list[Certificate]:
    """Read all certificates of a file; raises `TlsConfigurationError`."""
    pem = read_file(file)
    try:
        return load_pem_x509_certificates(pem)
    except ValueError as error:
        raise no_certificate(file) from error


def no_certificate(file: File) -> TlsConfigurationError:
    """Say that there is none in it."""
    return TlsConfigurationError(
        file,
        f"{file} holds no certificate in PEM format",
        "it has to begin with -----BEGIN CERTIFICATE-----",
    )


def _load_key(file: File) -> PrivateKeyTypes:
    pem = read_file(file)
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


def read_file(file: File) -> bytes:
    """Read it; raises `TlsConfigurationError`."""
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise TlsConfigurationError(
            file,
            f"cannot read {file}: {error.strerror}",
            "check the path, and that this user may read the file",
        ) from error


def stamp_of(file: File) -> Stamp:
    """Look at a file without reading it; one that cannot be had is as good as any other."""
    try:
        status = Path(file).stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino

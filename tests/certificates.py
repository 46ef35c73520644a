"""Certificates made when a test runs: an authority, and what it issues."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import mkdtemp

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@frozen(eq=False)
class Authority:
    """A certificate authority; `cert_path` is what a client or a server trusts."""

    folder: Path
    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    cert_path: Path


@cache
def private_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    """The same P-256 key for the same number, in one process."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """The same RSA key, in one process."""
    return rsa.generate_private_key(65537, 2048)


def make_ca(folder: Path | str | None = None, name: str = "Test authority") -> Authority:
    """
    Make an authority with a key of its own.

    Args:
        folder: Where its files, and what it issues, go; by default one that goes with the process.
        name: The common name.
    """
    if folder is None:
        folder = mkdtemp(prefix="certificates-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = base_builder(subject, subject, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
    cert_path = path / "ca.pem"
    cert_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return Authority(path, subject, key, cert_path)


def issue(
    ca: Authority,
    names: Sequence[str],
    *,
    days: float = 30,
    key_number: int = 0,
    common_name: str | None = None,
    kind: str = "ec",
) -> tuple[Path, Path]:
    """
    Issue a certificate for server and client.

    Args:
        ca: Signs it.
        names: Host names and literal addresses; may be empty.
        days: Until it expires; negative for one that has expired.
        key_number: Another number is another key.
        common_name: Of the subject; the first name by default.
        kind: Of the key: "ec", or "rsa".

    Returns:
        Paths of the certificate and of its key, both PEM.
    """
    key = private_key(key_number) if kind == "ec" else rsa_key()
    title = common_name or (names[0] if names else "nameless")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    builder = base_builder(subject, ca.name, key, days)
    if names:
        alternatives = x509.SubjectAlternativeName([general_name(n) for n in names])
        builder = builder.add_extension(alternatives, critical=False)
    purposes = x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    )
    certificate = builder.add_extension(purposes, critical=False).sign(ca.key, hashes.SHA256())
    stem = f"{certificate.serial_number:x}"
    cert_path, key_path = ca.folder / f"{stem}.pem", ca.folder / f"{stem}.key"
    cert_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    return cert_path, key_path


def base_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    days: float = 30,
) -> x509.CertificateBuilder:
    end = datetime.now(UTC) + days * DAY
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(end, datetime.now(UTC)) - DAY)
        .not_valid_after(end)
    )


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)

"""Which certificate a client gets: by the name it asks for, and by what it can verify."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import (
    Certificate,
    DNSName,
    ExtensionNotFound,
    IPAddress,
    SubjectAlternativeName,
)
from cryptography.x509.oid import NameOID

from .tls_files import File, TlsConfigurationError, load_pair

Key = EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey | Ed448PrivateKey
_ALGORITHMS: Final[dict[type, str]] = {
    EllipticCurvePrivateKey: "ECDSA",
    RSAPrivateKey: "RSA",
    Ed25519PrivateKey: "Ed25519",
    Ed448PrivateKey: "Ed448",
}


@frozen(eq=False)
class Identity:
    """
    A certificate and its key.

    Attributes:
        cert_file: PEM: the certificate, then those of its issuers.
        key_file: PEM, not encrypted.
        key: What it says.
        algorithm: Of the key; a client may be able to verify one and not another.
        names: Host names it is for, in lower case, `*.` in front of some.
        addresses: Literal addresses that it is for.
        serial: Its number, in hexadecimal digits.
        not_after: When it expires.

    """

    cert_file: str
    key_file: str
    key: Key
    algorithm: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    serial: str
    not_after: datetime


def load_identity(cert_file: File, key_file: File) -> Identity:
    """Read both files; raises `TlsConfigurationError`."""
    (leaf, *_), key = load_pair(cert_file, key_file)
    if not isinstance(key, Key):
        raise TlsConfigurationError(
            key_file, f"TLS has no use for the kind of key in {key_file}", "take ECDSA or RSA"
        )
    return Identity(
        str(cert_file),
        str(key_file),
        key,
        next(name for kind, name in _ALGORITHMS.items() if isinstance(key, kind)),
        tuple(dict.fromkeys(_names(leaf))),
        tuple(_addresses(leaf)),
        f"{leaf.serial_number:x}",
        leaf.not_valid_after_utc,
    )


def _names(certificate: Certificate) -> Iterator[str]:
    try:
        alternatives = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        # No browser believes it any more, but a name is better than none to choose by.
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
            yield str(attribute.value).lower()
        return
    yield from (name.lower().rstrip(".") for name in alternatives.get_values_for_type(DNSName))


def _addresses(certificate: Certificate) -> Iterator[str]:
    try:
        alternatives = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return
    yield from (str(address) for address in alternatives.get_values_for_type(IPAddress))


Group = tuple[Identity, ...]


class Directory:
    """
    Finds identities by the name that a client asks for.

    Those that are for the same name and have keys of several kinds form a group, of which
    OpenSSL takes the one that the client can verify. Of several of one kind the first counts.
    """

    def __init__(self, identities: Sequence[Identity]) -> None:
        """Sort them in; there is at least one, and the first is for who asks for nothing known."""
        found: dict[str, dict[str, Identity]] = {}
        for identity in identities:
            for name in identity.names:
                found.setdefault(name, {}).setdefault(identity.algorithm, identity)
        self._groups: dict[str, Group] = {n: tuple(each.values()) for n, each in found.items()}
        first = identities[0]
        named = (self._groups[name] for name in first.names)
        self.default: Group = next((group for group in named if first in group), (first,))

    def groups(self) -> set[Group]:
        """Return every group that may be found."""
        return {self.default, *self._groups.values()}

    def find(self, name: str) -> Group | None:
        """Return who is called so, exactly or by a `*.` in place of its first label."""
        name = name.lower().rstrip(".")
        return self._groups.get(name) or self._groups.get(f"*.{name.partition('.')[2]}")

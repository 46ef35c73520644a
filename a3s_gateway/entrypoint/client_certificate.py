"""What backends are told of a client's certificate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import (
    Certificate,
    DNSName,
    ExtensionNotFound,
    IPAddress,
    RFC822Name,
    SubjectAlternativeName,
    UniformResourceIdentifier,
)

from a3s_gateway.headers import EMPTY_HEADERS, Header, Headers

LONGEST: Final = 4096  # bytes of one field; what is longer is left out, for half a name is another

_KINDS: Final[dict[type, str]] = {
    DNSName: "DNS",
    RFC822Name: "email",
    UniformResourceIdentifier: "URI",
    IPAddress: "IP",
}


def certificate_fields(transport: Any, *, is_verified: bool) -> Headers:
    """Describe the certificate that was shown on a TLS transport; nothing if none was."""
    shown = transport.getPeerCertificate()
    if shown is None:
        return EMPTY_HEADERS
    certificate: Certificate = shown.to_cryptography()
    fields = (
        ("Verified", "true" if is_verified else "false"),
        ("Subject", certificate.subject.rfc4514_string()),
        ("Issuer", certificate.issuer.rfc4514_string()),
        ("Serial", f"{certificate.serial_number:x}"),
        ("Fingerprint", certificate.fingerprint(SHA256()).hex()),
        ("Not-After", f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"),
        ("Names", ", ".join(_names(certificate))),
    )
    plain = ((name, _plain(value)) for name, value in fields)
    return Headers(
        Header.of(f"X-Client-Cert-{name}", value)
        for name, value in plain
        if value and len(value) <= LONGEST
    )


def _names(certificate: Certificate) -> Iterator[str]:
    try:
        found = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):  # a certificate that nobody verified may be malformed
        return
    for name in found:
        kind = _KINDS.get(type(name))
        if kind is not None:
            yield f"{kind}:{name.value}".replace(",", "\\2C")


def _plain(text: str) -> str:
    """Escape what is no plain ASCII as RFC 4514 §2.4 does: two digits for each byte."""
    return "".join(
        each if " " <= each <= "~" else "".join(f"\\{byte:02X}" for byte in each.encode())
        for each in text.strip()
    )

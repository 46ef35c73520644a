"""Parts of an entrypoint's `tls` block: certificates, and what is asked of clients."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from attrs import frozen

from a3s_gateway.config.kinds import PATH, choice
from a3s_gateway.config.schema import Mistake, Section, key, keys

ClientAuthMode = Literal["request", "require-any", "verify-if-given", "require"]
_VERIFYING: Final = ("verify-if-given", "require")


@frozen(kw_only=True)
class CertificateConfig(Section):
    """A certificate and its key."""

    cert_file: str = key(PATH, "Certificate chain, PEM.", example='"/etc/certs/shop.pem"')
    key_file: str = key(PATH, "Its private key, PEM.", example='"/etc/certs/shop.key"')


@frozen(kw_only=True)
class ClientAuthConfig(Section):
    """Certificates of clients."""

    ca_files: tuple[str, ...] = keys(
        PATH, "Who signs them, PEM. Required by modes that verify.", example='["/etc/certs/ca.pem"]'
    )
    mode: ClientAuthMode = key(
        choice("request", "require-any", "verify-if-given", "require"),
        "`require`: only clients with a valid certificate get in. `verify-if-given`: also those "
        "with none. `request` and `require-any` do the same and verify nothing.",
        default="require",
    )

    @property
    def verifies(self) -> bool:
        """Tell whether what a certificate says can be believed."""
        return self.mode in _VERIFYING

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse to verify against nobody, and authorities that nobody asks."""
        if self.verifies and not self.ca_files:
            yield Mistake("", f'"client_auth" with mode "{self.mode}" needs "ca_files"')

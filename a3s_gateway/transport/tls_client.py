"""The client's side of TLS: whom to expect, and whether that is who is there."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from attrs import frozen
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNSPattern, IPAddressPattern
from service_identity.pyopenssl import extract_patterns, verify_hostname, verify_ip_address
from twisted.internet.error import (
    ConnectError,
    TimeoutError,  # noqa: A004 - Twisted's, which is a ConnectError
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from .tls import HandshakeTimeout
from .tls_faults import TlsError, TlsVerificationError, reason_text, take_chain_fault


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class ClientTls:
    """A context of `client_context`, and the server that has to be at the other end."""

    context: SSL.Context
    server_name: str  # a host name or a literal address

    def open(self, sock: socket.socket | None) -> SSL.Connection:
        """Make a connection on a socket; `None`: in memory, as Twisted's own TLS does."""
        tls = SSL.Connection(self.context, sock)
        tls.set_connect_state()
        if not self._is_address():  # RFC 6066 §3: no literal addresses
            tls.set_tlsext_host_name(self.server_name.rstrip(".").encode("idna"))
        return tls

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002
        """Make a connection for Twisted's own TLS."""
        return self.open(None)

    def check(self, tls: SSL.Connection) -> None:
        """Check the name in the certificate after the handshake; raises `TlsVerificationError`."""
        if tls.get_context().get_verify_mode() == SSL.VERIFY_NONE:
            return
        try:
            if self._is_address():
                verify_ip_address(tls, self.server_name)
            else:
                verify_hostname(tls, self.server_name.rstrip(".").encode("idna").decode())
        except VerificationError:
            raise TlsVerificationError(string=self._wrong_name(tls)) from None
        except CertificateError as error:
            text = f"it says not for which names it is ({error})"
            raise TlsVerificationError(string=text) from None

    def explain(self, tls: SSL.Connection, reason: Failure) -> ConnectError:
        """Say why the handshake failed."""
        fault = take_chain_fault(tls)
        if fault is not None:
            return TlsVerificationError(string=f"{fault}; expected {self.server_name}")
        if isinstance(reason.value, HandshakeTimeout):
            return TimeoutError(string=f"TLS handshake with {self.server_name}")
        if isinstance(reason.value, SSL.Error):
            return TlsError(string=f"{reason_text(reason.value)}, with {self.server_name}")
        return TlsError(string=f"{self.server_name} closed the connection")

    def _is_address(self) -> bool:
        try:
            ip_address(self.server_name)
        except ValueError:
            return False
        return True

    def _wrong_name(self, tls: SSL.Connection) -> str:
        certificate = tls.get_peer_certificate()
        assert certificate is not None
        patterns = extract_patterns(certificate)
        names = [
            p.pattern.decode() if isinstance(p, DNSPattern) else str(p.pattern)
            for p in patterns
            if isinstance(p, DNSPattern | IPAddressPattern)
        ]
        return f"it is for {', '.join(names)}, not for {self.server_name}"

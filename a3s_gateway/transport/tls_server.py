"""The server's side of TLS: which certificate a client gets, and what is asked of the client."""

from __future__ import annotations

import socket
from collections.abc import Generator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, Literal

from attrs import define, frozen
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from .tls_context import MinVersion, base_context, refused_by_openssl
from .tls_files import File, Stamp, load_certificates, read_file, stamp_of
from .tls_identity import Directory, Group, Identity, load_identity

_ffi: Any = Binding.ffi
_lib: Any = Binding.lib

# Mozilla's "intermediate" list, and before it the hybrid that stands up to quantum computers.
GROUPS: Final = b"X25519:P-256:P-384"
HYBRID: Final = b"X25519MLKEM768"  # OpenSSL 3.5 and newer
UNRECOGNIZED_NAME: Final = 112  # the alert; RFC 6066 §3
SESSION_LIFETIME: Final = 4 * 3600  # seconds that a client may resume its session

ClientAuthMode = Literal["request", "require-any", "verify-if-given", "require"]

_VERIFY: Final = {
    "request": SSL.VERIFY_PEER,
    "require-any": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
    "verify-if-given": SSL.VERIFY_PEER,
    "require": SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}
VERIFYING: Final = ("verify-if-given", "require")  # those whose certificates can be believed


@frozen
class ClientAuth:
    """
    What is asked of clients.

    Attributes:
        mode: Whether a client must have a certificate, and whether it is verified.
        ca_files: PEM; who may have issued it.

    """

    mode: ClientAuthMode
    ca_files: tuple[str, ...]


@frozen
class ServerPolicy:
    """
    What holds whatever certificate is shown.

    Attributes:
        min_version: Of TLS.
        alpn: Protocols offered, the preferred one first.
        is_strict: Who asks for no name that there is a certificate for is sent away.
        client_auth: What is asked of clients, if anything is.
        max_handshakes: Of one listener, under way at a time; `None`: no limit.

    """

    min_version: MinVersion = "1.2"
    alpn: tuple[bytes, ...] = (b"http/1.1",)
    is_strict: bool = False
    client_auth: ClientAuth | None = None
    max_handshakes: int | None = None


@frozen(eq=False)
class Certificates:
    """
    The identities there are, and OpenSSL's contexts of them: what is replaced as a whole.

    Attributes:
        identities: In the order of the configuration.
        directory: Finds them by name.
        contexts: One for each group of them.
        stamps: Of the files, just before they were read.

    """

    identities: tuple[Identity, ...]
    directory: Directory
    contexts: Mapping[Group, SSL.Context]
    stamps: Mapping[str, Stamp]

    def context_for(self, name: bytes | None, *, is_strict: bool) -> SSL.Context | None:
        """Find the context for the name that a client asks for; None if it is to be sent away."""
        group = self.directory.find(name.decode("latin-1")) if name else None
        if group is None:
            if is_strict:
                return None
            group = self.directory.default
        return self.contexts[group]


class _Accepted(SSL.Connection):
    """A connection that keeps alive what OpenSSL may call on its behalf."""

    front: SSL.Context
    server: ServerTls


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class ServerTls:
    """
    How clients are met, made by `server_tls`.

    Connections begin in one context, the front, which has no certificate; it owns the keys of
    the sessions' tickets. When the client has said whom it wants, its connection is moved to
    the context of a certificate. So certificates come and go, and sessions stay.
    """

    policy: ServerPolicy
    certificates: Certificates
    _front: SSL.Context
    _sessions: bytes  # what a session must have been agreed under, to be resumed

    def __attrs_post_init__(self) -> None:
        _lib.SSL_CTX_set_tlsext_servername_callback(self._front._context, _choose_by_name)  # noqa: SLF001

    def open(self, sock: socket.socket | None) -> SSL.Connection:
        """Make a connection on a socket; `None`: in memory, as Twisted's own TLS does."""
        tls = _Accepted(self._front, sock)
        tls.front, tls.server = self._front, self
        tls.set_accept_state()
        return tls

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002
        """Make a connection for Twisted's own TLS."""
        return self.open(None)

    def become(self, other: ServerTls) -> None:
        """Take over policy and certificates; sessions stay where they may be resumed under both."""
        self.policy, self.certificates = other.policy, other.certificates
        if self._sessions != other._sessions:
            self._front, self._sessions = other._front, other._sessions


@_ffi.callback("int (*)(SSL *, int *, void *)", error=2)  # type: ignore[untyped-decorator]
def _choose_by_name(ssl: Any, alert: Any, _: Any) -> int:
    """Move a connection to the context of its certificate; OpenSSL calls it for every client."""
    tls = SSL.Connection._reverse_mapping[ssl]  # noqa: SLF001
    assert isinstance(tls, _Accepted)
    server = tls.server
    context = server.certificates.context_for(
        tls.get_servername(), is_strict=server.policy.is_strict
    )
    if context is None:
        alert[0] = UNRECOGNIZED_NAME
        return int(_lib.SSL_TLSEXT_ERR_ALERT_FATAL)
    tls.set_context(context)
    return 0


def server_tls(
    pairs: Sequence[tuple[File, File]], policy: ServerPolicy = ServerPolicy()
) -> ServerTls:
    """
    Load certificates.

    Args:
        pairs: Files of certificates and their keys, PEM; the first is for who asks for no name.
        policy: Everything else.

    Raises:
        TlsConfigurationError: A file cannot be used.

    """
    work = load_server_tls(pairs, policy)
    while True:
        try:
            next(work)
        except StopIteration as done:
            made: ServerTls = done.value
            return made


def load_server_tls(
    pairs: Sequence[tuple[File, File]], policy: ServerPolicy
) -> Generator[None, None, ServerTls]:
    """Do what `server_tls` does, and yield wherever others may have their turn."""
    authorities = policy.client_auth.ca_files if policy.client_auth is not None else ()
    files = (*(str(file) for pair in pairs for file in pair), *authorities)
    stamps = {file: stamp_of(file) for file in files}
    sessions = _sessions_of(policy)
    front = _context(policy, sessions, ())
    identities = []
    for pair in pairs:
        identities.append(load_identity(*pair))
        yield
    directory = Directory(identities)
    contexts = {}
    for group in directory.groups():
        contexts[group] = _context(policy, sessions, group)
        yield
    certificates = Certificates(tuple(identities), directory, contexts, stamps)
    return ServerTls(policy, certificates, front, sessions)


def _sessions_of(policy: ServerPolicy) -> bytes:
    """Digest what clients have to prove: a session that began with less must not go on."""
    digest = sha256(repr((policy.min_version, policy.client_auth)).encode())
    if policy.client_auth is not None:
        for file in policy.client_auth.ca_files:
            digest.update(read_file(file))
    return digest.digest()


def _context(policy: ServerPolicy, sessions: bytes, group: Group) -> SSL.Context:
    # Sessions are kept by clients alone, as tickets: a cache would be for TLS 1.2 only.
    context = base_context(policy.min_version, enableSessions=False)
    context.set_session_id(sessions)
    context.set_timeout(SESSION_LIFETIME)
    if not _lib.SSL_CTX_set1_curves_list(context._context, HYBRID + b":" + GROUPS):  # noqa: SLF001
        _lib.ERR_clear_error()
        _lib.SSL_CTX_set1_curves_list(context._context, GROUPS)  # noqa: SLF001
    for identity in group:
        with refused_by_openssl(identity.cert_file):
            context.use_certificate_chain_file(identity.cert_file)
            context.use_privatekey(identity.key)
    if policy.alpn:
        context.set_alpn_select_callback(lambda _, offered: _agree(policy.alpn, offered))
    if policy.client_auth is not None:
        _ask_clients(context, policy.client_auth)
    return context


def _agree(wanted: Sequence[bytes], offered: Sequence[bytes]) -> bytes | Any:
    """Prefer the server's order; without a common protocol there is none, as without ALPN."""
    return next((p for p in wanted if p in offered), SSL.NO_OVERLAPPING_PROTOCOLS)


def _ask_clients(context: SSL.Context, asked: ClientAuth) -> None:
    verifies = asked.mode in VERIFYING
    context.set_verify(_VERIFY[asked.mode], _accept_valid if verifies else _accept_any)
    for file in asked.ca_files:
        for authority in load_certificates(file):
            context.add_client_ca(authority)
        context.load_verify_locations(file)


def _accept_valid(*found: Any) -> bool:
    return bool(found[-1])


def _accept_any(*_: Any) -> bool:
    return True

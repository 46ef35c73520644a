"""Words for what can be wrong with a TLS handshake: OpenSSL's numbers say little to its user."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from OpenSSL import SSL, crypto
from twisted.internet.error import ConnectError

# X509_V_ERR_* of OpenSSL's x509_vfy.h, in the user's words.
CHAIN_FAULTS = {
    2: "the issuer of {who} is unknown",
    7: "the signature of {who} is wrong",
    9: "{who} is not valid yet",
    10: "{who} has expired",
    18: "{who} is self-signed and not trusted",
    19: "the chain ends in {who}, which is not trusted",
    20: "the issuer of {who} is not trusted, or the server does not send its intermediate",
    21: "the issuer of {who} is not trusted, or the server does not send its intermediate",
    22: "the chain is too long",
    23: "{who} has been revoked",
    24: "{who} signs others without being an authority",
    26: "{who} is for another purpose",
}


class TlsError(ConnectError):
    """The handshake failed: the two sides found no common ground, or one broke off."""

    MESSAGE = "The TLS handshake failed"


class TlsVerificationError(TlsError):
    """The server is not, or cannot prove that it is, the one that was to be reached."""

    MESSAGE = "The server's certificate is refused"


# What OpenSSL found wrong with a chain; it tells the handshake's caller no more than that it was.
_chain_faults: WeakKeyDictionary[SSL.Connection, str] = WeakKeyDictionary()


def take_chain_fault(tls: SSL.Connection) -> str | None:
    """Give what was noted about this handshake, and forget it."""
    return _chain_faults.pop(tls, None)


def note_chain_fault(
    tls: SSL.Connection, cert: crypto.X509, number: int, depth: int, ok: int
) -> bool:
    """Accept what OpenSSL accepts, and remember the rest; the callback of `set_verify`."""
    if not ok:
        subject = cert.to_cryptography().subject.rfc4514_string() or "its certificate"
        who = f"{subject} ({'server' if depth == 0 else f'issuer {depth}'})"
        text = CHAIN_FAULTS.get(number, "{who} fails check " + str(number))
        _chain_faults[tls] = text.format(who=who)
    return bool(ok)


def reason_text(error: SSL.Error) -> str:
    """Take OpenSSL's words, the most specific of them."""
    queue = error.args[0] if error.args else ()
    return str(queue[-1][2]) if queue else "the connection broke off"

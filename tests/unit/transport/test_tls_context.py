"""Contexts: what they accept, and words for the files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from a3s_gateway.transport import tls_context
from a3s_gateway.transport.tls_context import (
    client_context,
)
from a3s_gateway.transport.tls_files import TlsConfigurationError
from a3s_gateway.transport.tls_server import ServerTls, server_tls
from tests.certificates import Authority, base_builder, issue, make_ca, private_key


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def identity(ca: Authority) -> tuple[Path, Path]:
    return issue(ca, ["localhost"])


def test_a_pair_of_files_makes_a_context(identity: tuple[Path, Path]) -> None:
    """A certificate and its key are all that a server needs."""
    assert isinstance(server_tls([identity]), ServerTls)
    assert isinstance(server_tls([(str(identity[0]), str(identity[1]))]), ServerTls)


def test_forward_secrecy_and_authenticated_ciphers_only(identity: tuple[Path, Path]) -> None:
    """Mozilla's intermediate list: nothing weaker is offered."""
    names = server_tls([identity]).open(None).get_cipher_list()
    assert names[0] == "TLS_AES_128_GCM_SHA256"
    old = [name for name in names if not name.startswith(("TLS_", "ECDHE-"))]
    assert old == []
    assert all("GCM" in name or "CHACHA20" in name for name in names)


def test_a_missing_file_is_named(identity: tuple[Path, Path], tmp_path: Path) -> None:
    """The fault says which file cannot be read, and why."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(TlsConfigurationError, match=rf"cannot read {missing}: No such file"):
        server_tls([(missing, identity[1])])
    with pytest.raises(TlsConfigurationError, match=rf"cannot read {missing}: No such file"):
        server_tls([(identity[0], missing)])
    with pytest.raises(TlsConfigurationError, match=rf"cannot read {missing}: No such file"):
        client_context(ca_file=missing)


def test_a_file_without_pem_is_named(identity: tuple[Path, Path], tmp_path: Path) -> None:
    """The fault says what the file should begin with."""
    text = tmp_path / "readme.txt"
    text.write_text("not a certificate")
    with pytest.raises(TlsConfigurationError, match=rf"{text} holds no certificate.*BEGIN CERT"):
        server_tls([(text, identity[1])])
    with pytest.raises(TlsConfigurationError, match=rf"{text} holds no private key.*PRIVATE KEY"):
        server_tls([(identity[0], text)])
    with pytest.raises(TlsConfigurationError, match=rf"{text} holds no certificate"):
        client_context(ca_file=text)


def test_the_wrong_way_round(identity: tuple[Path, Path]) -> None:
    """A key in place of the certificate is a fault of that file."""
    cert, key = identity
    with pytest.raises(TlsConfigurationError, match=rf"{key} holds no certificate"):
        server_tls([(key, cert)])


def test_a_key_of_another_certificate(ca: Authority, identity: tuple[Path, Path]) -> None:
    """The fault names both files."""
    _, other_key = issue(ca, ["localhost"], key_number=1)
    with pytest.raises(TlsConfigurationError, match=rf"{other_key} does not belong.*{identity[0]}"):
        server_tls([(identity[0], other_key)])


def test_an_encrypted_key(identity: tuple[Path, Path], tmp_path: Path) -> None:
    """The fault says how to get rid of the passphrase."""
    encrypted = tmp_path / "encrypted.key"
    secret = BestAvailableEncryption(b"passphrase")
    encrypted.write_bytes(private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(TlsConfigurationError, match=r"is encrypted.*openssl pkey"):
        server_tls([(identity[0], encrypted)])


def test_a_client_certificate_needs_its_key(identity: tuple[Path, Path]) -> None:
    """Half of a client's identity is a fault; the whole of it is a context."""
    with pytest.raises(TlsConfigurationError, match="of no use alone"):
        client_context(cert_file=identity[0])
    with pytest.raises(TlsConfigurationError, match="of no use alone"):
        client_context(key_file=identity[1])
    assert isinstance(client_context(cert_file=identity[0], key_file=identity[1]), SSL.Context)


def test_a_system_without_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without certificates those of the `certifi` package are trusted."""
    monkeypatch.setattr(tls_context, "SYSTEM_ROOTS", ())
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    first, end, _ = Path(certifi.where()).read_bytes().partition(b"-----END CERTIFICATE-----")
    root = load_pem_x509_certificate(first + end)
    context = client_context()
    store = context.get_cert_store()  # lives as long as the context
    assert store is not None
    crypto.X509StoreContext(store, crypto.X509.from_cryptography(root)).verify_certificate()


def test_clients_verify_unless_told_otherwise(ca: Authority) -> None:
    """Verification is on by default, and off only when asked for by its full name."""
    assert client_context().get_verify_mode() & SSL.VERIFY_PEER
    assert client_context(ca_file=ca.cert_path).get_verify_mode() & SSL.VERIFY_PEER
    assert client_context(insecure_skip_verify=True).get_verify_mode() == SSL.VERIFY_NONE


def test_a_key_that_is_too_short(ca: Authority, tmp_path: Path) -> None:
    """What OpenSSL finds too weak is a fault of that certificate, in OpenSSL's words."""
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    certificate = base_builder(name, ca.name, key).sign(ca.key, hashes.SHA256())
    cert, secret = tmp_path / "weak.pem", tmp_path / "weak.key"
    cert.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(TlsConfigurationError, match=rf"refuses {cert}: ee key too small") as caught:
        server_tls([(cert, secret)])
    assert caught.value.file == str(cert)
    assert "larger key" in caught.value.remedy

"""Which certificate a client gets, what is asked of it, and how sessions outlive a change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from OpenSSL import SSL

from a3s_gateway.transport.tls_context import client_context
from a3s_gateway.transport.tls_server import ClientAuth, ServerPolicy, ServerTls, server_tls
from tests.certificates import Authority, issue, make_ca

Pair = tuple[Path, Path]
HYBRID = "X25519MLKEM768"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_ca(tmp_path_factory.mktemp("ca"))


class Client:
    """A client that shakes hands in memory."""

    def __init__(
        self,
        server: ServerTls,
        name: str = "",
        *,
        context: SSL.Context | None = None,
        session: Any = None,
        prepare: Callable[[SSL.Connection], None] = lambda _: None,
    ) -> None:
        self.near = SSL.Connection(context or client_context(insecure_skip_verify=True), None)
        self.near.set_connect_state()
        prepare(self.near)
        if name:
            self.near.set_tlsext_host_name(name.encode())
        if session is not None:
            self.near.set_session(session)
        self.far = server.open(None)
        self._shake()

    def _shake(self) -> None:
        for _ in range(4):
            for one, other in ((self.near, self.far), (self.far, self.near)):
                try:
                    one.do_handshake()
                except SSL.WantReadError:
                    pass
                except SSL.Error:
                    assert one is self.far
                    self._carry(one, other)
                    self.near.recv(1)  # raises what the client hears of it
                self._carry(one, other)
        assert self.near.get_cipher_name()
        self.far.send(b"x")
        self._carry(self.far, self.near)
        assert self.near.recv(1) == b"x"  # the tickets have come before it

    def _carry(self, one: SSL.Connection, other: SSL.Connection) -> None:
        try:
            while True:
                other.bio_write(one.bio_read(65536))
        except SSL.WantReadError:
            pass

    @property
    def shown(self) -> str:
        """The common name of the certificate that it got."""
        return self.certificate.subject.rfc4514_string().removeprefix("CN=")

    @property
    def certificate(self) -> Any:
        found = self.near.get_peer_certificate(as_cryptography=True)
        assert found is not None
        return found

    @property
    def is_resumed(self) -> bool:
        lib: Any = Binding.lib
        return bool(lib.SSL_session_reused(self.near._ssl))  # noqa: SLF001 - pyOpenSSL does not say


def tls_1_2() -> SSL.Context:
    context = client_context(insecure_skip_verify=True)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    return context


def test_the_name_asked_for_decides(ca: Authority) -> None:
    """Exact names go before wildcards; who asks for none, or for another, gets the first."""
    server = server_tls(
        [
            issue(ca, ["a.example"], common_name="first"),
            issue(ca, ["b.example", "www.b.example"], common_name="exact"),
            issue(ca, ["*.b.example"], common_name="wildcard"),
        ]
    )
    for name, shown in (
        ("a.example", "first"),
        ("b.example", "exact"),
        ("WWW.b.example", "exact"),
        ("shop.b.example", "wildcard"),
        ("x.shop.b.example", "first"),
        ("c.example", "first"),
        ("", "first"),
    ):
        assert (name, Client(server, name).shown) == (name, shown)


def test_strict_names(ca: Authority) -> None:
    """Who asks for no name that there is a certificate for is told so, and gets none."""
    server = server_tls([issue(ca, ["a.example", "*.b.example"])], ServerPolicy(is_strict=True))
    assert Client(server, "x.b.example").shown == "a.example"
    for name in ("c.example", "b.example", ""):
        with pytest.raises(SSL.Error, match="unrecognized name"):
            Client(server, name)


def test_ecdsa_and_rsa_side_by_side(ca: Authority) -> None:
    """A client that knows no ECDSA gets the certificate that it can verify, with its own chain."""
    server = server_tls([issue(ca, ["a.example"]), issue(ca, ["a.example"], kind="rsa")])
    assert not isinstance(Client(server, "a.example").certificate.public_key(), RSAPublicKey)
    old = tls_1_2()
    old.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")
    assert isinstance(
        Client(server, "a.example", context=old).certificate.public_key(), RSAPublicKey
    )


def test_each_certificate_comes_with_its_own_issuers(ca: Authority, tmp_path: Path) -> None:
    """The chain that a client gets is the one in the certificate's file."""
    other = make_ca(tmp_path / "other", name="Another authority")
    pairs = []
    for authority, kind in ((ca, "ec"), (other, "rsa")):
        cert, key = issue(authority, ["a.example"], kind=kind)
        cert.write_bytes(cert.read_bytes() + authority.cert_path.read_bytes())
        pairs.append((cert, key))
    server = server_tls(pairs)
    old = tls_1_2()
    old.set_cipher_list(b"ECDHE-RSA-AES128-GCM-SHA256")
    for context, issuer in ((None, "CN=Test authority"), (old, "CN=Another authority")):
        chain = Client(server, context=context).near.get_peer_cert_chain(as_cryptography=True)
        assert chain is not None
        assert [each.subject.rfc4514_string() for each in chain[1:]] == [issuer]


def test_a_hybrid_key_exchange(ca: Authority) -> None:
    """What is recorded today is not read when there are quantum computers."""
    near = Client(server_tls([issue(ca, ["a.example"])])).near
    assert near.get_group_name() == HYBRID


@pytest.mark.parametrize("context", [None, tls_1_2()], ids=["1.3", "1.2"])
def test_sessions_are_resumed_whatever_certificate_there_is(
    ca: Authority, context: SSL.Context | None
) -> None:
    """A renewed certificate, and a reload that leaves the block alone, cost no full handshake."""
    pair = issue(ca, ["a.example"], common_name="before")
    server = server_tls([pair])
    context = context or client_context(insecure_skip_verify=True)
    first = Client(server, "a.example", context=context)
    session = first.near.get_session()
    server.become(server_tls([issue(ca, ["a.example"], common_name="after")]))
    assert Client(server, "a.example", context=context, session=session).is_resumed
    assert Client(server, "a.example").shown == "after"


def test_a_session_does_not_carry_over_what_was_not_asked_for(ca: Authority) -> None:
    """Who came without a certificate has to show one once it is asked for."""
    pair = issue(ca, ["a.example"])
    server = server_tls([pair])
    context = client_context(insecure_skip_verify=True)
    session = Client(server, "a.example", context=context).near.get_session()
    asked = ClientAuth("verify-if-given", (str(ca.cert_path),))
    server.become(server_tls([pair], ServerPolicy(client_auth=asked)))
    assert not Client(server, "a.example", context=context, session=session).is_resumed


@pytest.mark.parametrize("mode", ["request", "require-any", "verify-if-given", "require"])
def test_what_is_asked_of_clients(ca: Authority, tmp_path: Path, mode: Any) -> None:
    """Whether a client needs a certificate, and whether anybody's will do."""
    stranger = make_ca(tmp_path, name="A stranger")
    ours = issue(ca, [], common_name="ours")
    theirs = issue(stranger, [], common_name="theirs")
    policy = ServerPolicy(client_auth=ClientAuth(mode, (str(ca.cert_path),)))
    server = server_tls([issue(ca, ["a.example"])], policy)

    def gets_in(pair: Pair | None) -> bool:
        cert, key = pair or (None, None)
        context = client_context(insecure_skip_verify=True, cert_file=cert, key_file=key)
        try:
            client = Client(server, "a.example", context=context)
        except SSL.Error:
            return False
        shown = client.far.get_peer_certificate(as_cryptography=True)
        assert (shown is not None) is (pair is not None)
        return True

    assert gets_in(ours)
    assert gets_in(None) is (mode in {"request", "verify-if-given"})
    assert gets_in(theirs) is (mode in {"request", "require-any"})

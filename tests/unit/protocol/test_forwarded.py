"""Who asked, from where, and whom we believe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.protocol.forwarded import UNKNOWN, Forwarded, forwarded, plain_address

TRUSTED = {"10.0.0.1", "10.0.0.2"}
NAMES = (
    "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
    "x-real-ip", "x_forwarded_for", "x_real_ip",
)  # fmt: skip
VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12
).map(str.strip)


def facts(
    *received: tuple[str, str],
    peer: str = "10.0.0.1",
    scheme: str = "http",
    authority: str = "example.com",
) -> Forwarded:
    return forwarded(peer, scheme, authority, received, TRUSTED.__contains__)


def said(found: Forwarded) -> dict[str, str]:
    return {header.name: header.value for header in found.headers}


def test_a_client_that_comes_directly() -> None:
    """It is announced as what it is."""
    found = facts(peer="192.0.2.1", authority="example.com:8080")
    assert said(found) == {
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "example.com:8080",
        "x-forwarded-port": "8080",
        "x-real-ip": "192.0.2.1",
        "forwarded": 'for=192.0.2.1;host="example.com:8080";proto=http',
    }
    assert (found.client, found.scheme) == ("192.0.2.1", "http")


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6))
def test_a_stranger_can_say_nothing(received: list[tuple[str, str]]) -> None:
    """Whatever it claims, what goes upstream is what it would be without."""
    assert said(facts(*received, peer="192.0.2.1")) == said(facts(peer="192.0.2.1"))


@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6))
def test_whatever_a_proxy_says_can_be_written(received: list[tuple[str, str]]) -> None:
    """It is escaped or left out, and ours always stands last."""
    found = facts(*received)
    fields = said(found)
    assert fields["x-forwarded-for"].endswith("10.0.0.1")
    assert fields["forwarded"].endswith(f"proto={found.scheme}")
    assert found.scheme in ("http", "https")
    assert fields["x-forwarded-port"].isascii()
    assert fields["x-forwarded-port"].isdigit()
    assert len(found.headers) == 6


def test_a_chain_of_proxies() -> None:
    """The client is the last address that is not one of ours."""
    found = facts(
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "HTTPS, http"),
        ("x-forwarded-host", "outside.example, inside.example"),
        ("forwarded", "for=203.0.113.9"),
        ("forwarded", "for=198.51.100.7"),
    )
    assert said(found) == {
        "x-forwarded-for": "203.0.113.9, 198.51.100.7, 10.0.0.2, 10.0.0.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "outside.example",
        "x-forwarded-port": "443",
        "x-real-ip": "198.51.100.7",
        "forwarded": (
            "for=203.0.113.9, for=198.51.100.7, for=10.0.0.1;host=outside.example;proto=https"
        ),
    }
    assert (found.client, found.scheme) == ("198.51.100.7", "https")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("10.0.0.2", "10.0.0.2"),
        ("10.0.0.2, 10.0.0.1", "10.0.0.2"),
        ("not-an-address", "10.0.0.1"),
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("203.0.113.9:1234", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        (",, ,", "10.0.0.1"),
    ],
)
def test_chains_of_our_own_or_of_nonsense(chain: str, client: str) -> None:
    """Where no address can be believed, the client is the one that we see."""
    assert facts(("x-forwarded-for", chain)).client == client


@pytest.mark.parametrize(
    ("host", "element"),
    [
        ('a";for=1.2.3.4;x="', r'host="a\";for=1.2.3.4;x=\""'),
        ("a\\", r'host="a\\"'),
        ("a;b", 'host="a;b"'),
        ("[::1]:80", 'host="[::1]:80"'),
        ("plain.example", "host=plain.example"),
    ],
)
def test_a_host_cannot_add_to_what_we_say(host: str, element: str) -> None:
    """A proxy passes on what its client claims: it is quoted (RFC 7239 §4)."""
    fields = said(facts(("x-forwarded-host", host)))
    assert fields["forwarded"] == f"for=10.0.0.1;{element};proto=http"


@pytest.mark.parametrize("port", ["", "x", "-1", "²", "123456", "80 80"])
def test_a_port_that_is_none(port: str) -> None:
    """The one that fits the scheme is said instead."""
    assert said(facts(("x-forwarded-port", port)))["x-forwarded-port"] == "80"


def test_an_ipv6_client_is_quoted() -> None:
    """In Forwarded an address with colons stands in brackets and quotes."""
    fields = said(facts(peer="2001:db8::1", authority="[2001:db8::2]"))
    assert fields["forwarded"] == 'for="[2001:db8::1]";host="[2001:db8::2]";proto=http'
    assert (fields["x-forwarded-for"], fields["x-forwarded-port"]) == ("2001:db8::1", "80")


def test_a_client_without_an_address() -> None:
    """On a Unix socket it is `unknown`, and a request without Host has none."""
    found = facts(peer=UNKNOWN, authority="", scheme="https")
    assert found.client == UNKNOWN
    assert said(found)["forwarded"] == 'for=unknown;host="";proto=https'


def test_ipv4_in_ipv6_is_ipv4() -> None:
    """A socket for both families shows addresses in a form that no rule has."""
    addresses = ("::ffff:192.0.2.1", "192.0.2.1", "2001:db8::1", "::ffff:0:1")
    assert [plain_address(each) for each in addresses] == [
        "192.0.2.1", "192.0.2.1", "2001:db8::1", "::ffff:0:1",
    ]  # fmt: skip

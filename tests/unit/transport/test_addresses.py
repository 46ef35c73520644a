"""Socket addresses as Twisted's."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from a3s_gateway.transport.addresses import RawAddress, StreamAddress, shown, stream_address


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        (("192.0.2.1", 80), IPv4Address("TCP", "192.0.2.1", 80)),
        (("2001:db8::1", 80, 0, 0), IPv6Address("TCP", "2001:db8::1", 80)),
        (("fe80::1", 80, 0, 3), IPv6Address("TCP", "fe80::1%3", 80, 0, 3)),
        (("::ffff:192.0.2.1", 80, 0, 0), IPv4Address("TCP", "192.0.2.1", 80)),
        (("::ffff:1", 80, 0, 0), IPv6Address("TCP", "::ffff:1", 80)),
        ("/run/socket", UNIXAddress("/run/socket")),
        ("", UNIXAddress(None)),
    ],
)
def test_what_the_kernel_says_becomes_an_address(raw: RawAddress, address: StreamAddress) -> None:
    """A client over IPv4 of a dual-stack listener is seen as one of IPv4."""
    assert stream_address(raw) == address
    assert type(stream_address(raw)) is type(address)


def test_how_an_address_is_shown() -> None:
    """As the configuration would name it."""
    assert shown(IPv4Address("TCP", "127.0.0.1", 80)) == "127.0.0.1:80"
    assert shown(IPv6Address("TCP", "::1", 80)) == "[::1]:80"
    assert shown(UNIXAddress("/run/x")) == "unix:/run/x"

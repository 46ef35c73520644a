"""Who is answered."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from a3s_gateway.middleware.ip_allow import IpAllow, IpAllowConfig
from a3s_gateway.testing import Answer, ask, request


def asked(client: str, allowed: str = "", denied: str = "", **more: Any) -> Answer:
    """Ask as `client`; with `chain`, as the last fields of X-Forwarded-For, and a `depth`."""
    chain = more.pop("chain", client)
    config = IpAllowConfig(
        allowed_ips=tuple(map(ip_network, allowed.split())),
        denied_ips=tuple(map(ip_network, denied.split())),
        **more,
    )
    return ask(IpAllow(config), request(client=client, X_Forwarded_For=chain))


@pytest.mark.parametrize(
    ("client", "allowed", "denied", "is_let_in"),
    [
        ("10.1.2.3", "10.0.0.0/8", "", True),
        ("11.1.2.3", "10.0.0.0/8", "", False),
        ("10.1.2.3", "10.0.0.0/8", "10.1.2.3", False),
        ("10.1.2.3", "", "10.1.2.0/24", False),
        ("10.1.3.3", "", "10.1.2.0/24", True),
        ("192.168.1.10", "10.0.0.0/8 192.168.1.10", "", True),
        ("::ffff:10.1.2.3", "10.0.0.0/8", "", True),
        ("10.1.2.3", "::ffff:10.0.0.0/104", "", True),
        ("11.1.2.3", "::ffff:10.0.0.0/104", "", False),
        ("2001:db8::1", "2001:db8::/32", "", True),
        ("2001:db9::1", "2001:db8::/32", "", False),
        ("10.1.2.3", "::/0", "", False),
        ("unknown", "0.0.0.0/0 ::/0", "", False),
        ("unknown", "", "10.0.0.0/8", False),
    ],
)
def test_who_is_let_in(client: str, allowed: str, denied: str, is_let_in: bool) -> None:  # noqa: FBT001
    """By numbers, whatever the form; who has no address is nobody on a list."""
    answer = asked(client, allowed, denied)
    assert (answer.status, answer.forwarded is not None) == (200 if is_let_in else 403, is_let_in)


def test_the_refusal() -> None:
    """As every answer of the gateway; who it was is not told."""
    answer = asked("10.0.0.1", "11.0.0.0/8")
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert b'"error": "Forbidden"' in answer.body
    assert b"10.0.0.1" not in answer.body


@pytest.mark.parametrize(
    ("chain", "depth", "is_let_in"),
    [
        ("10.0.0.1, 192.0.2.9", 1, True),  # the last is the proxy, appended by us
        ("10.0.0.1, 11.0.0.1, 192.0.2.9", 1, False),
        ("10.0.0.1, 11.0.0.1, 192.0.2.9", 2, True),
        ("192.0.2.9", 1, False),  # who is not trusted says nothing of others
        ("10.0.0.1, 192.0.2.9", 2, False),
        ("evil, 192.0.2.9", 1, False),
    ],
)
def test_behind_proxies(chain: str, depth: int, is_let_in: bool) -> None:  # noqa: FBT001
    """The address at a depth counts; where there are not so many, there is none."""
    answer = asked("192.0.2.9", "10.0.0.0/8", depth=depth, chain=chain)
    assert answer.status == (200 if is_let_in else 403)

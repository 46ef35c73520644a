"""`rate-limit`: who may ask how often."""

from __future__ import annotations

from typing import Any

import pytest

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.middleware.rate_limit import RateLimit, RateLimitConfig, build
from a3s_gateway.testing import Answer, Clock, ask, effects, request


class World:
    def __init__(self, **config: Any) -> None:
        self.clock = Clock()
        self.limit: RateLimit = build(RateLimitConfig(**config), effects(self.clock))

    def ask(self, client: str = "192.0.2.1", **headers: str) -> Answer:
        return ask(self.limit, request(client=client, **headers))

    def statuses(self, *clients: str) -> list[int]:
        return [self.ask(client).status for client in clients]


def test_each_client_has_its_own_limit() -> None:
    """The original had one for all. A second later a token is back."""
    world = World(rate=1, burst=2)
    assert world.statuses("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2") == [200, 200, 429, 200]
    world.clock.advance(1)
    assert world.statuses("10.0.0.1", "10.0.0.1") == [200, 429]


def test_what_is_refused() -> None:
    """The backend never hears of it; the client hears why, and when to come again."""
    world = World(rate=2, period=60, burst=1)
    world.ask()
    world.clock.advance(10)
    answer = world.ask()
    assert (answer.status, answer.code, answer.forwarded) == (429, "RATE_LIMITED", None)
    assert b'"error": "Rate limit exceeded"' in answer.body
    assert answer.headers.find("retry-after") == "20"
    world.clock.advance(19)
    assert world.ask().headers.find("retry-after") == "1"
    world.clock.advance(1)
    assert world.ask().status == 200


def test_what_clients_are_told() -> None:
    """As the draft has it: what there is, what is left, and when all of it is there again."""
    world = World(rate=10, period=60, burst=3)

    def told(name: str, answer: Answer) -> str | None:
        return answer.headers.find(f"ratelimit-{name}")

    first = world.ask()
    assert told("policy", first) == "10;w=60;burst=3"
    assert told("limit", first) == "3"
    answers = [first, world.ask(), world.ask(), world.ask()]
    assert [told("remaining", each) for each in answers] == ["2", "1", "0", "0"]
    assert [told("reset", each) for each in answers] == ["6", "12", "18", "18"]
    world = World(rate=1, fields=False)
    assert told("limit", world.ask()) is None
    assert told("limit", world.ask()) is None


def test_networks_of_ipv6_clients() -> None:
    """Who has a whole network for itself cannot change its address to begin anew."""
    world = World(rate=1)
    assert world.statuses("2001:db8:1:2::1", "2001:db8:1:2:ffff::9") == [200, 429]
    assert world.statuses("2001:db8:1:3::1", "fe80::1%eth0", "unknown:x") == [200, 200, 200]


def test_one_limit_for_all() -> None:
    """As the original had it, where that is wanted."""
    assert World(rate=1, source="global").statuses("10.0.0.1", "10.0.0.2") == [200, 429]


def test_by_a_header_field() -> None:
    """Who sends none counts by address, and cannot pass for another that way."""
    world = World(rate=1, source="header:X-Tenant")
    assert world.ask(X_Tenant="a").status == 200
    assert world.ask("10.0.0.2", X_Tenant="a").status == 429
    assert world.ask(X_Tenant="b").status == 200
    assert world.ask("10.0.0.1").status == 200
    assert world.ask("10.0.0.9", X_Tenant="10.0.0.1").status == 200
    assert world.ask("10.0.0.1").status == 429


def test_long_values_are_not_kept() -> None:
    """Memory is bounded in bytes, too; they are told apart nevertheless."""
    world = World(rate=1, source="header:X-Tenant")
    long = "x" * 1000
    assert [world.ask(X_Tenant=long + end).status for end in "aab"] == [200, 429, 200]
    assert all(len(each) <= 64 for each in world.limit.buckets._full_at)  # noqa: SLF001


def test_by_what_was_verified() -> None:
    """The name of the key, or a claim of the token."""
    for source, attribute, value in (
        ("api-key", "key_name", "mobile"),
        ("jwt:sub", "claims", {"sub": 17}),
    ):
        world = World(rate=1, source=source)
        statuses = []
        for client in ("10.0.0.1", "10.0.0.2"):
            asked = request(client=client)
            setattr(asked.exchange, attribute, value)
            statuses.append(ask(world.limit, asked).status)
        assert statuses == [200, 429]
        assert world.statuses("10.0.0.1", "10.0.0.1") == [200, 429]


@pytest.mark.parametrize(
    ("source", "needs"),
    [("ip", ""), ("global", ""), ("header:X-A", ""), ("api-key", "api-key"), ("jwt:sub", "jwt")],
)
def test_what_has_to_come_before_it(source: str, needs: str) -> None:
    """So that an order that makes no sense can be told."""
    assert RateLimitConfig(rate=1, source=source).needs == needs


def test_the_burst_is_the_rate_unless_given() -> None:
    """Rounded up."""
    assert [RateLimitConfig(rate=rate).burst for rate in (0.1, 1, 2.5)] == [1, 1, 3]


@pytest.mark.parametrize("source", ["", "IP", "header:", "header:a b", "jwt:", "cookie:a"])
def test_sources_that_there_are_not(source: str) -> None:
    """They are told with what there is."""
    text = f'middlewares "l" {{\n type = "rate-limit"\n rate = 1\n source = "{source}"\n}}'
    with pytest.raises(ConfigError) as raised:
        GatewayConfig.from_text(text, environ={})
    assert '"source" must be "ip", "global"' in raised.value.diagnostics[0].message

"""What a reload does for each router is a step of its own, so that traffic can go in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.router.expression import rule_length
from a3s_gateway.router.rule import parse
from a3s_gateway.router.table import Entry, RouteTable

MANY = 200
ROUTER = 'routers "r%d" {\n rule = "Host(`h%d.test`)"\n service = "ping@internal"\n}\n'


def steps(work: Generator[None, None, Any]) -> int:
    """Count how often it would let others have their turn."""
    return sum(1 for _ in work)


def config() -> GatewayConfig:
    routers = "".join(ROUTER % (number, number) for number in range(MANY))
    return GatewayConfig.from_text('entrypoints "web" { address = ":80" }\n' + routers)


def test_building_a_table_of_routes() -> None:
    """Once to sort a rule in, and once for each host."""

    def entry(name: str, rule: str) -> Entry[str]:
        expression = parse(rule)
        return Entry(name, expression, 0, rule_length(rule, expression), name)

    entries = [entry(each.name, each.rule) for each in config().routers.values()]
    assert steps(RouteTable.steps(entries)) >= 2 * MANY

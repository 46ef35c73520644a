"""Middlewares that stand in each other's way."""

from __future__ import annotations

from typing import ClassVar

import pytest
from attrs import frozen

from a3s_gateway.config.middleware import MiddlewareConfig, Settings
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.orders import check_order
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class RewritesConfig(Settings):
    """Changes bodies."""

    rewrites_bodies: ClassVar[bool] = True


@frozen(kw_only=True)
class ByClaimConfig(Settings):
    """Counts by a claim."""

    @property
    def needs(self) -> str:
        return "jwt"


def warnings(*types: str) -> list[str]:
    """Return what is said of a router with middlewares of these types, each called by its type."""
    found = []
    for name in types:
        config = {"rewrite": RewritesConfig, "limit": ByClaimConfig}.get(name, Settings)()
        plugin = Plugin("middleware", name, type(config))
        found.append(MiddlewareConfig(name=name, type=name, config=config, plugin=plugin))
    router = RouterConfig(name="r", rule="Path(`/`)", service="s", middlewares=types)
    return [each.message.removeprefix('router "r": ') for each in check_order(router, found)]


@pytest.mark.parametrize(
    "types",
    [
        ["cors", "jwt", "limit", "rate-limit", "retry", "compress", "rewrite"],
        ["ip-allow", "cors", "basic-auth"],
        [],
    ],
)
def test_a_sensible_order_is_no_news(types: list[str]) -> None:
    """Nothing is said of it."""
    assert warnings(*types) == []


@pytest.mark.parametrize(
    ("types", "said"),
    [
        (
            ["jwt", "cors"],
            '"jwt" refuses preflights before "cors" can answer them',
        ),
        (
            ["rewrite", "compress"],
            '"rewrite" changes bodies that "compress" compressed before',
        ),
        (["retry", "rate-limit"], 'each try of "retry" counts against "rate-limit"'),
        (["limit", "jwt"], '"limit" needs what "jwt" finds out, which comes after it'),
        (["limit"], '"limit" needs a middleware of type "jwt" before it'),
        (["headers", "headers"], 'middleware "headers" is listed twice'),
    ],
)
def test_an_order_that_makes_no_sense_is_told(types: list[str], said: str) -> None:
    """With the reason; it is no fault, since somebody may know better."""
    assert warnings(*types) == [said]


def test_the_place_is_the_one_that_should_move() -> None:
    """In the list of the router."""
    config = GatewayConfig.from_text(
        'entrypoints "web" {\n  address = ":8080"\n}\n'
        'routers "all" {\n  rule = "PathPrefix(`/`)"\n  service = "whoami@internal"\n'
        '  middlewares = ["keys", "browsers"]\n}\n'
        'middlewares "keys" {\n  type = "api-key"\n  keys = ["k"]\n}\n'
        'middlewares "browsers" {\n  type = "cors"\n  allowed_origins = ["https://a"]\n}\n'
    )
    (warning,) = config.warnings
    assert (warning.span.line, warning.span.column) == (7, 27)
    assert warning.hint == 'list "browsers" before "keys"'

"""Exchanges and requests."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from a3s_gateway.body import NO_BODY
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.http import Exchange, Request, Response


def exchange() -> Exchange:
    return Exchange("web", "192.0.2.1", 0.0)


def request(query: str | None = None) -> Request:
    return Request(
        "GET", "/a", query, "a", "a", 11, "http", EMPTY_HEADERS, NO_BODY, "192.0.2.1", exchange()
    )


def test_an_exchange_is_closed_once_and_in_reverse() -> None:
    """What was entered last is left first."""
    order: list[str] = []
    ours = exchange()
    ours.on_close(lambda: order.append("generation"))
    ours.on_close(lambda: order.append("lease"))
    ours.close()
    ours.close()
    assert order == ["lease", "generation"]


def test_what_is_added_while_closing_is_closed_too() -> None:
    """Nothing is forgotten in an exchange that ends while it is being built."""
    order: list[str] = []
    ours = exchange()
    ours.on_close(lambda: ours.on_close(lambda: order.append("late")))
    ours.close()
    assert order == ["late"]


def test_the_target_is_path_and_query() -> None:
    """An empty query is not the same as none."""
    assert [request(query).target for query in (None, "", "b=c")] == ["/a", "/a?", "/a?b=c"]


@pytest.mark.parametrize("head", [Request, Response])
def test_other_fields_change_nothing_else(head: Any) -> None:
    """Whoever adds an attribute is told if it gets lost on the way."""
    names = [each.name for each in attrs.fields(head)]
    values = {name: object() for name in names}
    derived = head(**values).with_headers(fields := Headers())
    assert {name: getattr(derived, name) for name in names} == {**values, "headers": fields}

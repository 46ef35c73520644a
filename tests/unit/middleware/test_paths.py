"""Paths that backends see: strip-prefix, add-prefix, replace-path."""

from __future__ import annotations

from typing import Any

import pytest

from a3s_gateway.http import Request
from a3s_gateway.middleware.add_prefix import AddPrefix, AddPrefixConfig
from a3s_gateway.middleware.replace_path import ReplacePath, ReplacePathConfig
from a3s_gateway.middleware.strip_prefix import StripPrefix, StripPrefixConfig
from a3s_gateway.testing import ask, request


def forwarded(middleware: Any, target: str, **more: Any) -> Request:
    """What the backend gets."""
    onward = ask(middleware, request(target, **more)).forwarded
    assert onward is not None
    return onward


STRIP = StripPrefix(StripPrefixConfig(prefixes=("/api", "/api/v1", "/a%7eb/")))


@pytest.mark.parametrize(
    ("target", "onward", "prefix"),
    [
        ("/api/users", "/users", "/api"),
        ("/api", "/", "/api"),
        ("/api/", "/", "/api"),
        ("/api?x=/api", "/?x=/api", "/api"),
        ("/api/v1/users?a", "/users?a", "/api/v1"),  # the longest, not the first
        ("/api//x", "//x", "/api"),
        ("/api%2Fx", "/api%2Fx", None),
        ("/apix", "/apix", None),  # a segment is whole or not meant
        ("/apiv1/x", "/apiv1/x", None),
        ("/x/api", "/x/api", None),
        ("/a~b/c", "/c", "/a~b"),
        ("*", "*", None),
    ],
)
def test_a_prefix_is_removed_at_a_slash(target: str, onward: str, prefix: str | None) -> None:
    """The backend hears what was removed; the query stays."""
    got = forwarded(STRIP, target)
    assert got.target == onward
    assert got.headers.find("x-forwarded-prefix") == prefix


@pytest.mark.parametrize(
    ("target", "onward", "prefix"), [("/api/shop/a", "/a", "/api/shop"), ("/api/a", "/a", "/api")]
)
def test_prefixes_that_are_removed_one_after_the_other(
    target: str, onward: str, prefix: str
) -> None:
    """The backend is told of all of them, and of nothing that the client says."""
    first = forwarded(STRIP, target, X_Forwarded_Prefix="//evil.example")
    got = ask(StripPrefix(StripPrefixConfig(prefixes=("/shop",))), first).forwarded
    assert got is not None
    assert got.path == onward
    assert [each.value for each in got.headers if each.name == "x-forwarded-prefix"] == [prefix]


@pytest.mark.parametrize(("target", "told"), [("/x", []), ("/api/x", ["/api"])])
def test_a_client_cannot_tell_of_a_prefix(target: str, told: list[str]) -> None:
    """Backends make links of it."""
    got = forwarded(STRIP, target, X_Forwarded_Prefix="//evil.example")
    assert got.headers.all("x-forwarded-prefix") == told


@pytest.mark.parametrize(
    ("prefix", "target", "onward"),
    [
        ("/v2", "/users?a", "/v2/users?a"),
        ("/v2/", "/users", "/v2/users"),
        ("/v2", "/", "/v2/"),
        ("/a b".replace(" ", "%20"), "/x", "/a%20b/x"),
        ("/", "/x", "/x"),
        ("/v2", "*", "*"),
    ],
)
def test_a_prefix_is_added(prefix: str, target: str, onward: str) -> None:
    """With one slash between; `OPTIONS *` has no path."""
    assert forwarded(AddPrefix(AddPrefixConfig(prefix=prefix)), target).target == onward


@pytest.mark.parametrize(
    ("keys", "target", "onward"),
    [
        ({"path": "/app"}, "/x?q=1", "/app?q=1"),
        ({"path": "/app"}, "*", "*"),
        (
            {"regex": "^/users/([0-9]+)", "replacement": "/accounts/$1"},
            "/users/7/x",
            "/accounts/7/x",
        ),
        ({"regex": "^/users/([0-9]+)", "replacement": "/a/${1}0"}, "/users/7", "/a/70"),
        ({"regex": "^/(a)|(b)", "replacement": "/[$2]"}, "/a", "/[]"),
        ({"regex": "^/x", "replacement": "/$$1"}, "/x", "/$1"),
        ({"regex": "^/x/", "replacement": ""}, "/x/y", "/y"),
        ({"regex": "^/x", "replacement": "/é"}, "/x", "/%C3%A9"),
        ({"regex": "^/nothing", "replacement": "/"}, "/x", "/x"),
    ],
)
def test_a_path_is_replaced(keys: dict[str, Any], target: str, onward: str) -> None:
    """All of it, or what an expression finds; the backend hears what it was."""
    got = forwarded(ReplacePath(ReplacePathConfig(**keys)), target, X_Replaced_Path="/forged")
    assert got.target == onward
    was = target.partition("?")[0] if onward != target else None
    assert got.headers.find("x-replaced-path") == was


def test_a_replaced_path_is_canonical() -> None:
    """What is put together leads out of nothing."""
    middleware = ReplacePath(ReplacePathConfig(regex="^/a/", replacement="/b/../"))
    assert forwarded(middleware, "/a/x").path == "/x"

"""Who is sent elsewhere, and how."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.middleware.redirect import Redirect, RedirectConfig
from a3s_gateway.testing import Answer, ask, effects, request


def asked(target: str = "/", *, came_by: str = "http", method: str = "GET", **keys: Any) -> Answer:
    """Ask at example.com:8080."""
    asking = evolve(request(target, method=method), scheme=came_by, authority="example.com:8080")
    return ask(Redirect(RedirectConfig(**keys), effects(wall=lambda: 0.0)), asking)


@pytest.mark.parametrize(
    ("keys", "location"),
    [
        ({"scheme": "https"}, "https://example.com/a?b=c"),
        ({"scheme": "https", "port": 443}, "https://example.com/a?b=c"),
        ({"scheme": "https", "port": 8443}, "https://example.com:8443/a?b=c"),
        ({"regex": "^http://", "replacement": "https://"}, "https://example.com:8080/a?b=c"),
        (
            {"regex": "^https?://([^/]+)/(.*)$", "replacement": "https://new.test/${1}/$2"},
            "https://new.test/example.com:8080/a?b=c",
        ),
    ],
)
def test_where_it_leads(keys: dict[str, Any], location: str) -> None:
    """To another scheme, or to what an expression makes of the URL; nothing reaches the backend."""
    answer = asked("/a?b=c", **keys)
    assert (answer.status, answer.headers.find("location")) == (302, location)
    assert (answer.body, answer.forwarded) == (b"", None)
    assert answer.headers.find("date") == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    ("method", "permanent", "status"),
    [
        ("GET", False, 302), ("HEAD", True, 301), ("GET", True, 301),
        ("POST", False, 307), ("POST", True, 308), ("PUT", True, 308),
    ],
)  # fmt: skip
def test_the_method_is_kept(method: str, permanent: bool, status: int) -> None:  # noqa: FBT001
    """A POST does not become a GET on the way."""
    answer = asked(method=method, permanent=permanent, regex="$", replacement="x")
    assert answer.status == status


@pytest.mark.parametrize(
    "keys",
    [
        {"scheme": "https"},
        {"regex": "^http://", "replacement": "https://"},
        {"regex": "example", "replacement": "example"},
    ],
)
def test_who_is_there_already_passes(keys: dict[str, Any]) -> None:
    """There is no loop."""
    answer = asked(came_by="https", **keys)
    assert (answer.status, answer.forwarded is not None) == (200, True)


def test_a_url_that_cannot_be_written() -> None:
    """Is the client's fault, and no field of another answer."""
    with pytest.raises(RemoteProtocolError):
        asked(regex="$", replacement="\r\nSet-Cookie: a")

"""What pages of other origins may read, as browsers ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from a3s_gateway.errors import GatewayError, UpstreamError
from a3s_gateway.http import Request, Response
from a3s_gateway.middleware.cors import Cors, CorsConfig
from a3s_gateway.testing import Answer, ask, effects, request, response

APP, OTHER = "https://app.test", "https://other.test"
LISTED: dict[str, Any] = {"allowed_origins": ("https://first.test", APP)}


def asked(
    origin: str | None = APP,
    *,
    method: str = "GET",
    fields: dict[str, str] | None = None,
    backend: Any = lambda _: response(),
    **keys: Any,
) -> Answer:
    sent = dict(fields or {}) | ({"Origin": origin} if origin is not None else {})
    middleware = Cors(CorsConfig(**keys), effects())
    return ask(middleware, request(method=method, fields=sent.items()), backend)


def preflight(
    origin: str | None = APP, wanted: str | None = "PUT", fields: dict[str, str] | None = None,
    **keys: Any,
) -> Answer:  # fmt: skip
    sent = dict(fields or {})
    if wanted is not None:
        sent["Access-Control-Request-Method"] = wanted
    return asked(origin, method="OPTIONS", fields=sent, **keys)


def said(answer: Answer) -> dict[str, str]:
    """What an answer says about who may read it."""
    names = ("access-control-", "vary")
    return {h.name: h.value for h in answer.headers if h.name.startswith(names)}


def test_the_origin_that_asked_is_echoed() -> None:
    """Not the first of the list; and caches are told."""
    assert said(asked(**LISTED)) == {"access-control-allow-origin": APP, "vary": "Origin"}


@pytest.mark.parametrize(
    "origin", [OTHER, None, "null", "https://app.test.evil", "HTTPS://APP.TEST"]
)
def test_who_is_not_listed_is_told_nothing(origin: str | None) -> None:
    """The request is answered, but its page cannot read that; caches keep it apart."""
    answer = asked(origin, **LISTED)
    assert answer.forwarded is not None
    assert said(answer) == {"vary": "Origin"}


@pytest.mark.parametrize("origin", [APP, None, "null"])
def test_everybody(origin: str | None) -> None:
    """One answer for all, so that caches may keep it."""
    assert said(asked(origin)) == {"access-control-allow-origin": "*"}


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("https://a.example.com", True),
        ("https://b.a.example.com", True),
        ("https://example.com", False),
        ("http://a.example.com", False),
        ("https://a.example.com.evil", False),
        ("https://aXexample.com", False),
        ("https://evil.test/.example.com", False),
        ("https://pr-7.test", True),
        ("https://pr-x.test", False),
        ("https://pr-7.test.evil", False),
    ],
)
def test_wildcards_and_expressions(origin: str, is_allowed: bool) -> None:  # noqa: FBT001
    """They match a whole origin."""
    keys = {
        "allowed_origins": ("https://*.example.com",),
        "allowed_origin_regexes": (r"https://pr-[0-9]+\.test",),
    }
    expected = origin if is_allowed else None
    assert asked(origin, **keys).headers.find("access-control-allow-origin") == expected


def test_what_may_be_read_besides() -> None:
    """Exposed fields, and whether cookies may come along."""
    answer = asked(exposed_headers=("X-Total", "X-Request-Id"), allow_credentials=True, **LISTED)
    assert said(answer) == {
        "access-control-allow-origin": APP,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "X-Total, X-Request-Id",
        "vary": "Origin",
    }


def test_what_the_backend_says_about_it_is_replaced() -> None:
    """Two answers to one question are none to a browser; its own Vary stays."""

    def backend(_: Request) -> Response:
        return response(Access_Control_Allow_Origin="*", Vary="Accept", ETag='"a"')

    answer = asked(backend=backend, **LISTED)
    assert answer.headers.all("access-control-allow-origin") == [APP]
    assert answer.headers.all("vary") == ["Accept", "Origin"]
    assert answer.headers.find("etag") == '"a"'


@pytest.mark.parametrize("code", ["FORBIDDEN", "UPSTREAM_TIMEOUT"])
def test_the_gateways_own_answers_can_be_read(code: str) -> None:
    """A page sees the 403 or the 504, and not a network error."""

    def backend(_: Request) -> Response:
        raise (UpstreamError if code.startswith("UP") else GatewayError)(code)

    answer = asked(backend=backend, **LISTED)
    assert answer.code == code
    assert answer.headers.find("access-control-allow-origin") == APP


def test_a_preflight_is_answered_here() -> None:
    """The backend does not hear of it."""
    answer = preflight(max_age=600.0, **LISTED)
    assert (answer.status, answer.body, answer.forwarded) == (204, b"", None)
    assert answer.headers.find("date") is not None
    assert said(answer) == {
        "access-control-allow-origin": APP,
        "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS",
        "access-control-allow-headers": "Content-Type, Authorization",
        "access-control-max-age": "600",
        "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def test_a_preflight_of_another_origin() -> None:
    """Is refused."""
    answer = preflight(OTHER, **LISTED)
    assert (answer.status, answer.code) == (403, "ORIGIN_NOT_ALLOWED")
    assert b'"error": "Origin not allowed"' in answer.body


@pytest.mark.parametrize(("origin", "wanted"), [(None, "PUT"), (APP, None), (None, None)])
def test_other_options_requests_pass(origin: str | None, wanted: str | None) -> None:
    """They ask the backend what it can do."""
    answer = preflight(origin, wanted, **LISTED)
    assert (answer.status, answer.forwarded is not None) == (200, True)


def test_all_methods_and_all_fields() -> None:
    """What is asked for is named: a star would not stand for Authorization."""
    answer = preflight(
        wanted="PURGE",
        fields={"Access-Control-Request-Headers": "authorization, x-a"},
        allowed_methods=("*",),
        allowed_headers=("*",),
        **LISTED,
    )
    assert answer.headers.find("access-control-allow-methods") == "PURGE"
    assert answer.headers.find("access-control-allow-headers") == "authorization, x-a"


@pytest.mark.parametrize("is_allowed", [False, True])
def test_private_networks(is_allowed: bool) -> None:  # noqa: FBT001
    """A page of the public internet may ask only where that is allowed."""
    answer = preflight(
        fields={"Access-Control-Request-Private-Network": "true"},
        allow_private_network=is_allowed,
        **LISTED,
    )
    expected = "true" if is_allowed else None
    assert answer.headers.find("access-control-allow-private-network") == expected


def test_credentials_in_a_preflight() -> None:
    """Are said there as well."""
    answer = preflight(allow_credentials=True, **LISTED)
    assert answer.headers.find("access-control-allow-credentials") == "true"


def test_what_is_remembered_is_bounded() -> None:
    """Origins that clients make up do not fill the memory."""
    middleware = Cors(CorsConfig(**LISTED), effects())
    for index in range(1500):
        ask(middleware, request(fields=[("Origin", f"https://{index}.test")]))
    assert len(middleware._known) == 1000  # noqa: SLF001
    answer = ask(middleware, request(fields=[("Origin", APP)]))
    assert answer.headers.find("access-control-allow-origin") == APP

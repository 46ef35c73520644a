"""Fields that are set, added and removed."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from a3s_gateway.errors import GatewayError
from a3s_gateway.http import Request, Response
from a3s_gateway.middleware.headers import ChangeHeaders, HeadersConfig
from a3s_gateway.testing import Answer, ask, request, response


def asked(
    asking: Request | None = None, backend: Any = lambda _: response(), **keys: Any
) -> Answer:
    return ask(ChangeHeaders(HeadersConfig(**keys)), asking or request(X_A="1"), backend)


def onward(answer: Answer, name: str) -> list[str]:
    assert answer.forwarded is not None
    return answer.forwarded.headers.all(name)


def test_requests() -> None:
    """Set replaces, add does not, remove does what it says; in any case of the name."""
    asking = request(fields=[("X-A", "1"), ("x-b", "1"), ("X-C", "1"), ("X-C", "2"), ("X-D", "1")])
    answer = asked(
        asking,
        request_headers={"x-a": "new"},
        request_headers_add={"X-B": "2"},
        request_headers_remove=("x-c",),
    )
    assert [onward(answer, f"x-{each}") for each in "abcd"] == [["new"], ["1", "2"], [], ["1"]]


def test_answers() -> None:
    """The same on the way back."""
    answer = asked(
        backend=lambda _: response(Server="nginx", X_A="1", X_B="1", ETag='"1"'),
        response_headers={"X-A": "new"},
        response_headers_add={"X-B": "2"},
        response_headers_remove=("Server",),
    )
    assert [answer.headers.all(each) for each in ("server", "x-a", "x-b", "etag")] == [
        [], ["new"], ["1", "2"], ['"1"'],
    ]  # fmt: skip


def test_the_gateways_own_answers_have_them_too() -> None:
    """A refusal is shown in a frame no more than a page."""

    def backend(_: Request) -> Response:
        raise GatewayError("FORBIDDEN")

    answer = asked(backend=backend, security=True)
    assert (answer.status, answer.headers.find("x-frame-options")) == (403, "DENY")


def test_values_with_placeholders() -> None:
    """They are what the request has; what is no placeholder stays as it is."""
    asking = request("/a%20b?c", method="PUT", client="192.0.2.7", host="example.com")
    asking.exchange.router, asking.exchange.service = "r", "s"
    answer = asked(
        asking,
        request_headers={
            "X-All": "{client_ip} {method} {scheme}://{host}{path} {request_id}",
            "X-Names": "{entrypoint}/{router}/{service}",
            "X-Json": '{"a": {1}}',
            "X-Braces": "{{client_ip}} ${x} %{y}",
            "X-Text": "é {host}",
        },
        response_headers={"X-Id": "{request_id}"},
    )
    identity = "0" * 32
    assert onward(answer, "x-all") == [f"192.0.2.7 PUT http://example.com/a%20b {identity}"]
    assert onward(answer, "x-names") == ["web/r/s"]
    assert onward(answer, "x-json") == ['{"a": {1}}']
    assert onward(answer, "x-braces") == ["{client_ip} ${x} %{y}"]
    assert onward(answer, "x-text") == ["\xc3\xa9 example.com"]  # UTF-8
    assert answer.headers.find("x-id") == identity


def test_a_value_that_is_none() -> None:
    """Is left out, rather than breaking a head in two."""
    asking = evolve(request(), client="a\r\nX-B: 1")
    assert onward(asked(asking, request_headers={"X-A": "{client_ip}"}), "x-a") == []


def test_the_host() -> None:
    """Is not a field among others: the backend gets this one."""
    answer = asked(request_headers={"Host": "internal.test"})
    assert answer.forwarded is not None
    assert answer.forwarded.authority == "internal.test"
    assert onward(answer, "host") == []


def test_security() -> None:
    """All presets at once; one that the backend has set itself stays."""
    asking = evolve(request(), scheme="https")
    answer = asked(asking, lambda _: response(Referrer_Policy="no-referrer"), security=True)
    assert {h.name: h.value for h in answer.headers} == {
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "strict-transport-security": "max-age=31536000",
    }


def test_presets_one_by_one() -> None:
    """Each without the others, or otherwise than `security` has it."""
    asking = evolve(request(), scheme="https")
    answer = asked(asking, hsts=60.0, hsts_subdomains=True, frame="same-origin")
    assert [(h.name, h.value) for h in answer.headers] == [
        ("x-frame-options", "SAMEORIGIN"),
        ("strict-transport-security", "max-age=60; includeSubDomains"),
    ]
    answer = asked(asking, security=True, no_sniff=False, referrer="origin", hsts=0.0)
    assert answer.headers.find("x-content-type-options") is None
    assert answer.headers.find("referrer-policy") == "origin"
    assert answer.headers.find("strict-transport-security") == "max-age=0"


def test_hsts_is_for_https() -> None:
    """RFC 6797 §7.2: not in answers without it."""
    assert asked(security=True).headers.find("strict-transport-security") is None


@pytest.mark.parametrize("keys", [{}, {"request_headers_remove": ("X-None",)}])
def test_nothing_to_change(keys: dict[str, Any]) -> None:
    """Heads stay the same objects, whose bytes are joined already."""
    asking, made = request(X_A="1"), response(X_B="1")
    answer = asked(asking, lambda _: made, **keys)
    assert answer.headers is made.headers
    assert answer.forwarded is not None
    assert answer.forwarded.headers is asking.headers

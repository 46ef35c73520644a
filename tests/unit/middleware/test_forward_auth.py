"""Another service decides; whatever it says but yes goes to the client as it is."""

from __future__ import annotations

from typing import Any

import pytest

from a3s_gateway.body import NO_BODY, Body
from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.effects import AwayError
from a3s_gateway.errors import UpstreamConnectError, UpstreamError
from a3s_gateway.headers import Headers
from a3s_gateway.http import Response
from a3s_gateway.middleware.forward_auth import PLUGIN, ForwardAuth, ForwardAuthConfig
from a3s_gateway.testing import ask, effects, request, response


class Service:
    """What is asked; it gives one answer to all."""

    def __init__(self, answer: Response | Exception, **config: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Headers, bytes, str]] = []
        self.is_closed = False
        self.made_with: list[tuple[str, float]] = []
        build = PLUGIN.build
        assert build is not None
        url = ServerUrl.parse("http://auth.example/verify?a=b", with_query=True)
        given = ForwardAuthConfig(forward_auth_url=url, **config)
        self.complaints: list[tuple[str, str]] = []
        self.middleware: ForwardAuth = build(
            given, effects(client=self.make, complain=self.complain)
        )

    def complain(self, name: str, error: Exception) -> None:
        assert isinstance(error, AwayError)
        self.complaints.append((name, str(error)))

    def make(self, url: str, timeout: float) -> Service:
        self.made_with.append((url, timeout))
        return self

    async def ask(
        self, method: str, headers: Headers, body: Body = NO_BODY, request_id: str = ""
    ) -> Response:
        self.asked.append((method, headers, body.take(), request_id))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.is_closed = True


def test_what_the_service_gets() -> None:
    """All that tells who asks for what, and nothing that is about the answer or the body."""
    service = Service(response(204))
    asked = request(
        "/a?b=c", method="POST", body=b"secret",
        fields=[("Cookie", "id=1"), ("Authorization", "Bearer x"), ("X-Forwarded-For", "192.0.2.9"),
                ("X-Forwarded-Uri", "/lie"), ("X_Forwarded-Method", "LIE"), ("Range", "bytes=0-1"),
                ("If-None-Match", "*"), ("Content-Type", "text/plain")],
    )  # fmt: skip
    assert ask(service.middleware, asked).forwarded is not None
    ((method, headers, body, request_id),) = service.asked
    assert (method, body, request_id) == ("GET", b"", "0" * 32)
    assert {each.name: each.value for each in headers} == {
        "cookie": "id=1",
        "authorization": "Bearer x",
        "x-forwarded-for": "192.0.2.9",
        "x-forwarded-method": "POST",
        "x-forwarded-uri": "/a?b=c",
    }
    assert service.made_with == [("http://auth.example/verify?a=b", 5.0)]


def test_listed_fields_replace_the_clients() -> None:
    """Those that the service leaves out are removed all the same, in every spelling."""
    answer = response(200, X_User="alice", X_Groups="a", Other="1")
    service = Service(answer, forward_auth_response_headers=("X-User", "X-GROUPS", "X-Level"))
    lies = [("X-User", "root"), ("x_user", "root"), ("X-Level", "9"), ("Kept", "1")]
    got = ask(service.middleware, request(fields=lies)).forwarded
    assert got is not None
    assert [(each.name, each.value) for each in got.headers] == [
        ("kept", "1"),
        ("x-user", "alice"),
        ("x-groups", "a"),
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 400, 401, 403, 429, 500])
def test_any_other_answer_goes_to_the_client(status: int) -> None:
    """A redirect is never followed: its end would be a login page, with 200."""
    refused = response(
        status, b"<html>", Location="https://login", Set_Cookie="a=b", WWW_Authenticate="Basic",
        Content_Type="text/html",
    )  # fmt: skip
    service = Service(refused)
    got = ask(service.middleware, request())
    assert got.status == status
    assert got.body == b"<html>"
    assert got.forwarded is None
    assert got.headers.find("location") == "https://login"
    assert got.headers.find("set-cookie") == "a=b"
    assert got.headers.find("www-authenticate") == "Basic"
    assert got.headers.find("content-type") == "text/html"
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    "error", [UpstreamError("UPSTREAM_TIMEOUT"), UpstreamConnectError("UPSTREAM_CONNECT")]
)
def test_no_answer_is_no_yes(error: Exception) -> None:
    """Nobody gets in while the service is away."""
    service = Service(error)
    got = ask(service.middleware, request())
    assert (got.status, got.code) == (502, "AUTH_UNAVAILABLE")
    assert service.complaints == [("tested", str(error))]
    assert b'"Auth service unavailable"' in got.body
    assert got.forwarded is None


def test_the_body_if_asked_for() -> None:
    """Both get it, and the service the client's method."""
    service = Service(response(200), forward_body=True)
    asked = request(method="PUT", body=b"data", fields=[("Content-Type", "text/plain")])
    got = ask(service.middleware, asked).forwarded
    assert got is not None
    assert got.body.take() == b"data"
    ((method, headers, body, _),) = service.asked
    assert (method, body, headers.find("content-type")) == ("PUT", b"data", "text/plain")


def test_a_body_that_is_too_large() -> None:
    """It is refused before anybody is asked."""
    service = Service(response(200), forward_body=True, max_body_bytes=3)
    got = ask(service.middleware, request(method="PUT", body=b"data"))
    assert (got.status, got.code) == (413, "BODY_TOO_LARGE")
    assert service.asked == []


def test_its_connections_are_closed_with_it() -> None:
    """When a reload takes the block away."""
    service = Service(response(200))
    service.middleware.close()
    assert service.is_closed


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("", "forward_auth_url"),
        ('forward_auth_url = ""', "forward_auth_url"),
        ('forward_auth_url = "http://a/"\n  max_body_bytes = 1', "needs forward_body = true"),
    ],
)
def test_faults(config: str, fault: str) -> None:
    """A service that is not named, and a limit without effect."""
    text = f'middlewares "door" {{\n  type = "forward-auth"\n  {config}\n}}'
    with pytest.raises(ConfigError, match=fault):
        GatewayConfig.from_text(text)

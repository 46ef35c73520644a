from __future__ import annotations

import json
from pathlib import Path

import pytest

from a3s_gateway import errors
from a3s_gateway.body import NO_BODY
from a3s_gateway.errors import GatewayError, RemoteProtocolError, refusal, to_response
from a3s_gateway.faults import FAULTS
from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Request

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def request(*headers: tuple[str, str]) -> Request:
    exchange = Exchange("web", "192.0.2.1", 0.0, request_id="id-1")
    return Request(
        "POST", "/", None, "a", "a", 11, "http", Headers.of(*headers), NO_BODY, "", exchange
    )


def test_the_page_is_fresh() -> None:
    """After a change of the table: python -m a3s_gateway.errors docs/errors.md."""
    assert PAGE.read_text(encoding="utf-8") == errors.page()


def test_every_code_is_explained() -> None:
    """One row each, with what a person can do about it."""
    rows = [line for line in errors.page().splitlines() if line.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows) == sorted(FAULTS)
    assert all(fault.meaning.endswith(".") for fault in FAULTS.values())


def test_the_page_goes_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To a file, or without one to standard output."""
    monkeypatch.setattr("sys.argv", ["errors", str(tmp_path / "page.md")])
    errors.main()
    monkeypatch.setattr("sys.argv", ["errors"])
    errors.main()
    assert (tmp_path / "page.md").read_text() == capsys.readouterr().out == errors.page()


@pytest.mark.parametrize("code", FAULTS)
def test_an_answer_has_its_code_everywhere(code: str) -> None:
    """In a field, in the body and for the log; nothing of the inside is in it."""
    response = to_response(GatewayError(code, "at http://10.0.0.1 it broke"), request())
    fault = FAULTS[code]
    assert response.status == fault.status
    assert response.fault is fault
    assert response.headers.find("x-gateway-error") == code
    assert json.loads(response.body.take()) == {
        "error": fault.text,
        "code": code,
        "request_id": "id-1",
    }


def test_what_is_said_is_escaped() -> None:
    """A message may quote what a client sent."""
    response = to_response(GatewayError("BAD_REQUEST", message='"}\n<b>\u00fc'), request())
    assert json.loads(response.body.take())["error"] == '"}\n<b>\u00fc'


@pytest.mark.parametrize(
    ("kind", "is_grpc"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc;charset=x", True),
        ("application/grpc-web", False),
        ("application/json", False),
    ],
)
def test_grpc_clients_get_a_status_of_their_own(kind: str, is_grpc: bool) -> None:  # noqa: FBT001
    """They would not look at an HTTP status, nor read a body."""
    response = to_response(GatewayError("UPSTREAM_TIMEOUT"), request(("Content-Type", kind)))
    assert (response.status, response.headers.find("grpc-status")) == (
        (200, "4") if is_grpc else (504, None)
    )
    assert response.headers.find("x-gateway-error") == "UPSTREAM_TIMEOUT"


def test_a_refusal_says_which_rule_was_broken() -> None:
    """Whoever wrote the client can find it."""
    response = refusal(RemoteProtocolError("two Host fields"), "id-2")
    body = json.loads(response.body.take())
    assert (response.status, body["error"]) == (400, "Bad request: two Host fields")
    assert body["request_id"] == "id-2"


def test_an_odd_status_has_a_reason_phrase() -> None:
    """No list knows 499."""
    assert to_response(GatewayError("CLIENT_GONE"), request()).reason == "Client closed the request"
    assert to_response(GatewayError("NO_ROUTE"), request()).reason == ""

"""gRPC's deadlines, statuses and messages."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.protocol import grpc


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1H", 3600), ("2M", 120), ("10S", 10), ("100m", 0.1), ("5u", 5e-6), ("7n", 7e-9),
        ("99999999S", 99999999), ("0S", 0),
        ("", None), ("1", None), ("S", None), ("1s", None), ("-1S", None), ("1.5S", None),
        ("999999999S", None), ("1S ", None), ("\u0661S", None),
    ],
)  # fmt: skip
def test_a_timeout_in_seconds(value: str, seconds: float | None) -> None:
    """At most eight digits and a unit; anything else is as if it were not there."""
    assert grpc.timeout_of(value) == (None if seconds is None else pytest.approx(seconds))


@given(st.text())
def test_any_text_fits_into_a_message(text: str) -> None:
    """It is visible ASCII, and decodes to what it was."""
    text = text.encode("utf-8", "replace").decode()
    message = grpc.encode_message(text)
    assert all(" " <= character <= "~" for character in message)
    assert unquote(message) == text


@pytest.mark.parametrize(
    ("http", "status"),
    [(400, 13), (401, 16), (403, 7), (404, 12), (413, 8), (429, 8), (502, 14), (503, 14), (504, 4),
     (500, 2), (418, 2)],
)  # fmt: skip
def test_a_status_says_as_much_as_gateways_know(http: int, status: int) -> None:
    """UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED, RESOURCE_EXHAUSTED, and so on."""
    assert grpc.status_of(http) == status

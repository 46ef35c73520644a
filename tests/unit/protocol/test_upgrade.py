"""What a request may change to."""

from __future__ import annotations

import pytest

from a3s_gateway.protocol.upgrade import wanted


@pytest.mark.parametrize(
    ("offered", "protocol"),
    [
        ("websocket", "websocket"), ("WebSocket", "websocket"), ("foo/2 , websocket", "websocket"),
        ("h2c", ""), ("h2c, SPDY/3.1", "spdy/3.1"), ("HTTP/2.0, TLS/1.0", ""), ("tcp", "tcp"),
        ("a b", ""), ("a/b/c, d", "d"), ("", ""), (",", ""), ('"x"', ""),
    ],
)  # fmt: skip
def test_which_protocol_is_chosen(offered: str, protocol: str) -> None:
    """WebSocket, or the first that is well-formed and no way around the rules for requests."""
    assert wanted(offered) == protocol

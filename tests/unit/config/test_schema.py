"""What all sections have in common."""

from __future__ import annotations

from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import hashable

TEXT = """
entrypoints "web" { address = ":80" }
middlewares "limit" {
  type  = "rate-limit"
  rate  = 10
  burst = 20
}
middlewares "fields" {
  type            = "headers"
  request_headers = { "X-A" = "1" }
}
"""


def key(text: str, name: str) -> object:
    return hashable(GatewayConfig.from_text(text).middlewares[name].config)


def test_equal_blocks_have_equal_keys_wherever_they_stand() -> None:
    """The place in the file is no part of it; mappings are no hindrance."""
    for name in ("limit", "fields"):
        assert key(TEXT, name) == key("\n\n" + TEXT, name)
        assert len({key(TEXT, name), key("\n" + TEXT, name)}) == 1


def test_other_values_have_other_keys() -> None:
    """Also within a mapping."""
    assert key(TEXT, "limit") != key(TEXT.replace("20", "21"), "limit")
    assert key(TEXT, "fields") != key(TEXT.replace('"1"', '"2"'), "fields")

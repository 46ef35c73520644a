from __future__ import annotations

from collections.abc import Iterator

import pytest

from a3s_gateway.config.middleware import MiddlewareConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import BlockKind, BlocksKind, NamedKind, PluginKind, Section, schema
from a3s_gateway.plugin import plugins
from tests.unit.admin.test_resources import TEXT, Shown, ask

EVERYTHING = (
    TEXT.replace("ADMIN", 'token = "planted-admin-token"')
    + """
middlewares "jwt" {
  type  = "jwt"
  value = "planted-jwt-value-that-is-long-enough"
}
middlewares "key" {
  type = "api-key"
  keys = ["planted-api-key-keys-1", "planted-api-key-keys-2"]
  clients = [{ name = "acme", key = "planted-api-key-clients-key" }]
}
middlewares "basic" {
  type     = "basic-auth"
  username = "operator"
  password = "planted-basic-auth-password"
  users = ["planted-basic-auth-users:$2y$10$uKtmE7aaBzjGsvfv6E3MXe5ju.EnXYxyrfjd9T8Ab97a1hwS2nJtW"]
}
middlewares "limit" {
  type      = "rate-limit-redis"
  rate      = 1
  burst     = 1
  redis_url = "redis://:planted-rate-limit-redis-redis_url@127.0.0.1:6379"
}
"""
)
EVERYTHING += """
middlewares "fields" {
  type = "headers"
  request_headers = {
    Authorization = "Basic planted-header",
    "X-Api-Key"   = "planted-header",
    Cookie        = "session=planted-header",
    "X-Team"      = "checkout",
  }
}
"""
EVERYTHING += """
routers "mux" {
  rule    = "Path(`/mux`)"
  service = "mux@internal"
}
ws_mux {
  redis_url = "redis://:planted-ws_mux-redis_url@127.0.0.1:6379"
}
"""
PATHS = (
    "/livez", "/readyz", "/readyz?verbose", "/metrics", "/api/gateway/config",
    "/api/gateway/health", "/api/gateway/metrics", "/api/gateway/routes",
    "/api/gateway/routes/wide", "/api/gateway/services", "/api/gateway/services/pool",
    "/api/gateway/backends", "/api/gateway/version", "/api/gateway/nothing", "/",
)  # fmt: skip


def secrets(section: type[Section] = GatewayConfig, path: str = "") -> Iterator[str]:
    """Yield the path of every key that the model marks as secret."""
    for key in schema(section).values():
        if key.is_secret:
            yield f"{path}{key.name}"
        match key.kind:
            case BlockKind() | BlocksKind() | NamedKind():
                yield from secrets(key.kind.section, f"{path}{key.name}-")
            case PluginKind():
                yield from secrets(MiddlewareConfig, "")
                for plugin in plugins("middleware").values():
                    yield from secrets(plugin.config, f"{plugin.name}-")


def test_something_is_planted_in_every_secret() -> None:
    """Whoever adds a secret key plants one here, too."""
    found = set(secrets())
    assert len(found) >= 5
    for path in found:
        assert f"planted-{path}" in EVERYTHING


@pytest.mark.parametrize("authorization", [None, "Bearer planted-admin-token", "Bearer planted"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_no_answer_tells_a_secret(authorization: str | None, method: str) -> None:
    """Neither to those who may ask for everything, nor in a refusal."""
    statuses = set()
    for path in (*PATHS, "/api/gateway/reload"):
        answer = ask(path, method, shown=Shown(EVERYTHING), authorization=authorization)
        statuses.add(answer.status)
        assert b"planted" not in answer.body
        assert "planted" not in str(answer.headers)
    assert statuses - {200}


def test_a_mask_says_that_something_is_set() -> None:
    """And neither what, nor how long it is."""
    answer = ask(
        "/api/gateway/config",
        shown=Shown(EVERYTHING),
        authorization="Bearer planted-admin-token",
    )
    text = answer.body.decode()
    assert text.count('"********"') == 12
    assert '"X-Team": "checkout"' in text
    assert '"username": "operator"' in text

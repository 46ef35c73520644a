"""Steps around a request: one file per type, which holds its configuration and its work."""

from __future__ import annotations

from a3s_gateway.middleware import (
    add_prefix,
    api_key,
    basic_auth,
    body_limit,
    circuit_breaker,
    compress,
    cors,
    forward_auth,
    headers,
    ip_allow,
    jwt,
    rate_limit,
    rate_limit_redis,
    redirect,
    replace_path,
    retry,
    strip_prefix,
    tcp_filter,
)
from a3s_gateway.plugin import Plugin

PLUGINS: tuple[Plugin, ...] = (
    add_prefix.PLUGIN,
    api_key.PLUGIN,
    basic_auth.PLUGIN,
    body_limit.PLUGIN,
    circuit_breaker.PLUGIN,
    compress.PLUGIN,
    cors.PLUGIN,
    forward_auth.PLUGIN,
    headers.PLUGIN,
    ip_allow.PLUGIN,
    jwt.PLUGIN,
    rate_limit.PLUGIN,
    rate_limit_redis.PLUGIN,
    redirect.PLUGIN,
    replace_path.PLUGIN,
    retry.PLUGIN,
    strip_prefix.PLUGIN,
    tcp_filter.PLUGIN,
)

from __future__ import annotations

from typing import Any

import pytest

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.middleware import PLUGINS

AROUND = """
entrypoints "web" {{
  address = ":8080"
}}

routers "all" {{
  rule        = "PathPrefix(`/`)"
  service     = "whoami@internal"
  middlewares = ["m"]
}}

middlewares "m" {{
  type = "{type}"
  {keys}
}}
"""


def load(type_: str, keys: str = "") -> GatewayConfig:
    return GatewayConfig.from_text(AROUND.format(type=type_, keys=keys), environ={})


def config(type_: str, keys: str = "") -> Any:
    return load(type_, keys).middlewares["m"].config


def faults(type_: str, keys: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(type_, keys)
    return [fault.message for fault in caught.value.diagnostics]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_type_lives_in_the_file_that_is_called_like_it(plugin: Any) -> None:
    """Whoever looks for a type finds it."""
    assert plugin.kind == "middleware"
    assert plugin.config.__module__.rpartition(".")[2] == plugin.name.replace("-", "_")


@pytest.mark.parametrize("type_", ["rate-limit", "rate-limit-redis"])
def test_a_burst_is_as_large_as_the_rate(type_: str) -> None:
    """Rounded up, so that a rate below one still lets a request through."""
    redis = 'redis_url = "redis://127.0.0.1"' if type_ == "rate-limit-redis" else ""
    assert config(type_, f"rate = 100\n{redis}").burst == 100
    assert config(type_, f"rate = 0.1\n{redis}").burst == 1
    assert config(type_, f"rate = 100\nburst = 5\n{redis}").burst == 5


def test_a_short_secret_is_allowed_with_a_warning() -> None:
    """It works, and whoever runs it knows that it can be guessed."""
    weak, strong = (load("jwt", f'value = "{"x" * length}"') for length in (31, 32))
    assert [each.message for each in weak.warnings] == [
        "the secret is shorter than 32 bytes and could be guessed"
    ]
    assert strong.warnings == ()


def test_an_authorization_url_keeps_its_query() -> None:
    """Some authorization services want one."""
    url = config("forward-auth", 'forward_auth_url = "http://auth:9091/verify?rd=x"')
    assert url.forward_auth_url.path == "/verify?rd=x"


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection"])
def test_fields_that_frame_a_message_cannot_be_set(name: str) -> None:
    """A configuration cannot desynchronise client and backend."""
    for key in ("request_headers", "response_headers"):
        assert faults("headers", f'{key} = {{ {name} = "1" }}') == [
            f'"{name}" is set by the gateway itself'
        ]


@pytest.mark.parametrize(
    ("type_", "keys", "message"),
    [
        ("ip-allow", "", '"ip-allow" needs "allowed_ips" or "denied_ips"'),
        ("strip-prefix", 'prefixes = ["/"]', '"/" removes nothing'),
        ("strip-prefix", 'prefixes = ["/a%0"]', '"/a%0": the path has a broken percent escape'),
        ("add-prefix", 'prefix = "/a\\\\b"', '"/a\\b" has characters that no path has'),
        (
            "replace-path",
            "",
            '"replace-path" needs either "path", or "regex" and "replacement"',
        ),
        ("replace-path", 'regex = "a"', '"regex" and "replacement" belong together'),
        (
            "replace-path",
            'regex = "a"\nreplacement = "/b?c"',
            '"/b?c" has characters that no path has',
        ),
        (
            "replace-path",
            'regex = "(a)"\nreplacement = "/$2"',
            "there is no group 2 in the expression",
        ),
        ("redirect", "", '"redirect" needs either "scheme", or "regex" and "replacement"'),
        ("redirect", 'regex = "a"', '"regex" and "replacement" belong together'),
        ("redirect", 'regex = "a"\nreplacement = "b"\nport = 1', '"port" belongs to "scheme"'),
        (
            "redirect",
            'scheme = "https"\nregex = "a"\nreplacement = "b"',
            '"redirect" needs either "scheme", or "regex" and "replacement"',
        ),
        (
            "cors",
            "allow_credentials = true",
            '"allow_credentials" for every origin would let any page act as its visitor',
        ),
        (
            "headers",
            'request_headers = { A = "{clint_ip}" }',
            "there is nothing to put in place of {clint_ip}",
        ),
        ("headers", 'request_headers_remove = ["host"]', '"host" is set by the gateway itself'),
        (
            "headers",
            'response_headers = { Host = "a" }',
            'there is one "Host", and it is in "request_headers"',
        ),
    ],
)
def test_what_could_not_work_is_refused(type_: str, keys: str, message: str) -> None:
    """When it is read, with its place."""
    assert faults(type_, keys) == [message]


@pytest.mark.parametrize(
    ("type_", "keys"),
    [
        ("cors", 'allowed_origin_regexes = ["(a"]'),
        ("redirect", 'regex = "(a"\nreplacement = "b"'),
    ],
)
def test_an_expression_that_is_none(type_: str, keys: str) -> None:
    """The compiler's words are told."""
    (fault,) = faults(type_, keys)
    assert fault.startswith('"(a" is not a regular expression: ')


def test_a_filter_that_filters_nothing_is_refused() -> None:
    """It would only look like protection."""
    assert 'a "tcp-filter" needs "max_connections" or "allowed_ips"' in faults("tcp-filter")


@pytest.mark.parametrize(
    ("type_", "defaults"),
    [
        ("circuit-breaker", {"failure_threshold": 5, "cooldown_secs": 30, "success_threshold": 1}),
        ("retry", {"max_retries": 3, "retry_interval_ms": 100}),
        ("compress", {}),
        (
            "cors",
            {
                "allowed_origins": ("*",),
                "allowed_methods": ("GET", "POST", "PUT", "DELETE", "OPTIONS"),
                "allowed_headers": ("Content-Type", "Authorization"),
                "max_age": 86400,
            },
        ),
    ],
)
def test_defaults(type_: str, defaults: dict[str, object]) -> None:
    """A block with nothing but its type is useful."""
    found = config(type_)
    assert {name: getattr(found, name) for name in defaults} == defaults

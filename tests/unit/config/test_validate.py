from __future__ import annotations

import pytest

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig


def messages(text: str) -> list[str]:
    """Return all faults and warnings of a text."""
    try:
        found = GatewayConfig.from_text(text, environ={}).warnings
    except ConfigError as error:
        found = error.diagnostics
    return [each.message for each in found]


def listeners(*addresses: str, protocol: str = "http", admin: str = "127.0.0.1:9900") -> str:
    blocks = [
        f'entrypoints "e{i}" {{\n  address = "{address}"\n  protocol = "{protocol}"\n}}\n'
        for i, address in enumerate(addresses)
    ]
    router = 'routers "r" {\n  rule = "Path(`/`)"\n  service = "whoami@internal"\n}\n'
    return "".join([*blocks, router, f'admin {{\n  address = "{admin}"\n}}\n'])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (":80", ":80"),
        (":80", "0.0.0.0:80"),
        (":80", "[::]:80"),
        (":80", "10.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("[::]:80", "[::1]:80"),
        ("LOCALHOST:80", "localhost:80"),
        ("unix:/run/a", "unix:/run/a"),
        ("systemd:web", "systemd:web"),
    ],
)
def test_two_listeners_cannot_share_an_address(one: str, other: str) -> None:
    """Told before any socket is opened, in either order."""
    for pair in ((one, other), (other, one)):
        assert [m for m in messages(listeners(*pair)) if " listens on " in m]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (":80", ":81"),
        ("127.0.0.1:80", "127.0.0.2:80"),
        ("0.0.0.0:80", "[::]:80"),
        (":0", ":0"),
        ("unix:/run/a", "unix:/run/b"),
        ("unix:/run/a", ":80"),
        ("systemd:web", "systemd:api"),
        ("systemd:web", "unix:web"),
    ],
)
def test_different_addresses_do_not_collide(one: str, other: str) -> None:
    """Port 0 is a different one each time."""
    assert messages(listeners(one, other)) == []


def test_the_admin_api_is_a_listener_like_the_others() -> None:
    """Unless it is switched off."""
    text = listeners("127.0.0.1:9900")
    assert [m for m in messages(text) if "the admin API" in m]
    assert messages(text.replace("admin {", "admin {\n  enabled = false")) == []


@pytest.mark.parametrize("admin", [":9900", "0.0.0.0:9900", "10.0.0.1:9900", "[::]:9900"])
def test_an_open_admin_api_needs_a_token(admin: str) -> None:
    """Nobody publishes their configuration by accident."""
    text = listeners(":80", admin=admin)
    assert [m for m in messages(text) if 'needs a "token"' in m]
    assert messages(text.replace("admin {", 'admin {\n  token = "t"')) == []


ROUTED = """
entrypoints "http" {{
  address = ":1"
}}
entrypoints "tcp" {{
  address  = ":2"
  protocol = "tcp"
}}
routers "http" {{
  rule    = "Path(`/`)"
  service = "whoami@internal"
}}
routers "r" {{
  rule    = "{rule}"
  service = "s"
  {more}
}}
services "s" {{
  load_balancer {{
    servers = [{{ url = "{url}" }}]
  }}
}}
"""


@pytest.mark.parametrize(
    ("rule", "url", "more"),
    [
        ("HostSNI(`*`)", "tcp://a:1", ""),
        ("HostSNI(`*`)", "a:1", 'entrypoints = ["tcp"]'),
        ("ClientIP(`10.0.0.0/8`)", "unix:/a", 'entrypoints = ["tcp"]'),
    ],
)
def test_a_router_speaks_what_its_entrypoints_or_its_rule_say(
    rule: str, url: str, more: str
) -> None:
    """A TCP rule without entrypoints serves those for TCP."""
    assert messages(ROUTED.format(rule=rule, url=url, more=more)) == []


def test_a_rule_of_http_leaves_tcp_alone() -> None:
    """The TCP entrypoint then has no router, which is worth a warning."""
    text = ROUTED.format(rule="Path(`/x`)", url="http://a", more="")
    assert messages(text) == ['entrypoint "tcp" has no router']


def test_discovered_routers_may_serve_an_entrypoint_later() -> None:
    """No warning where something else brings routers."""
    text = ROUTED.format(rule="Path(`/x`)", url="http://a", more="")
    assert messages(text + "providers {\n  docker {}\n}\n") == []


def services(links: dict[str, dict[str, str]]) -> str:
    head = listeners(":80").replace("whoami@internal", next(iter(links)))
    blocks = []
    for name, found in links.items():
        inner = "".join(f'  {kind} {{\n    service = "{to}"\n  }}\n' for kind, to in found.items())
        blocks.append(
            f'services "{name}" {{\n  load_balancer {{\n'
            f'    servers = [{{ url = "http://a" }}]\n  }}\n{inner}}}\n'
        )
    return head + "".join(blocks)


@pytest.mark.parametrize(
    ("links", "rings"),
    [
        ({"a": {"failover": "b", "mirror": "b"}, "b": {"failover": "c"}, "c": {}}, []),
        ({"a": {"failover": "a"}}, ['"a" -> "a"']),
        ({"a": {"mirror": "b"}, "b": {"failover": "a"}}, ['"a" -> "b" -> "a"']),
        (
            {"a": {"mirror": "b"}, "b": {"mirror": "c"}, "c": {"mirror": "b", "failover": "a"}},
            ['"a" -> "b" -> "c" -> "a"', '"b" -> "c" -> "b"'],
        ),
    ],
)
def test_rings_of_services_are_found_once_each(
    links: dict[str, dict[str, str]], rings: list[str]
) -> None:
    """However mirrors and failovers are mixed; a diamond is none."""
    found = [m.rpartition(": ")[2] for m in messages(services(links)) if "cycle" in m]
    assert sorted(found) == sorted(rings)


def to_the_api(address: str, more: str = "", router: str = "") -> str:
    return (
        f'entrypoints "web" {{\n  address = "{address}"\n}}\n'
        f'routers "api" {{\n  rule = "PathPrefix(`/`)"\n  service = "api@internal"\n{router}}}\n'
        f'middlewares "auth" {{\n  type = "api-key"\n  keys = ["{"k" * 32}"]\n}}\n{more}'
    )


@pytest.mark.parametrize("address", ["0.0.0.0:80", ":80", "[::]:80", "192.0.2.1:80"])
def test_an_open_route_to_the_admin_api_is_worth_a_warning(address: str) -> None:
    """Nothing asks who it is that reads the configuration."""
    config = GatewayConfig.from_text(to_the_api(address), environ={})
    (warning,) = [each for each in config.warnings if "admin API" in each.message]
    assert warning.message == 'router "api" opens the admin API to all that reach "web"'
    assert warning.span.line == 6


@pytest.mark.parametrize(
    ("address", "more", "router"),
    [
        ("127.0.0.1:80", "", ""),
        (":80", 'admin {\n  token = "t"\n}\n', ""),
        (":80", 'admin {\n  allowed_ips = ["10.0.0.0/8"]\n}\n', ""),
        (":80", "", '  middlewares = ["auth"]\n'),
    ],
)
def test_a_route_to_the_admin_api_that_asks_is_fine(address: str, more: str, router: str) -> None:
    """By a token, by address, by a middleware; and loopback is as open as the default."""
    config = GatewayConfig.from_text(to_the_api(address, more, router), environ={})
    assert [each for each in config.warnings if "admin API" in each.message] == []


@pytest.mark.parametrize(
    ("urls", "is_used"),
    [
        (["http://a", "unix:/run/a"], False),
        (["http://a", "https://b"], True),
        (["wss://b"], True),
        (["tls://b:1"], True),
        (["b:1"], False),
    ],
)
def test_tls_that_no_server_is_spoken_to_by_is_worth_a_warning(
    urls: list[str],
    is_used: bool,  # noqa: FBT001
) -> None:
    """It looks as if traffic were protected that is not."""
    servers = "\n".join(f'servers {{ url = "{url}" }}' for url in urls)
    text = 'services "s" { load_balancer {\n tls { ca_file = "/dev/null" }\n' + servers + "\n} }"
    told = [
        each
        for each in GatewayConfig.from_text(text, environ={}).warnings
        if "by TLS" in each.message
    ]
    assert [(each.span.line, each.severity) for each in told] == [(2, "warning")] * (not is_used)

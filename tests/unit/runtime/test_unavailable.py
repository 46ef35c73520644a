"""Every key of the configuration has a function, or is refused: nothing is ignored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from a3s_gateway.config.middleware import MiddlewareConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.provider import DockerConfig, ProvidersConfig
from a3s_gateway.config.schema import BlockKind, BlocksKind, NamedKind, PluginKind, Section, schema
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.plugin import plugins
from a3s_gateway.runtime.unavailable import unavailable

WORKING = [
    "entrypoints.address",
    "entrypoints.max_connections",
    "entrypoints.trusted_proxies",
    "entrypoints.protocol",
    "entrypoints.tcp_allowed_ips",
    "entrypoints.proxy_protocol.trusted_ips",
    "routers.rule",
    "routers.tls.passthrough",
    "services.load_balancer.proxy_protocol",
    "services.load_balancer.servers.url",
    "entrypoints.http2.enabled",
    "entrypoints.http2.max_concurrent_streams",
    "entrypoints.http2.stream_window",
    "entrypoints.http2.connection_window",
    "entrypoints.http2.max_resets_per_second",
    "entrypoints.http2.max_control_frames_per_second",
    "entrypoints.tls.cert_file",
    "entrypoints.tls.key_file",
    "entrypoints.tls.min_version",
    "entrypoints.tls.certificates.cert_file",
    "entrypoints.tls.certificates.key_file",
    "entrypoints.tls.strict_sni",
    "entrypoints.tls.client_auth.ca_files",
    "entrypoints.tls.client_auth.mode",
    "entrypoints.tls.max_handshakes",
    "entrypoints.limits.max_head_bytes",
    "entrypoints.limits.max_header_lines",
    "entrypoints.limits.max_target_bytes",
    "entrypoints.limits.max_trailer_bytes",
    "entrypoints.limits.max_pipelined_bytes",
    "entrypoints.timeouts.tls_handshake",
    "entrypoints.timeouts.request_head",
    "entrypoints.timeouts.request_body_idle",
    "entrypoints.timeouts.keep_alive_idle",
    "entrypoints.timeouts.write_idle",
    "entrypoints.allowed_ips",
    "entrypoints.udp_session_timeout_secs",
    "entrypoints.udp_max_sessions",
    "routers.entrypoints",
    "routers.grpc-web",
    "routers.middlewares",
    "routers.priority",
    "routers.service",
    "plugins",
    "services.load_balancer.strategy",
    "services.load_balancer.servers.weight",
    "services.load_balancer.health_check.path",
    "services.load_balancer.health_check.interval",
    "services.load_balancer.health_check.timeout",
    "services.load_balancer.health_check.unhealthy_threshold",
    "services.load_balancer.health_check.healthy_threshold",
    "services.load_balancer.health_check.method",
    "services.load_balancer.health_check.status",
    "services.load_balancer.health_check.host",
    "services.load_balancer.health_check.headers",
    "services.load_balancer.health_check.port",
    "services.load_balancer.protocol",
    "services.load_balancer.passive_health.failures",
    "services.load_balancer.passive_health.window",
    "services.load_balancer.passive_health.ejection",
    "services.load_balancer.passive_health.statuses",
    "services.load_balancer.passive_health.max_ejected_percent",
    "services.load_balancer.connect_timeout",
    "services.load_balancer.request_timeout",
    "services.load_balancer.stream_idle_timeout",
    "services.load_balancer.stream_total_timeout",
    "services.load_balancer.pool.max_idle_connections",
    "services.load_balancer.pool.max_connections",
    "services.load_balancer.pool.idle_timeout",
    "services.load_balancer.tls.ca_file",
    "services.load_balancer.tls.insecure_skip_verify",
    "services.load_balancer.tls.server_name",
    "services.load_balancer.tls.cert_file",
    "services.load_balancer.tls.key_file",
    "providers.dns.nameservers",
    "providers.dns.refresh_interval_secs",
    "providers.dns.timeout_secs",
    "providers.file.directory",
    "providers.file.watch",
    "admin.enabled",
    "admin.address",
    "admin.path_prefix",
    "admin.token",
    "admin.allowed_ips",
    "access_log.enabled",
    "access_log.path",
    "access_log.format",
    "access_log.fields",
    "access_log.sample",
    "shutdown_timeout_secs",
    "shutdown_delay_secs",
    "ws_mux.channels",
    "ws_mux.max_channels",
    "ws_mux.queue",
    "ws_mux.queue_bytes",
    "ws_mux.slow_consumer",
    "ws_mux.max_message_bytes",
    "ws_mux.ping_interval",
    "ws_mux.idle_timeout",
    "ws_mux.allowed_origins",
    "ws_mux.redis_url",
    "ws_mux.redis_prefix",
    "tracing.endpoint",
    "tracing.sample_ratio",
]

FILES = f'cert_file = "{__file__}"\n key_file = "{__file__}"'  # they only have to be there
ACME = f"tls {{\n {FILES}"
SERVERS = 'servers = [{ url = "http://a" }]'
REVISIONS = (
    f'revisions = [{{ name = "a", traffic_percent = 90, {SERVERS} }},'
    f' {{ name = "b", traffic_percent = 10, {SERVERS} }}]'
)
OTHER = 'services "other" { load_balancer { servers = [{ url = "http://b" }] } }'

# By key or block: where it stands, what is written there, and how it is refused.
REFUSED = {
    "entrypoints.tls.acme": (
        "entrypoint",
        'tls {\n acme = true\n acme_email = "a@b.c"\n}',
        "certificates by ACME",
    ),
    "entrypoints.tls.acme_email": (
        "entrypoint", f'{ACME}\n acme_email = "a@b.c"\n}}', "certificates by ACME",
    ),
    "entrypoints.tls.acme_domains": (
        "entrypoint", f'{ACME}\n acme_domains = ["a.b"]\n}}', "certificates by ACME",
    ),
    "entrypoints.tls.acme_staging": (
        "entrypoint", f"{ACME}\n acme_staging = false\n}}", "certificates by ACME",
    ),
    "entrypoints.tls.acme_storage_path": (
        "entrypoint", f'{ACME}\n acme_storage_path = "/x"\n}}', "certificates by ACME",
    ),
    "services.mirror": ("service", 'mirror {\n service = "other"\n}', "mirroring"),
    "services.failover": ("service", 'failover {\n service = "other"\n}', "failover"),
    "services.scaling": ("service", "scaling {\n}", "autoscaling"),
    "services.revisions": ("service", REVISIONS, "revisions"),
    "services.rollout": (
        "service", f'{REVISIONS}\nrollout {{\n from = "a"\n to = "b"\n}}', "rollouts",
    ),
    "services.load_balancer.sticky": (
        "balancer", 'sticky {\n cookie = "c"\n}', "sticky sessions",
    ),
    "providers.discovery": (
        "more",
        'providers {\n discovery {\n seeds = [{ url = "http://a" }]\n }\n}',
        "the discovery provider",
    ),
    "providers.docker": ("more", "providers {\n docker {\n }\n}", "the docker provider"),
    "providers.kubernetes": (
        "more", "providers {\n kubernetes {\n }\n}", "the kubernetes provider",
    ),
}  # fmt: skip


def paths(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Name every key of the model; of what is refused as a whole, only the block."""
    for name, key in schema(section).items():
        path = f"{prefix}{name}"
        match key.kind:
            case PluginKind():
                pass  # the keys are the plugins' own; see below
            case BlockKind() | BlocksKind() | NamedKind() if path not in REFUSED:
                yield from paths(key.kind.section, f"{path}.")
            case _:
                yield path


def text(where: str = "", written: str = "") -> str:
    part = {"entrypoint": "", "balancer": "", "service": "", "more": ""}
    if where:
        part[where] = written
    servers = "" if "servers" in part["balancer"] else 'servers = [{ url = "http://127.0.0.1:1" }]'
    return f"""
entrypoints "web" {{
  address = "127.0.0.1:8080"
{part["entrypoint"]}
}}
routers "all" {{
  rule = "PathPrefix(`/`)"
  service = "backend"
}}
services "backend" {{
  load_balancer {{
{servers}
{part["balancer"]}
  }}
{part["service"]}
}}
{OTHER}
{part["more"]}
"""


def refused(where: str = "", written: str = "", *, has_limits: bool = True) -> list[Diagnostic]:
    config = GatewayConfig.from_text(text(where, written), environ={})
    return list(unavailable(config, has_limits=has_limits))


def test_no_key_of_the_model_is_forgotten() -> None:
    """Whoever adds a key makes it work, or has it refused until then."""
    known = [*WORKING, *REFUSED]
    assert len(known) == len(set(known))
    assert sorted(paths(GatewayConfig)) == sorted(known)


@pytest.mark.parametrize("path", REFUSED)
def test_what_has_no_function_yet_is_refused_at_its_place(path: str) -> None:
    """The caret stands where the key or the block was written."""
    where, written, what = REFUSED[path]
    fault = next(each for each in refused(where, written) if each.message.endswith(what))
    assert fault.message == f"not yet available: {what}"
    line = text(where, written).split("\n")[fault.span.line - 1]
    assert path.rpartition(".")[2] in line
    assert fault.hint


def test_what_works_is_not_refused() -> None:
    """Everything that is on the list of what works, written at once."""
    entrypoint = (
        'max_connections = 10\ntrusted_proxies = ["10.0.0.0/8"]\n'
        f'tls {{\n {FILES}\n min_version = "1.3"\n acme = false\n}}\n'
        'limits {\n max_head_bytes = "16KiB"\n}\ntimeouts {\n tls_handshake = "1s"\n}'
    )
    assert refused("entrypoint", entrypoint) == []
    balancer = (
        'strategy = "p2c"\nconnect_timeout = "1s"\nrequest_timeout = "1s"\n'
        'stream_idle_timeout = "1s"\nstream_total_timeout = "1m"\npool {\n max_connections = 5\n}\n'
        'tls {\n insecure_skip_verify = true\n server_name = "a"\n}\n'
        'servers {\n url = "https://a"\n weight = 2\n}\nservers {\n url = "unix:/tmp/s"\n}'
    )
    assert refused("balancer", balancer) == []
    more = (
        'routers "who" {\n rule = "Path(`/`)"\n service = "whoami@internal"\n'
        ' entrypoints = ["web"]\n priority = 5\n}\n'
        'access_log {\n path = "x"\n fields = ["status"]\n sample = 0.5\n}\n'
        'routers "api" {\n rule = "Path(`/api`)"\n service = "api@internal"\n}\n'
        'admin {\n token = "t"\n allowed_ips = ["::1"]\n path_prefix = "/a"\n}\n'
        'providers {\n file {\n watch = true\n directory = "."\n }\n'
        ' dns {\n nameservers = ["::1"]\n refresh_interval_secs = 5\n timeout_secs = 1\n }\n}\n'
        "shutdown_timeout_secs = 1\nshutdown_delay_secs = 1"
    )
    assert refused("more", more) == []
    udp = (
        'entrypoints "dns" {\n address = ":53"\n protocol = "udp"\n allowed_ips = ["::1"]\n'
        " udp_session_timeout_secs = 1\n udp_max_sessions = 1\n}\n"
        'routers "dns" {\n rule = "HostSNI(`*`)"\n service = "dns"\n entrypoints = ["dns"]\n}\n'
        'services "dns" { load_balancer { servers = [{ url = "udp://a:1" }, { url = "b:1" }] } }'
    )
    web = 'routers "web" {\n rule = "Path(`/`)"\n service = "ping@internal"\n grpc-web = true\n}'
    assert refused("more", web) == []
    assert refused("balancer", 'protocol = "http2"\nservers {\n url = "h2c://a"\n}') == []
    assert refused("more", udp) == []


def test_everything_is_told_in_one_run() -> None:
    """Also what is wrong twice."""
    more = "providers {\n docker {\n }\n kubernetes {\n }\n}"
    assert len(refused("more", more)) == 2


def test_what_a_program_sets_is_not_ignored_either() -> None:
    """A configuration that was never text has no places, but the same faults."""
    (fault,) = unavailable(GatewayConfig(providers=ProvidersConfig(docker=DockerConfig())))
    assert fault.message == "not yet available: the docker provider"
    assert unavailable(GatewayConfig()) == ()


def test_limits_that_twisteds_own_transports_do_not_have() -> None:
    """On a system without epoll they are refused, where they were asked for."""
    written = 'max_connections = 10\ntimeouts {\n tls_handshake = "10s"\n}'
    faults = refused("entrypoint", written, has_limits=False)
    assert [fault.message.split(" on ")[0] for fault in faults] == [
        "not yet available: max_connections",
        "not yet available: tls_handshake",
    ]
    assert refused(has_limits=False) == []


@pytest.mark.parametrize("name", sorted(plugins("middleware")))
def test_middlewares_without_a_function_are_refused(name: str) -> None:
    """By their type; a plugin that has one is not."""
    plugin = plugins("middleware")[name]
    middleware = MiddlewareConfig(name="m", type=name, config=Section(), plugin=plugin)
    faults = unavailable(GatewayConfig(middlewares={"m": middleware}))
    assert [fault.message for fault in faults] == (
        [] if plugin.build else [f'not yet available: middlewares of type "{name}"']
    )

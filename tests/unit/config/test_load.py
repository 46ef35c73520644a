from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from a3s_gateway.config.dump import dump
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.hcl.diagnostics import Diagnostic

MINIMAL = """
entrypoints "web" {
  address = ":8080"
}

routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "whoami@internal"
}
"""


def test_a_missing_file_is_a_fault_that_names_it(tmp_path: Path) -> None:
    """Not a traceback, and not a start with a configuration of its own."""
    path = tmp_path / "absent.hcl"
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_file(path)
    assert str(caught.value) == (
        f"{path}: error: cannot read the configuration: No such file or directory\n"
        "  = hint: give the path of a configuration file that can be read"
    )


def test_a_folder_and_a_binary_file_are_no_configuration(tmp_path: Path) -> None:
    """Each is told as what it is."""
    binary = tmp_path / "binary.hcl"
    binary.write_bytes(b"a = \xff")
    for path, reason in ((tmp_path, "Is a directory"), (binary, "byte 4 is not UTF-8")):
        with pytest.raises(ConfigError, match=reason):
            GatewayConfig.from_file(path)


def test_the_process_lends_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a caller gives another one."""
    text = MINIMAL.replace("8080", "${PORT}")
    monkeypatch.setenv("PORT", "1111")
    assert GatewayConfig.from_text(text).entrypoints["web"].address.port == 1111
    given = GatewayConfig.from_text(text, environ={"PORT": "2222"})
    assert given.entrypoints["web"].address.port == 2222


def test_files_are_found_beside_the_one_that_names_them(tmp_path: Path) -> None:
    """`file()`, certificates and folders do not depend on where the gateway was started."""
    (tmp_path / "address.txt").write_text(":9999\n")
    (tmp_path / "cert.pem").touch()
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.hcl").write_text(
        'entrypoints "tls" {\n  address = ":1"\n'
        '  tls {\n    cert_file = "../cert.pem"\n    key_file = "../cert.pem"\n  }\n}\n'
    )
    (tmp_path / "main.hcl").write_text(
        MINIMAL.replace('":8080"', 'file("address.txt")')
        + 'providers {\n  file {\n    directory = "parts"\n  }\n}\n'
    )
    config = GatewayConfig.from_file(tmp_path / "main.hcl")
    assert config.entrypoints["web"].address.port == 9999
    assert set(config.entrypoints) == {"web", "tls"}
    assert set(config.sources) == {str(tmp_path / "main.hcl"), str(tmp_path / "parts" / "a.hcl")}


def test_the_main_file_may_lie_among_its_fragments(tmp_path: Path) -> None:
    """It is not read twice."""
    main = tmp_path / "gateway.hcl"
    main.write_text(MINIMAL + 'providers {\n  file {\n    directory = "."\n  }\n}\n')
    (tmp_path / "extra.hcl").write_text('entrypoints "b" {\n  address = ":8081"\n}\n')
    assert set(GatewayConfig.from_file(main).entrypoints) == {"web", "b"}


def test_a_fragment_that_does_not_parse_does_not_hide_other_faults(tmp_path: Path) -> None:
    """And what it would have declared is not missed elsewhere."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.hcl").write_text('services "backend" {\n')
    (tmp_path / "main.hcl").write_text(
        MINIMAL.replace("whoami@internal", "backend").replace(":8080", "8080")
        + 'providers {\n  file {\n    directory = "parts"\n  }\n}\n'
    )
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_file(tmp_path / "main.hcl")
    messages = [fault.message for fault in caught.value.diagnostics]
    assert len(messages) == 2
    assert '"address" must be an address' in messages[0]
    assert messages[1] == 'this "{" is never closed'


def test_warnings_do_not_stop_a_start() -> None:
    """They are kept for whoever wants to show them."""
    text = MINIMAL + 'entrypoints "idle" {\n  address  = ":1"\n  protocol = "tcp"\n}\n'
    config = GatewayConfig.from_text(text)
    assert [each.message for each in config.warnings] == ['entrypoint "idle" has no router']
    assert {each.severity for each in config.warnings} == {"warning"}


def test_a_fault_found_later_is_shown_with_its_line() -> None:
    """When a socket cannot be opened, the user sees the line that asked for it."""
    config = GatewayConfig.from_text(MINIMAL, "gateway.hcl")
    span = config.entrypoints["web"].span_of("address")
    later = ConfigError([Diagnostic(span, "the port is in use")], config.sources)
    assert str(later) == (
        "gateway.hcl:3:14: error: the port is in use\n"
        "  |\n"
        '3 |   address = ":8080"\n'
        "  |              ^^^^^"
    )
    assert "\x1b[" in later.render(colour=True)


def test_a_configuration_travels_between_processes() -> None:
    """It can be read in a child process, with its places and warnings."""
    text = MINIMAL + 'entrypoints "idle" {\n  address  = ":1"\n  protocol = "tcp"\n}\n'
    config = GatewayConfig.from_text(text)
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config
    assert copy.warnings == config.warnings
    assert copy.routers["all"].span_of("rule") == config.routers["all"].span_of("rule")
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_text("a = 1")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_secret_is_in_no_representation() -> None:
    """Neither in a log line that shows the model, nor in the dump."""
    text = MINIMAL + 'admin {\n  token = "hunter2-hunter2"\n}\n'
    config = GatewayConfig.from_text(text)
    assert config.admin.token == "hunter2-hunter2"
    assert "hunter2" not in repr(config) + str(dump(config)) + config.sources["<text>"].line(12)
    assert dump(config)["admin"] == {
        "enabled": True,
        "address": "127.0.0.1:9900",
        "path_prefix": "/api/gateway",
        "token": "********",
        "allowed_ips": [],
    }


def test_many_routers_are_read() -> None:
    """Each is found again under its name."""
    routers = "".join(
        f'routers "r{i}" {{\n  rule = "Path(`/{i}`)"\n  service = "whoami@internal"\n}}\n'
        for i in range(300)
    )
    config = GatewayConfig.from_text(MINIMAL + routers)
    assert len(config.routers) == 301
    assert config.routers["r299"].rule == "Path(`/299`)"


def test_a_fault_of_a_block_that_nobody_wrote_is_shown_at_the_block_around_it() -> None:
    """When the default address of the admin API is taken, at least the file is named."""
    config = GatewayConfig.from_text(MINIMAL, "gateway.hcl")
    assert str(config.admin.span_of("address")) == "gateway.hcl"
    entrypoint = config.entrypoints["web"]
    assert entrypoint.timeouts.span_of("request_head") == entrypoint.span

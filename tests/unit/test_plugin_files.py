"""Plugins that a configuration names by file."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from a3s_gateway.config.apart import read_apart
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.plugin_files import PluginFileError, plugins_in

TENANT = '''
from a3s_gateway.extension import *


@frozen(kw_only=True)
class TenantConfig(PluginSettings):
    """Says whose request it is."""

    header: str = key(HEADER_NAME, "Where it says so.", default="X-Tenant")


class Tenant:
    def __init__(self, config, effects):
        self.config = config

    async def __call__(self, request, next):
        return await next(request)


PLUGIN = Plugin("middleware", "tenant", TenantConfig, Tenant)
'''
GATEWAY = """
plugins = ["./tenant.py"]

entrypoints "web" {
  address = ":8080"
}

routers "all" {
  rule        = "PathPrefix(`/`)"
  service     = "whoami@internal"
  middlewares = ["tenant"]
}

middlewares "tenant" {
  type   = "tenant"
  KEYS
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration, and the plugin that it names."""
    (tmp_path / "tenant.py").write_text(TENANT)
    (tmp_path / "gateway.hcl").write_text(GATEWAY.replace("KEYS", 'header = "X-Who"'))
    return tmp_path


def faults(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_file(folder / "gateway.hcl")
    return [fault.message.replace(f"{folder}/", "") for fault in caught.value.diagnostics]


def test_a_file_brings_a_type_with_its_keys(folder: Path) -> None:
    """They are checked as those of any other."""
    middleware = GatewayConfig.from_file(folder / "gateway.hcl").middlewares["tenant"]
    assert middleware.config.header == "X-Who"  # type: ignore[attr-defined]
    assert middleware.config.on_error == "closed"  # type: ignore[attr-defined]
    assert middleware.plugin.name == "tenant"
    (folder / "gateway.hcl").write_text(GATEWAY.replace("KEYS", 'haeder = "X-Who"'))
    assert faults(folder) == ['unknown key "haeder" in middleware "tenant" of type "tenant"']


def test_another_process_can_take_it_in(folder: Path) -> None:
    """A configuration is read in a child, which ends; its plugins come along."""
    config = read_apart(str(folder / "gateway.hcl"))
    assert config.middlewares["tenant"].config.header == "X-Who"  # type: ignore[attr-defined]


def test_a_file_that_has_changed_is_another_plugin(folder: Path) -> None:
    """A reload takes the new one, while requests in progress still use the old one."""
    (old,) = plugins_in(folder / "tenant.py")
    (same,) = plugins_in(folder / "tenant.py")
    (folder / "tenant.py").write_text(TENANT.replace("X-Tenant", "X-Other"))
    (new,) = plugins_in(folder / "tenant.py")
    assert same is old
    assert [each.config().header for each in (old, new)] == ["X-Tenant", "X-Other"]
    assert old != new


def test_a_version_that_is_gone_cannot_be_taken_in(folder: Path) -> None:
    """Rather than another one in its place."""
    (plugin,) = plugins_in(folder / "tenant.py")
    parcel = pickle.dumps(plugin.config())
    del sys.modules[plugin.config.__module__]
    (folder / "tenant.py").write_text(TENANT + "\n")
    with pytest.raises(ImportError, match="has changed while it was read"):
        pickle.loads(parcel)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def", "SyntaxError: "),
        ("\nraise ValueError('no')", "ValueError: no (line 2)"),
        ("import nothing_like_that", "ModuleNotFoundError: "),
        ("PLUGIN = 1", "it defines no PLUGIN = Plugin(...)"),
        ("", "it defines no PLUGIN = Plugin(...)"),
    ],
)
def test_a_file_that_is_no_plugin_says_why(tmp_path: Path, text: str, said: str) -> None:
    """With the line, where there is one."""
    (tmp_path / "p.py").write_text(text)
    with pytest.raises(PluginFileError) as caught:
        plugins_in(tmp_path / "p.py")
    assert str(caught.value).startswith(said)


def test_what_cannot_be_loaded_is_a_fault_with_a_place(folder: Path) -> None:
    """It does not hide the others."""
    (folder / "tenant.py").unlink()
    assert faults(folder) == [
        'cannot load plugin "./tenant.py": No such file or directory',
        'there is no middleware of type "tenant"',
    ]


def test_a_type_that_comes_with_the_gateway_cannot_be_replaced(folder: Path) -> None:
    """What `cors` means does not depend on a file."""
    (folder / "tenant.py").write_text(TENANT.replace('"tenant"', '"cors"'))
    assert 'plugin "./tenant.py" is called "cors" as one that comes with us' in faults(folder)

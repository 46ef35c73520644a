from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest
from attrs import frozen

from a3s_gateway import plugin
from a3s_gateway.config.kinds import integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import key
from a3s_gateway.plugin import Plugin, plugins


@frozen(kw_only=True)
class TeapotConfig(Settings):
    """A third party's middleware."""

    cups: int = key(integer(1), "How many.", example="2")


TEAPOT = Plugin("middleware", "teapot", TeapotConfig)
IMPOSTOR = Plugin("middleware", "cors", TeapotConfig)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend that a package with two plugins is installed."""
    found = [
        EntryPoint(name, f"{__name__}:{name}", "a3s_gateway.middleware")
        for name in ("TEAPOT", "IMPOSTOR")
    ]
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.name])
    monkeypatch.setattr(plugin, "entry_points", lambda group: found)
    plugins.cache_clear()
    yield
    plugins.cache_clear()


def test_the_built_in_middlewares_are_there() -> None:
    """All types of the documentation, each under its own name."""
    found = plugins("middleware")
    assert len(found) == 18
    assert all(name == each.name for name, each in found.items())


@pytest.mark.usefixtures("installed")
def test_an_installed_plugin_brings_its_keys() -> None:
    """A configuration can use it at once, and is checked as strictly."""
    config = GatewayConfig.from_text(
        'entrypoints "web" {\n  address = ":1"\n}\n'
        'routers "all" {\n  rule = "Path(`/`)"\n  service = "whoami@internal"\n'
        '  middlewares = ["tea"]\n}\n'
        'middlewares "tea" {\n  type = "teapot"\n  cups = 2\n}\n'
    )
    assert config.middlewares["tea"].config == TeapotConfig(cups=2)


@pytest.mark.usefixtures("installed")
def test_a_built_in_middleware_cannot_be_replaced() -> None:
    """What `cors` means does not depend on what else is installed."""
    assert plugins("middleware")["cors"].config is not TeapotConfig

"""What can be extended: a plugin is found by its kind and its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal

from attrs import frozen

PluginKind = Literal["middleware", "balancer", "provider", "scale_executor", "dns_challenge"]


@frozen
class Plugin:
    """
    One thing that a configuration can name.

    Attributes:
        name: What the configuration calls it.
        config: The frozen class that is the schema of its block.
        build: Makes the working part from an instance of `config`; None where this version knows
            the configuration, and not yet the function.

    """

    kind: PluginKind
    name: str
    config: type[Any]
    build: Callable[..., Any] | None = None


@cache
def plugins(kind: PluginKind) -> Mapping[str, Plugin]:
    """
    Return all plugins of a kind by name: those that come with the gateway and those installed.

    The package that holds them is imported here, at the first need, by its dotted name: whoever
    asks may stand below it. A built-in plugin cannot be replaced by an installed one.
    """
    group = f"a3s_gateway.{kind}"
    installed = [each.load() for each in entry_points(group=group)]
    built_in = import_module(group).PLUGINS
    return {plugin.name: plugin for plugin in (*installed, *built_in)}

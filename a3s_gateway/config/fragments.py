"""
Reading a configuration again while another is in force: one bad fragment does no harm.

A file of `providers.file.directory` that is at fault keeps the version that is in force; if
there is none, it is left out. What is wrong with it is told all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from a3s_gateway.config import load
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.validate import validate

Texts = Mapping[str, str]  # by path


@frozen
class Reading:
    """
    What was read.

    Attributes:
        config: Valid.
        held_back: The faults of the fragments that `config` has in another version, or not at
            all; None when every file is as it is on disk.

    """

    config: GatewayConfig
    held_back: ConfigError | None = None


def texts_of(config: GatewayConfig) -> Texts:
    """Return the texts that a configuration was read from."""
    return {path: source.text for path, source in config.sources.items()}


def read_again(path: str, in_force: Texts, environ: Mapping[str, str] | None = None) -> Reading:
    """
    Read a file and its fragments, as `GatewayConfig.from_file` does, but for bad fragments.

    Args:
        path: The main file.
        in_force: The texts that the configuration in force was read from.
        environ: The variables that `"${NAME}"` reads; those of the process unless given.

    Raises:
        ConfigError: It is not for a fragment alone that it cannot be used; with all faults.

    """
    instead: dict[str, str | None] = {}
    first: ConfigError | None = None
    while True:
        try:
            config = load.from_file_with(GatewayConfig, path, environ, validate, instead)
        except ConfigError as error:
            first = first or error
            blamed = _blame(error, path, in_force) - instead.keys()
            if not blamed:
                raise first from None
            instead |= {each: in_force.get(each) for each in blamed}
        else:
            return Reading(config, first)


def _blame(error: ConfigError, main: str, in_force: Texts) -> set[str]:
    """Choose whom to hold back, of those that changed: with a fault, with a part in one, all."""
    changed = {
        path
        for path, source in error.sources.items()
        if path != main and source.text != in_force.get(path)
    }
    faults = [each for each in error.diagnostics if each.severity == "error"]
    faulty = {each.span.path for each in faults}
    concerned = {note.span.path for each in faults for note in each.notes}
    return changed & faulty or changed & concerned or changed

"""
Plugins in single files, which a configuration names by their paths.

The module of such a file has a name that says which file it is, and in which version: so one
process can read a configuration, and another take it in, and a file that has changed is
another module, beside the one that is still in use.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from a3s_gateway.plugin import Plugin

_PREFIX: Final = "a3s_gateway_plugin_"


class PluginFileError(Exception):
    """A file is not a plugin; the text says why, and where in it."""


def plugins_in(path: Path) -> tuple[Plugin, ...]:
    """
    Run a file, once in each version, and return its `PLUGIN`, or its `PLUGINS`.

    Raises:
        PluginFileError: It cannot be read or run, or defines neither.

    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PluginFileError(error.strerror or str(error)) from error
    try:
        module = import_module(_name_of(path, source))
    except Exception as error:  # whatever the file does while it is run
        raise PluginFileError(_where(error, path)) from error
    found = module.__dict__.get("PLUGINS", module.__dict__.get("PLUGIN"))
    listed = found if isinstance(found, Sequence) else [found]
    plugins = tuple(each for each in listed if isinstance(each, Plugin))
    if not plugins or len(plugins) != len(listed):
        raise PluginFileError("it defines no PLUGIN = Plugin(...)")
    return plugins


def _name_of(path: Path, source: bytes) -> str:
    version = sha256(source).hexdigest()[:16]
    return f"{_PREFIX}{version}_{str(path.resolve()).encode().hex()}"


def _where(error: Exception, path: Path) -> str:
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return said
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path.resolve()):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{said} (line {line})" if line else said


class _Loader(SourceFileLoader):
    """Reads the very version that the name says; leaves no bytecode beside the file."""

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        if fullname != _name_of(Path(self.path), source):
            raise ImportError(f"{self.path} has changed while it was read")
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder:
    """Finds such modules by their names, wherever they are asked for."""

    @staticmethod
    def find_spec(
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG004 - the import system's
        target: ModuleType | None = None,  # noqa: ARG004
    ) -> ModuleSpec | None:
        """Answer for names with our prefix."""
        if not fullname.startswith(_PREFIX):
            return None
        file = bytes.fromhex(fullname.rpartition("_")[2]).decode()
        return spec_from_loader(fullname, _Loader(fullname, file), origin=file)


sys.meta_path.append(_Finder)

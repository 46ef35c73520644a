"""Read configuration from files: the only module of the model that opens any."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import attrs
from attrs import define, field, frozen

from a3s_gateway.config.decode import Decoder
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.kinds import PATH
from a3s_gateway.config.merge import merge, misplaced
from a3s_gateway.config.provider import ProvidersConfig
from a3s_gateway.config.schema import Section, block, keys
from a3s_gateway.config.validate import Facts
from a3s_gateway.config.values import Values
from a3s_gateway.hcl.diagnostics import Diagnostic, Severity, Source, Sources, Span, in_order
from a3s_gateway.hcl.evaluate import Scope
from a3s_gateway.hcl.nodes import Body
from a3s_gateway.plugin import Plugin, plugins
from a3s_gateway.plugin_files import PluginFileError, plugins_in

R = TypeVar("R", bound=Section)
_REMEDY = "create it, or change providers.file.directory"
Check = Callable[[R, Facts], Iterable[Diagnostic]]


def from_file(
    root: type[R],
    path: str | os.PathLike[str],
    environ: Mapping[str, str] | None,
    check: Check[R],
) -> R:
    """Read a file and its fragments into a `root`; raises `ConfigError` with all faults."""
    name = os.fspath(path)
    return from_text(root, _read_main(name), name, environ, check)


def from_file_with(
    root: type[R],
    path: str | os.PathLike[str],
    environ: Mapping[str, str] | None,
    check: Check[R],
    instead: Mapping[str, str | None],
) -> R:
    """Read a file and its fragments, some of which are `instead` other texts, or left out."""
    name = os.fspath(path)
    return from_text(root, _read_main(name), name, environ, check, instead)


def from_text(
    root: type[R],
    text: str,
    path: str,
    environ: Mapping[str, str] | None,
    check: Check[R],
    instead: Mapping[str, str | None] | None = None,
) -> R:
    """Read a text as if it were the file `path`."""
    # Here, because a process that only runs the gateway never needs the parser: see apart.py.
    from a3s_gateway.hcl.parse import without_collecting  # noqa: PLC0415

    reading = _Reading(os.environ if environ is None else environ, instead or {})
    with without_collecting():
        body = reading.parse(text, path)
        fragments = [reading.fragment(name) for name in reading.fragment_names(body)]
        return reading.finish(root, merge(body, fragments), check)


@define
class _Reading:
    """
    One configuration on its way: the texts read so far, and what is wrong with them.

    Args:
        environ: The variables it may ask for.
        instead: Texts to take in place of those of fragments; None: leave the fragment out.

    """

    environ: Mapping[str, str]
    instead: Mapping[str, str | None]
    texts: dict[str, str] = field(factory=dict)
    faults: list[Diagnostic] = field(factory=list)
    secrets: list[Span] = field(factory=list)
    is_broken: bool = False  # a text that does not parse hides what it declares

    def parse(self, text: str, path: str) -> Body:
        from a3s_gateway.hcl.parse import parse  # noqa: PLC0415

        parsed = parse(text, path)
        self.texts[path] = text
        self.secrets += parsed.secrets
        self.faults += parsed.faults
        self.is_broken |= bool(parsed.faults) and not parsed.body.entries
        return parsed.body

    def fragment(self, name: str) -> Body:
        given = self.instead.get(name)
        text, fault = _read(name) if given is None else (given, None)
        if fault:
            self.faults.append(fault)
        body = self.parse(text, name)
        self.faults += misplaced(body)
        return body

    def fragment_names(self, body: Body) -> list[str]:
        """List the files of `providers.file.directory`; faults in that block are found later."""
        providers = [entry for entry in body.entries if entry.name == "providers"]
        decoder = Decoder(Values(self._scope()))
        found = decoder.root(_ProvidersOnly, attrs.evolve(body, entries=tuple(providers)))
        file = found.providers.file
        if file is None or file.directory is None:
            return []
        try:
            paths = fragments_in(file.directory, body.span.path)
        except OSError as error:
            message = f'cannot read directory "{file.directory}": {error.strerror}'
            severity: Severity = "error"
            if isinstance(error, FileNotFoundError):
                severity = "warning"  # it may come later; then its files are taken over
            span = file.span_of("directory")
            self.faults.append(Diagnostic(span, message, _REMEDY, severity))
            return []
        left_out = {path for path, text in self.instead.items() if text is None}
        return [path for path in paths if path not in left_out]

    def finish(self, root: type[R], body: Body, check: Check[R]) -> R:
        local = self.plugins(body)
        values = Values(self._scope())
        decoder = Decoder(values, local)
        found = decoder.root(root, body)
        faults = [*self.faults, *values.faults]
        if not self.is_broken:
            is_complete = not any(fault.severity == "error" for fault in values.faults)
            facts = Facts(decoder.declared, _why_unreadable, is_complete)
            faults += check(found, facts)
        sources = self._sources(values.secrets)
        ordered = in_order(faults)
        if any(fault.severity == "error" for fault in ordered):
            raise ConfigError(ordered, sources)
        return attrs.evolve(found, warnings=ordered, sources=sources)  # type: ignore[call-arg]

    def plugins(self, body: Body) -> dict[str, Plugin]:
        """Load the files of `plugins`; faults of the key itself are found later."""
        named = [entry for entry in body.entries if entry.name == "plugins"]
        decoder = Decoder(Values(self._scope()))
        section = decoder.root(_PluginsOnly, attrs.evolve(body, entries=tuple(named)))
        found: dict[str, Plugin] = {}
        for index, file in enumerate(section.plugins):
            span = section.span_of("plugins", index)
            try:
                loaded = plugins_in(Path(file))
            except PluginFileError as error:
                hint = "docs/writing-a-middleware.md shows what such a file looks like"
                self.faults.append(Diagnostic(span, f'cannot load plugin "{file}": {error}', hint))
                continue
            found |= {plugin.name: plugin for plugin in loaded}
            for plugin in loaded:
                if plugin.name in plugins("middleware"):
                    message = f'plugin "{file}" is called "{plugin.name}" as one that comes with us'
                    self.faults.append(Diagnostic(span, message, "give it another name"))
        return found

    def _sources(self, secrets: Iterable[Span]) -> Sources:
        found: dict[str, list[Span]] = {path: [] for path in self.texts}
        for span in (*self.secrets, *secrets):
            found[span.path].append(span)
        return {path: Source(text, tuple(found[path])) for path, text in self.texts.items()}

    def _scope(self) -> Scope:
        return Scope(self.environ, _read_beside)


@frozen(kw_only=True)
class _ProvidersOnly(Section):
    """As much of a configuration as says where the rest of it is."""

    providers: ProvidersConfig = block(ProvidersConfig, "", always=True)


@frozen(kw_only=True)
class _PluginsOnly(Section):
    """As much of a configuration as says which types of middlewares there are."""

    plugins: tuple[str, ...] = keys(PATH, "")


def fragments_in(directory: str, main: str) -> list[str]:
    """List the files of a folder that belong to the configuration; raises `OSError`."""
    names = sorted(os.listdir(directory))  # noqa: PTH208  # text in, text out
    paths = (os.path.join(directory, each) for each in names)  # noqa: PTH118
    return [path for path in paths if _is_fragment(path, main=main)]


def _read_main(name: str) -> str:
    text, fault = _read(name)
    if fault:
        raise ConfigError([fault])
    return text


def _read(name: str) -> tuple[str, Diagnostic | None]:
    try:
        return Path(name).read_text(encoding="utf-8-sig"), None
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except OSError as error:
        reason = error.strerror or str(error)
    hint = "give the path of a configuration file that can be read"
    return "", Diagnostic(Span(name, 0, 0), f"cannot read the configuration: {reason}", hint)


def _is_fragment(path: str, *, main: str) -> bool:
    """Tell whether a file belongs to the configuration: not hidden, and not the main file again."""
    name = os.path.basename(path)  # noqa: PTH119
    if not name.endswith(".hcl") or name.startswith("."):
        return False
    return not (os.path.exists(main) and os.path.samefile(path, main))  # noqa: PTH110, PTH121


def _read_beside(path: str, origin: str) -> str:
    """Read the file that `origin` means by `path`: relative to the folder that `origin` is in."""
    return Path(origin).parent.joinpath(path).read_text(encoding="utf-8")


def _why_unreadable(path: str) -> str:
    try:
        with Path(path).open("rb"):
            return ""
    except OSError as error:
        return error.strerror or str(error)

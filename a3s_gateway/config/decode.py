"""Nodes to instances: one reader for every block, driven by the schema of its class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from attrs import define, field, frozen

from a3s_gateway.config.schema import (
    BlockKind,
    BlocksKind,
    Key,
    MapKind,
    NamedKind,
    Place,
    PluginKind,
    RejectedError,
    Section,
    has_name,
    schema,
)
from a3s_gateway.config.values import INVALID, Nodes, Values
from a3s_gateway.hcl.diagnostics import Note, Span, nearest, suggest
from a3s_gateway.hcl.nodes import (
    Attribute,
    Block,
    Body,
    Entry,
    Expression,
    Fields,
    Items,
    Label,
    Scalar,
)
from a3s_gateway.plugin import Plugin, plugins

S = TypeVar("S", bound=Section)
_NESTED = (BlockKind, BlocksKind, NamedKind, PluginKind)
_ABSENT: Any = object()  # not written: the class has a default


@frozen
class _Part:
    """The inside of one block or object: what it is called, where it is, what it holds."""

    title: str
    span: Span
    entries: tuple[Entry, ...]


@define
class Decoder:
    """
    Makes instances; one decoder reads one configuration.

    Attributes:
        values: Reads what stands to the right of "=", and collects what is wrong.
        declared: Names of labelled blocks by key, also of those that are at fault themselves.

    """

    values: Values
    local: Mapping[str, Plugin] = field(factory=dict)
    declared: dict[str, dict[str, Span]] = field(factory=dict)

    def root(self, section: type[S], body: Body) -> S:
        """Read a whole file; a part that is at fault is left out, or has its default."""
        found = self._section(section, _Part("the configuration", body.span, body.entries))
        assert isinstance(found, section), "every key of the root has a default"
        return found

    def _section(
        self, section: type[Any], part: _Part, extra: Mapping[str, Any] | None = None
    ) -> Any:
        before = len(self.values.faults)
        values: dict[str, Any] = dict(extra or {})
        nodes: Nodes = {}
        near = self._read_written(section, part, values, nodes)
        if not self._add_unwritten(section, part, values, near | nodes.keys()):
            return INVALID
        found = section(**values, place=Place(part.span, nodes))
        if len(self.values.faults) == before:
            self._mistakes(found)
        return found

    def _read_written(
        self, section: type[Section], part: _Part, values: dict[str, Any], nodes: Nodes
    ) -> set[str]:
        """Fill `values` and `nodes`; return the keys that misspelt ones probably stand for."""
        keys = schema(section)
        near = set()
        for name, entries in _grouped(part.entries).items():
            key = keys.get(name)
            if key is None:
                near.add(self._unknown(section, part, entries[0]))
                continue
            value = self._key(key, entries, nodes)
            if value is not INVALID and value is not _ABSENT:
                values[key.attribute] = value
        return near

    def _add_unwritten(
        self, section: type[Section], part: _Part, values: dict[str, Any], reported: set[str]
    ) -> bool:
        """Complete `values`, and report what is missing; tell whether nothing is."""
        is_complete = True
        for key in schema(section).values():
            if key.attribute in values:
                continue
            if key.is_required:
                is_complete = False
                if key.name not in reported:
                    self._missing(key, part)
            elif isinstance(key.kind, BlockKind) and key.default is not None:
                # A later fault of a block that nobody wrote is shown at the block around it.
                values[key.attribute] = key.kind.section(place=Place(part.span))
        return is_complete

    def _missing(self, key: Key, part: _Part) -> None:
        hint = f"add {key.name} = {key.example}" if key.example else ""
        self.values.fault(part.span, f'{part.title} needs "{key.name}"', hint)

    def _mistakes(self, section: Section) -> None:
        for mistake in section.mistakes():
            span = section.span
            if mistake.key:
                span = section.span_of(mistake.key, mistake.item)
            self.values.fault(span, mistake.message, mistake.hint, severity=mistake.severity)

    def _unknown(self, section: type[Section], part: _Part, entry: Entry) -> str:
        """Report a key; return the one that was probably meant, which then is not missing too."""
        known = list(schema(section))
        near = nearest(entry.name, known)
        hint = f'did you mean "{near}"?' if near else ""
        owner = _where_it_belongs(section, entry.name)
        if owner:
            hint += f' "{entry.name}" is a key of "{owner}"' if near else f'it belongs in "{owner}"'
        hint = hint or suggest(entry.name, known, what="known keys")
        what = "block" if isinstance(entry, Block) else "key"
        self.values.fault(entry.span, f'unknown {what} "{entry.name}" in {part.title}', hint)
        return near

    def _key(self, key: Key, entries: Sequence[Entry], nodes: Nodes) -> Any:
        """Return what one key holds; `_ABSENT` if nothing, `INVALID` if it is at fault."""
        given = [each for each in entries if not _is_null(each)]
        if not given:
            return _ABSENT
        nodes[key.name] = given[0].span
        match key.kind:
            case NamedKind() | PluginKind():
                return self._named(key, given)
            case BlocksKind(section=section):
                return self._blocks(key, section, given, nodes)
        if self._is_single(key.name, given):
            return self._one(key, given[0], nodes)
        return INVALID

    def _one(self, key: Key, entry: Entry, nodes: Nodes) -> Any:
        match key.kind:
            case BlockKind(section=section):
                part = self._part(f'"{key.name}"', entry)
                return INVALID if part is None else self._section(section, part)
            case MapKind():
                return self._map(key, key.kind, entry)
        return self._attribute(key, entry, nodes)

    def _attribute(self, key: Key, entry: Entry, nodes: Nodes) -> Any:
        if isinstance(entry, Attribute):
            return self.values.attribute(key, entry.value, nodes)
        hint = f"write {key.name} = {key.example or '...'}"
        self.values.fault(entry.span, f'"{key.name}" is an attribute, not a block', hint)
        return INVALID

    def _is_single(self, name: str, entries: Sequence[Entry]) -> bool:
        for entry in entries[1:]:
            note = Note(entries[0].span, "first written here")
            self.values.fault(entry.span, f'"{name}" is written twice', notes=(note,))
        return len(entries) == 1

    # -- blocks

    def _part(self, title: str, entry: Entry, after: str = "") -> _Part | None:
        """Look inside a block, or an attribute that holds an object; `after` is for the hint."""
        if isinstance(entry, Block):
            if not entry.labels:
                return _Part(title, entry.span, entry.body.entries)
            label = entry.labels[0]
            self.values.fault(label.span, f"{title} takes no name", f"write {entry.name} {{ ... }}")
            return None
        if isinstance(entry.value, Fields):
            return _Part(title, entry.span, entry.value.entries)
        message = f"{title} must be a block, not {self.values.shown(entry.value)}"
        self.values.fault(entry.value.span, message, f"write {entry.name}{after} {{ ... }}")
        return None

    def _blocks(
        self,
        key: Key,
        section: type[Section],
        entries: Sequence[Entry],
        nodes: Nodes,
    ) -> Any:
        attributes = [each for each in entries if isinstance(each, Attribute)]
        if attributes and not self._is_single(key.name, entries):
            return INVALID
        if attributes and isinstance(attributes[0].value, Items):
            nodes[key.name] = attributes[0].value
            parts = [self._element(key, value) for value in attributes[0].value.values]
        else:
            parts = [self._part(f'"{key.name}"', entry) for entry in entries]
        found = [INVALID if part is None else self._section(section, part) for part in parts]
        return INVALID if any(each is INVALID for each in found) else tuple(found)

    def _element(self, key: Key, value: Expression) -> _Part | None:
        if isinstance(value, Fields):
            return _Part(f'"{key.name}"', value.span, value.entries)
        message = f'an element of "{key.name}" must be an object, not {self.values.shown(value)}'
        section = getattr(key.kind, "section", Section)
        first = next((k for k in schema(section).values() if k.is_required), None)
        shown = self.values.shown(value) if isinstance(value, Scalar) else "..."
        hint = f"write {{ {first.name} = {shown} }}" if first else ""
        self.values.fault(value.span, message, hint)
        return None

    # -- named blocks

    def _named(self, key: Key, entries: Sequence[Entry]) -> dict[str, Any]:
        seen = self.declared.setdefault(key.name, {})
        found = {}
        for label, entry in self._labelled(key, entries):
            if label.name in seen:
                note = Note(seen[label.name], "first declared here")
                noun = _noun(key.name)
                self.values.fault(
                    label.span, f'{noun} "{label.name}" is declared twice', notes=(note,)
                )
                continue
            seen[label.name] = label.span
            part = self._named_part(key, label, entry)
            value = INVALID if part is None else self._declared(key, label, part)
            if value is not INVALID:
                found[label.name] = value
        return found

    def _labelled(self, key: Key, entries: Sequence[Entry]) -> Iterator[tuple[Label, Entry]]:
        """List the declarations: `a "b" {}`, and also `a { b {} }` and `a = { b = {} }`."""
        for entry in entries:
            if isinstance(entry, Block) and entry.labels:
                yield entry.labels[0], entry
                continue
            part = self._part(f'"{key.name}"', entry, ' "..."')
            if part is None:
                continue
            if self._lacks_name(key, part):
                noun = _noun(key.name)
                hint = f'write {key.name} "..." {{ ... }}'
                self.values.fault(entry.span, f"this {noun} needs a name", hint)
                continue
            for inner in part.entries:
                yield Label(inner.name, inner.span), inner

    def _lacks_name(self, key: Key, part: _Part) -> bool:
        """Tell whether a block holds what belongs into a named one: its keys, not further names."""
        assert isinstance(key.kind, NamedKind | PluginKind)
        known = schema(key.kind.section)
        return any(
            inner.name in known and not isinstance(inner.value, Fields)
            for inner in part.entries
            if isinstance(inner, Attribute)
        )

    def _named_part(self, key: Key, label: Label, entry: Entry) -> _Part | None:
        title = f'{_noun(key.name)} "{label.name}"'
        if not label.name.strip():
            self.values.fault(label.span, f"the name of a {_noun(key.name)} must not be empty")
            return None
        if isinstance(entry, Attribute):
            part = self._part(title, entry)
            return None if part is None else attrs.evolve(part, span=label.span)
        extra = [each for each in entry.labels if each is not label]
        if extra:
            self.values.fault(extra[0].span, f"{title} takes one name only")
            return None
        return _Part(title, label.span, entry.body.entries)

    def _declared(self, key: Key, label: Label, part: _Part) -> Any:
        match key.kind:
            case PluginKind(section=section, plugin=kind):
                return self._plugin(section, kind, label, part)
            case NamedKind(section=section):
                extra = {"name": label.name} if has_name(section) else {}
                return self._section(section, part, extra)
        raise AssertionError(key.kind)

    def _plugin(self, section: type[Any], kind: Any, label: Label, part: _Part) -> Any:
        """Read the key `type`, then all others with the class of that plugin."""
        key = schema(section)["type"]
        mine = [each for each in part.entries if each.name == key.name]
        others = tuple(each for each in part.entries if each.name != key.name)
        nodes: Nodes = {}
        chosen = self._key(key, mine, nodes)
        if chosen is _ABSENT:
            self._missing(key, part)
        if chosen is _ABSENT or chosen is INVALID:
            return INVALID
        known = {**self.local, **plugins(kind)}
        plugin = known.get(chosen)
        if plugin is None:
            message = f'there is no {kind} of type "{chosen}"'
            hint = suggest(chosen, sorted(known), what="types")
            self.values.fault(_span(nodes["type"]), message, hint)
            return INVALID
        title = f'{part.title} of type "{chosen}"'
        config = self._section(plugin.config, _Part(title, part.span, others))
        if config is INVALID:
            return INVALID
        place = Place(part.span, nodes)
        return section(name=label.name, type=chosen, config=config, plugin=plugin, place=place)

    def _map(self, key: Key, kind: MapKind[Any], entry: Entry) -> Any:
        part = self._part(f'"{key.name}"', entry)
        if part is None:
            return INVALID
        found = {}
        for name, entries in _grouped(part.entries).items():
            inner = attrs.evolve(key, name=name, kind=kind.item)
            if not self._is_single(name, entries):
                continue
            try:
                kind.name.parse(name)
            except RejectedError as error:
                self.values.fault(entries[0].span, f'"{name}" must be {error.expected}', error.hint)
                continue
            found[name] = self._attribute(inner, entries[0], {})
        return INVALID if any(each is INVALID for each in found.values()) else found


def _grouped(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.name, []).append(entry)
    return groups


def _is_null(entry: Entry) -> bool:
    match entry:
        case Attribute(value=Scalar(value=None)):
            return True
    return False


def _span(node: Expression | Span) -> Span:
    return node if isinstance(node, Span) else node.span


def _noun(name: str) -> str:
    return name.removesuffix("s")


def _where_it_belongs(section: type[Section], name: str) -> str:
    for key in schema(section).values():
        if isinstance(key.kind, _NESTED) and name in schema(key.kind.section):
            return key.name
    return ""

"""Nodes to instances: one reader for every block, driven by the schema of its class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from attrs import define, field, frozen

from a3s_gateway.config.schema import (
    BlockKind,
    BlocksKind,
    Key,
    ListKind,
    MapKind,
    NamedKind,
    Place,
    PluginKind,
    RejectedError,
    ScalarKind,
    Section,
    has_name,
    schema,
)
from a3s_gateway.hcl.diagnostics import Diagnostic, Note, Span, suggest
from a3s_gateway.hcl.evaluate import EvaluationError, Scope, evaluate
from a3s_gateway.hcl.nodes import (
    Attribute,
    Block,
    Body,
    Entry,
    Expression,
    Fields,
    Items,
    Label,
    Plain,
    Scalar,
    Template,
)
from a3s_gateway.plugin import plugins

S = TypeVar("S", bound=Section)
_INVALID: Any = object()  # stands for a value that has been reported
_SHOWN = 60  # characters of a wrong value that a message repeats


@frozen
class _Part:
    """The inside of one block or object: what it is called, where it is, what it holds."""

    title: str
    span: Span
    entries: tuple[Entry, ...]


@define
class Decoder:
    """
    Makes instances and collects what is wrong; one decoder reads one configuration.

    Attributes:
        faults: Everything found so far; decoding goes on after each.
        secrets: Where secret values are written.
        declared: Names of labelled blocks by key, also of those that are at fault themselves.

    """

    scope: Scope
    faults: list[Diagnostic] = field(factory=list)
    secrets: list[Span] = field(factory=list)
    declared: dict[str, dict[str, Span]] = field(factory=dict)

    def root(self, section: type[S], body: Body) -> S:
        """Read a whole file; a part that is at fault is left out, or has its default."""
        part = _Part("the configuration", body.span, body.entries)
        found = self._section(section, part)
        assert isinstance(found, section), "every key of the root has a default"
        return found

    def fault(self, span: Span, message: str, hint: str = "", notes: tuple[Note, ...] = ()) -> None:
        """Add one fault."""
        self.faults.append(Diagnostic(span, message, hint, notes=notes))

    def _section(
        self, section: type[Any], part: _Part, extra: Mapping[str, Any] | None = None
    ) -> Any:
        groups = _grouped(part.entries)
        keys = schema(section)
        for name in groups.keys() - keys.keys():
            self._unknown(section, part, groups[name][0])
        values: dict[str, Any] = dict(extra or {})
        before = len(self.faults)
        nodes: dict[str, Expression | Span] = {}
        is_complete = True
        for name, key in keys.items():
            value = self._key(key, groups.get(name, ()), part, nodes)
            if value is not _INVALID:
                values[key.attribute] = value
            elif key.is_required:
                is_complete = False
        if not is_complete:
            return _INVALID
        found = section(**values, place=Place(part.span, nodes))
        if len(self.faults) == before:
            self._mistakes(found)
        return found

    def _mistakes(self, section: Section) -> None:
        for mistake in section.mistakes():
            span = section.span
            if mistake.key:
                span = section.span_of(mistake.key, mistake.item)
            self.fault(span, mistake.message, mistake.hint)

    def _unknown(self, section: type[Section], part: _Part, entry: Entry) -> None:
        known = schema(section)
        hint = suggest(entry.name, list(known), what="known keys")
        nested = _where_it_belongs(section, entry.name)
        if nested:
            hint = f'it belongs in "{nested}"'
        what = "block" if isinstance(entry, Block) else "key"
        self.fault(entry.span, f'unknown {what} "{entry.name}" in {part.title}', hint)

    def _key(
        self,
        key: Key,
        entries: Sequence[Entry],
        part: _Part,
        nodes: dict[str, Expression | Span],
    ) -> Any:
        given = [each for each in entries if not _is_null(each)]
        if not given:
            return self._absent(key, part)
        nodes[key.name] = given[0].span
        match key.kind:
            case NamedKind() | PluginKind():
                return self._named(key, given)
            case BlocksKind(section=section):
                return self._blocks(key, section, given, nodes)
        if not self._is_single(key, given):
            return _INVALID
        entry = given[0]
        match key.kind:
            case BlockKind(section=section):
                return self._block(key, section, entry)
            case MapKind():
                return self._map(key, key.kind, entry)
            case ScalarKind() | ListKind():
                return self._attribute(key, entry, nodes)
        raise AssertionError(key.kind)

    def _absent(self, key: Key, part: _Part) -> Any:
        if not key.is_required:
            return key.value()
        hint = f"add {key.name} = {key.example}" if key.example else ""
        self.fault(part.span, f'{part.title} needs "{key.name}"', hint)
        return _INVALID

    def _is_single(self, key: Key, entries: Sequence[Entry]) -> bool:
        for entry in entries[1:]:
            note = Note(entries[0].span, "first written here")
            self.fault(entry.span, f'"{key.name}" is written twice', notes=(note,))
        return len(entries) == 1

    # -- blocks

    def _block(self, key: Key, section: type[Section], entry: Entry) -> Any:
        part = self._part(f'"{key.name}"', entry)
        return _INVALID if part is None else self._section(section, part)

    def _part(self, title: str, entry: Entry) -> _Part | None:
        """Look inside a block, or an attribute that holds an object."""
        if isinstance(entry, Block):
            if not entry.labels:
                return _Part(title, entry.span, entry.body.entries)
            label = entry.labels[0]
            self.fault(label.span, f"{title} takes no name", f"write {entry.name} {{ ... }}")
            return None
        if isinstance(entry.value, Fields):
            return _Part(title, entry.span, entry.value.entries)
        message = f"{title} must be a block, not {self._shown(entry.value)}"
        self.fault(entry.value.span, message, f"write {entry.name} {{ ... }}")
        return None

    def _blocks(
        self,
        key: Key,
        section: type[Section],
        entries: Sequence[Entry],
        nodes: dict[str, Expression | Span],
    ) -> Any:
        attributes = [each for each in entries if isinstance(each, Attribute)]
        if attributes and not self._is_single(key, entries):
            return _INVALID
        if attributes and isinstance(attributes[0].value, Items):
            nodes[key.name] = attributes[0].value
            parts = [self._element(key, value) for value in attributes[0].value.values]
        else:
            parts = [self._part(f'"{key.name}"', entry) for entry in entries]
        found = [_INVALID if part is None else self._section(section, part) for part in parts]
        return _INVALID if _INVALID in found else tuple(found)

    def _element(self, key: Key, value: Expression) -> _Part | None:
        if isinstance(value, Fields):
            return _Part(f'"{key.name}"', value.span, value.entries)
        message = f'an element of "{key.name}" must be an object, not {self._shown(value)}'
        section = getattr(key.kind, "section", Section)
        first = next((k for k in schema(section).values() if k.is_required), None)
        self.fault(value.span, message, f"write {{ {first.name} = ... }}" if first else "")
        return None

    # -- named blocks

    def _named(self, key: Key, entries: Sequence[Entry]) -> dict[str, Any]:
        seen = self.declared.setdefault(key.name, {})
        found = {}
        for label, entry in self._labelled(key, entries):
            if label.name in seen:
                note = Note(seen[label.name], "first declared here")
                noun = _noun(key.name)
                self.fault(label.span, f'{noun} "{label.name}" is declared twice', notes=(note,))
                continue
            seen[label.name] = label.span
            part = self._named_part(key, label, entry)
            value = _INVALID if part is None else self._declared(key, label, part)
            if value is not _INVALID:
                found[label.name] = value
        return found

    def _labelled(self, key: Key, entries: Sequence[Entry]) -> Iterable[tuple[Label, Entry]]:
        """List the declarations, however they are written: `a "b" {}`, `a { b {} }`, `a = { b = {} }`."""
        for entry in entries:
            if isinstance(entry, Block) and entry.labels:
                yield entry.labels[0], entry
                continue
            part = self._part(f'"{key.name}"', entry)
            for inner in part.entries if part else ():
                yield Label(inner.name, inner.span), inner

    def _named_part(self, key: Key, label: Label, entry: Entry) -> _Part | None:
        title = f'{_noun(key.name)} "{label.name}"'
        if not label.name.strip():
            self.fault(label.span, f"the name of a {_noun(key.name)} must not be empty")
            return None
        if isinstance(entry, Block):
            extra = [each for each in entry.labels if each is not label]
            if extra:
                self.fault(extra[0].span, f"{title} takes one name only")
                return None
            return _Part(title, label.span, entry.body.entries)
        part = self._part(title, entry)
        return None if part is None else _Part(title, label.span, part.entries)

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
        own = schema(section)
        mine = tuple(each for each in part.entries if each.name in own)
        others = tuple(each for each in part.entries if each.name not in own)
        nodes: dict[str, Expression | Span] = {}
        chosen = self._key(own["type"], mine, part, nodes)
        if chosen is _INVALID:
            return _INVALID
        known = plugins(kind)
        if chosen not in known:
            node = nodes["type"]
            span = node if isinstance(node, Span) else node.span
            self.fault(
                span, f'there is no {kind} of type "{chosen}"', suggest(chosen, sorted(known))
            )
            return _INVALID
        title = f'{part.title} of type "{chosen}"'
        config = self._section(
            known[chosen].config, attrs.evolve(part, title=title, entries=others)
        )
        if config is _INVALID:
            return _INVALID
        return section(name=label.name, type=chosen, config=config, place=Place(part.span, nodes))

    # -- attributes

    def _map(self, key: Key, kind: MapKind[Any], entry: Entry) -> Any:
        part = self._part(f'"{key.name}"', entry)
        if part is None:
            return _INVALID
        found = {}
        for name, entries in _grouped(part.entries).items():
            inner = attrs.evolve(key, name=name, kind=kind.item)
            if not self._is_single(inner, entries):
                continue
            try:
                kind.name.parse(name)
            except RejectedError as error:
                self.fault(entries[0].span, f'"{name}" must be {error.expected}', error.hint)
                continue
            found[name] = self._attribute(inner, entries[0], {})
        return _INVALID if _INVALID in found.values() else found

    def _attribute(self, key: Key, entry: Entry, nodes: dict[str, Expression | Span]) -> Any:
        if isinstance(entry, Block):
            hint = f"write {key.name} = {key.example or '...'}"
            self.fault(entry.span, f'"{key.name}" is an attribute, not a block', hint)
            return _INVALID
        if key.is_secret:
            self.secrets += _secrets(entry.value)
        if isinstance(key.kind, ListKind):
            return self._list(key, key.kind, entry.value, nodes)
        assert isinstance(key.kind, ScalarKind)
        scalar = self._scalar(key, key.kind, entry.value)
        if scalar is None:
            return _INVALID
        nodes[key.name] = entry.value.span if key.is_secret else scalar
        return self._value(key, key.kind, scalar)

    def _list(
        self,
        key: Key,
        kind: ListKind[Any],
        value: Expression,
        nodes: dict[str, Expression | Span],
    ) -> Any:
        if not isinstance(value, Items):
            hint = f"write {key.name} = [...]"
            self.fault(
                value.span, f'"{key.name}" must be a list, not {self._shown(value, key)}', hint
            )
            return _INVALID
        scalars = [self._scalar(key, kind.item, each) for each in value.values]
        found = [
            _INVALID if each is None else self._value(key, kind.item, each) for each in scalars
        ]
        evaluated = tuple(s or v for s, v in zip(scalars, value.values, strict=True))
        nodes[key.name] = value.span if key.is_secret else Items(evaluated, value.span)
        if len(found) < kind.at_least:
            self.fault(value.span, f'"{key.name}" must not be empty')
            return _INVALID
        return _INVALID if _INVALID in found else tuple(found)

    def _scalar(self, key: Key, kind: ScalarKind[Any], value: Expression) -> Scalar | None:
        try:
            scalar = evaluate(value, self.scope)
        except EvaluationError as error:
            fault = error.fault
            self.faults.append(attrs.evolve(fault, hint="") if _tells(key, value) else fault)
            return None
        if scalar is None:
            message = f'"{key.name}" must be one value, not {self._shown(value)}'
            self.fault(
                value.span, message, f"write {key.name} = {key.example}" if key.example else ""
            )
        return scalar

    def _value(self, key: Key, kind: ScalarKind[Any], scalar: Scalar) -> Any:
        value = scalar.value
        if kind.is_path and isinstance(value, str) and value and scalar.span.path:
            folder = os.path.dirname(scalar.span.path)  # noqa: PTH120  # text in, text out
            value = os.path.join(folder, value)  # noqa: PTH118
        for candidate in (value, *_untyped(scalar)):
            try:
                return kind.parse(candidate)
            except RejectedError as error:
                rejected = error
        found = rejected.found or (
            "this" if key.is_secret or scalar.is_borrowed else self._shown(scalar)
        )
        message = f'"{key.name}" must be {rejected.expected}, not {found}'
        hint = "" if key.is_secret else rejected.hint
        self.fault(scalar.span, message, hint)
        return _INVALID

    def _shown(self, value: Expression, key: Key | None = None) -> str:
        """Name a value in a message; a secret only by its type."""
        match value:
            case Scalar(value=str() as text) if key is None or not key.is_secret:
                return f'"{text}"' if len(text) <= _SHOWN else f'"{text[:_SHOWN]}..."'
            case Scalar(value=bool() as flag):
                return str(flag).lower()
            case Scalar(value=int() | float() as number):
                return str(number)
            case Scalar() | Template():
                return "text"
            case Items():
                return "a list"
            case Fields():
                return "an object"
        return "this"


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


def _noun(name: str) -> str:
    return name.removesuffix("s")


def _where_it_belongs(section: type[Section], name: str) -> str:
    for key in schema(section).values():
        if isinstance(key.kind, BlockKind) and name in schema(key.kind.section):
            return key.name
    return ""


def _secrets(value: Expression) -> Iterable[Span]:
    """List where the text of a secret stands; the names of variables are none."""
    match value:
        case Scalar(span=span, pieces=pieces):
            yield from [piece.span for piece in pieces] or [span]
        case Template(parts=parts) | Items(values=parts):
            for part in parts:
                yield from _secrets(part)


def _untyped(scalar: Scalar) -> Iterable[Plain]:
    """Read a text from the environment as a number or a truth value, which it cannot say itself."""
    text = str(scalar.value).strip()
    if not scalar.is_borrowed:
        return
    if text in {"true", "false"}:
        yield text == "true"
    for number in (int, float):
        try:
            yield number(text)
        except ValueError:
            continue


def _tells(key: Key, value: Expression) -> bool:
    """Tell whether the hint of a fault would repeat a secret, such as a bare word."""
    return key.is_secret and not isinstance(value, Template)

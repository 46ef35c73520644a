"""
How a configuration class says what its HCL block looks like.

A class is a frozen attrs class derived from `Section`; each attribute is declared with `key`, which
holds its kind, default and documentation. `decode`, `dump` and `reference` interpret this data.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

import attrs
from attrs import NOTHING, Factory, field, frozen

from a3s_gateway.hcl.diagnostics import NOWHERE, Severity, Span
from a3s_gateway.hcl.nodes import Expression, Items, Plain, Scalar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
C = TypeVar("C", bound="Section")
C_co = TypeVar("C_co", bound="Section", covariant=True)
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

REQUIRED: Any = NOTHING
SHOWN_BLOCK = "{ ... }"  # the example of a nested block: that of its own keys
_METADATA = "a3s_gateway.key"
_NAME = "a3s_gateway.name"


class RejectedError(Exception):
    """
    A value is not what its kind wants.

    Attributes:
        expected: Completes the sentence '"key" must be ...'.
        found: What is there instead; empty to have the value shown.

    """

    def __init__(self, expected: str, hint: str = "", *, found: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint
        self.found = found


@frozen
class ScalarKind(Generic[T_co]):
    """
    One value.

    Attributes:
        title: What the reference calls it, such as "duration".
        parse: Makes the value, or raises `RejectedError`.
        show: Makes what the JSON dump contains.
        is_path: A file name, relative to the folder of the configuration file.

    """

    title: str
    parse: Callable[[Plain], T_co]
    show: Callable[[Any], Json] = lambda value: cast(Json, value)
    is_path: bool = False


@frozen
class ListKind(Generic[T_co]):
    """A list of values."""

    item: ScalarKind[T_co]
    at_least: int = 0


@frozen
class MapKind(Generic[T_co]):
    """Names of the user's choice, each with a value."""

    name: ScalarKind[str]
    item: ScalarKind[T_co]


@frozen
class BlockKind(Generic[C_co]):
    """A nested block, written at most once."""

    section: type[C_co]


@frozen
class BlocksKind(Generic[C_co]):
    """A list of objects, or the same block several times."""

    section: type[C_co]


@frozen
class NamedKind(Generic[C_co]):
    """Blocks with a label, which declares their name."""

    section: type[C_co]


@frozen
class PluginKind(Generic[C_co]):
    """Named blocks whose `type` selects the plugin that knows the other keys."""

    section: type[C_co]
    plugin: str


Kind = (
    ScalarKind[T_co]
    | ListKind[T_co]
    | MapKind[T_co]
    | BlockKind[Any]
    | BlocksKind[Any]
    | NamedKind[Any]
    | PluginKind[Any]
)


@frozen
class Key:
    """
    One key of a block.

    Attributes:
        name: As it stands in HCL.
        attribute: In Python, where `from` has a trailing underscore.

    """

    name: str
    attribute: str
    kind: Kind[Any]
    doc: str
    default: Any
    default_doc: str
    example: str
    is_secret: bool

    @property
    def is_required(self) -> bool:
        """Tell whether a block without this key is at fault."""
        return self.default is NOTHING


def _declare(
    kind: Any,
    doc: str,
    default: Any,
    example: str = "",
    *,
    is_secret: bool = False,
    default_doc: str = "",
    name: str = "",
) -> Any:
    metadata = {_METADATA: (kind, doc, default_doc, example, is_secret), _NAME: name}
    return field(default=default, metadata=metadata, repr=not is_secret)


def key(
    kind: ScalarKind[T],
    doc: str,
    *,
    default: T | None = REQUIRED,
    default_doc: str = "",
    example: str = "",
    secret: bool = False,
    name: str = "",
) -> T:
    """
    Declare a key with one value.

    Args:
        kind: What it holds.
        doc: One line for the reference.
        default: Without one the key is required.
        default_doc: How the reference words the default, if its value does not say it.
        example: How it may look in HCL; shown where it is missing, and in the reference.
        secret: Never shown: neither in faults nor in the dump.
        name: In HCL, where no attribute of Python's can have it.

    """
    return cast(
        T,
        _declare(kind, doc, default, example, is_secret=secret, default_doc=default_doc, name=name),
    )


def keys(
    item: ScalarKind[T],
    doc: str,
    *,
    default: tuple[T, ...] = (),
    at_least: int = 0,
    example: str = "",
    secret: bool = False,
) -> tuple[T, ...]:
    """Declare a key that holds a list of values; `at_least` makes it required."""
    kind = ListKind(item, at_least)
    given: Any = NOTHING if at_least else default
    return cast("tuple[T, ...]", _declare(kind, doc, given, example, is_secret=secret))


def mapping(
    name: ScalarKind[str], item: ScalarKind[T], doc: str, *, example: str = ""
) -> Mapping[str, T]:
    """Declare a key that holds an object with names of the user's choice."""
    kind = MapKind(name, item)
    return cast("Mapping[str, T]", _declare(kind, doc, Factory(dict), example))


def block(
    section: type[C],
    doc: str,
    *,
    default: C | None = REQUIRED,
    always: bool = False,
    shown: bool = False,
) -> C:
    """
    Declare a nested block.

    Args:
        section: The class that reads it.
        doc: One line for the reference.
        default: Without one, and without `always`, the block is required.
        always: An absent block is as good as an empty one.
        shown: The example of the block around it shows this one too.

    """
    given: Any = Factory(section) if always else default
    return cast(C, _declare(BlockKind(section), doc, given, SHOWN_BLOCK if shown else ""))


def blocks(section: type[C], doc: str, *, example: str = "") -> tuple[C, ...]:
    """Declare a list of nested blocks."""
    return cast("tuple[C, ...]", _declare(BlocksKind(section), doc, (), example))


def named(section: type[C], doc: str, *, plugin: str = "") -> Mapping[str, C]:
    """Declare labelled blocks; with `plugin` their `type` is a plugin of that kind."""
    kind: Any = PluginKind(section, plugin) if plugin else NamedKind(section)
    return cast("Mapping[str, C]", _declare(kind, doc, Factory(dict)))


@frozen
class Place:
    """Where a block and its keys were written; `span` is the block's name or label."""

    span: Span = NOWHERE
    nodes: Mapping[str, Expression | Span] = field(factory=dict)


@frozen
class Mistake:
    """A fault that a section finds in itself; `item` counts in a list, `key` may be empty."""

    key: str
    message: str
    hint: str = ""
    item: int | None = None
    severity: Severity = "error"


@frozen(kw_only=True)
class Section:
    """A block of the configuration, and where it was written."""

    place: Place = field(factory=Place, eq=False, repr=False)

    @property
    def span(self) -> Span:
        """The block's name or label."""
        return self.place.span

    def span_of(
        self, name: str, item: int | None = None, *, start: int = 0, end: int | None = None
    ) -> Span:
        """
        Return the place of a key's value; of the block, where the key was not written.

        Args:
            name: The key.
            item: Of a list the element, counted from 0.
            start: Of a text the first character that is meant.
            end: One beyond the last character that is meant.

        """
        node = self.place.nodes.get(name, self.place.span)
        if isinstance(node, Items) and item is not None and item < len(node.values):
            node = node.values[item]
        if isinstance(node, Scalar) and end is not None:
            return node.place(start, end)
        return node if isinstance(node, Span) else node.span

    def mistakes(self) -> Iterator[Mistake]:
        """Find what is wrong among the keys of this block; runs when each key by itself is fine."""
        return iter(())


def hashable(value: Any) -> Hashable:
    """Return what is equal for equal sections, or values of sections, and can be a key."""
    if isinstance(value, Section):
        fields = (each for each in attrs.fields(type(value)) if each.eq)
        return type(value), *(hashable(getattr(value, each.name)) for each in fields)
    if isinstance(value, Mapping):
        return tuple((name, hashable(item)) for name, item in value.items())
    if isinstance(value, tuple | list):
        return tuple(hashable(item) for item in value)
    return cast(Hashable, value)


_schemas: dict[type[Section], Mapping[str, Key]] = {}


def schema(section: type[Section]) -> Mapping[str, Key]:
    """Return the keys of a section, by name, in the order declared."""
    found = _schemas.get(section)
    if found is None:
        found = _schemas[section] = {key.name: key for key in _read_keys(section)}
    return found


def _read_keys(section: type[Section]) -> Iterator[Key]:
    for attribute in attrs.fields(section):
        if _METADATA in attribute.metadata:
            kind, doc, *rest = attribute.metadata[_METADATA]
            name = attribute.metadata[_NAME] or attribute.name.rstrip("_")
            yield Key(name, attribute.name, kind, doc, attribute.default, *rest)


def has_name(section: type[Section]) -> bool:
    """Tell whether a section is declared by a label, which becomes its `name`."""
    return any(each.name == "name" and not each.metadata for each in attrs.fields(section))

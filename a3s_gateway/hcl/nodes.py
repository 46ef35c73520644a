"""What a configuration text consists of; every node knows its place."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from a3s_gateway.hcl.diagnostics import Span

Plain = str | int | float | bool | None


@frozen
class Piece:
    """
    A stretch of a text value and where it was written.

    Attributes:
        offset: Where the stretch begins in the value.
        is_verbatim: One character of the value is one of the source; otherwise the stretch came
            from an escape or an interpolation, and its place is the whole of that.

    """

    offset: int
    span: Span
    is_verbatim: bool


@frozen
class Scalar:
    """
    A string, number, truth value or null.

    Attributes:
        span: For a string the text inside its quotes.
        pieces: Where the parts of a string were written, when it is not simply the text at `span`.
        is_borrowed: The text came from the environment or a file, which know no types, so "8" may
            stand for 8.

    """

    value: Plain
    span: Span
    pieces: tuple[Piece, ...] = ()
    is_borrowed: bool = False

    def place(self, start: int, end: int) -> Span:
        """Return where the characters `start` to `end` (half open) of a string were written."""
        if not self.pieces:
            return self.span.part(start, end)
        piece = next((p for p in reversed(self.pieces) if p.offset <= start), self.pieces[0])
        if not piece.is_verbatim:
            return piece.span
        start, end = start - piece.offset, end - piece.offset
        start = min(start, piece.span.width)
        return piece.span.part(start, max(start + 1, min(end, piece.span.width)))


@frozen
class Template:
    """A string with escapes or interpolations: verbatim scalars and expressions in turn."""

    parts: tuple[Expression, ...]
    span: Span


@frozen
class Items:
    """A list: `[...]`."""

    values: tuple[Expression, ...]
    span: Span


@frozen
class Fields:
    """An object: `{...}`."""

    entries: tuple[Attribute, ...]
    span: Span


@frozen
class Call:
    """A function call: `env("NAME")`."""

    name: str
    arguments: tuple[Expression, ...]
    span: Span


@frozen
class Reference:
    """A bare word: the variable of `"${NAME}"`, or text whose quotes were forgotten."""

    name: str
    span: Span


@frozen
class Unsupported:
    """An expression of HCL that a configuration has no use for, such as a loop."""

    what: str
    span: Span


Expression = Scalar | Template | Items | Fields | Call | Reference | Unsupported


@frozen
class Attribute:
    """`name = expression`; `span` is the name's place."""

    name: str
    span: Span
    value: Expression


@frozen
class Label:
    """A label of a block: the name it declares."""

    name: str
    span: Span


@frozen
class Block:
    """`name "label" { ... }`; `span` is the name's place."""

    name: str
    span: Span
    labels: tuple[Label, ...]
    body: Body


@frozen
class Body:
    """The attributes and blocks between two braces, or of a whole file, in the order written."""

    entries: tuple[Attribute | Block, ...]
    span: Span


Entry = Attribute | Block
Environment = Mapping[str, str]

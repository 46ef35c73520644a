"""HCL text to nodes: python-hcl2's tree, walked once, with the place of everything kept."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import define, field, frozen
from lark import Token, Tree
from lark.exceptions import UnexpectedInput

from a3s_gateway.hcl import strings
from a3s_gateway.hcl.diagnostics import Diagnostic, Span
from a3s_gateway.hcl.grammar import parser
from a3s_gateway.hcl.nodes import (
    Attribute,
    Block,
    Body,
    Call,
    Expression,
    Fields,
    Items,
    Label,
    Reference,
    Scalar,
    Template,
    Unsupported,
)
from a3s_gateway.hcl.syntax import explain

MAX_DIGITS = 18  # of a whole number; what is larger counts neither bytes nor anything else here

_WORDS = {"identifier", "keyword", "literal_value"}
_LITERALS = {"true": True, "false": False, "null": None}
_BLANK = "new_line_or_comment"
_UNSUPPORTED = {
    "conditional": "a condition",
    "binary_op": "a calculation",
    "unary_op": "a calculation",
    "index_expr_term": "an index",
    "get_attr_expr_term": "a reference",
    "attr_splat_expr_term": "a reference",
    "full_splat_expr_term": "a reference",
    "for_tuple_expr": "a loop",
    "for_object_expr": "a loop",
}

_Tree = Tree[Token]


@frozen
class Parsed:
    """
    What a text says, as far as it can be understood, and what is wrong with its syntax.

    Attributes:
        secrets: Where values of secret keys stand, in a text that does not parse.

    """

    body: Body
    faults: tuple[Diagnostic, ...] = ()
    secrets: tuple[Span, ...] = ()


def parse(text: str, path: str) -> Parsed:
    """
    Read a text; never raises for what is in it.

    Args:
        text: HCL native syntax.
        path: The name by which spans call the text.

    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    whole = Span(path, 0, 0, 0)
    with without_collecting():
        try:
            # The grammar wants a line break at the end, as hcl2's own entry point knows.
            tree = parser().parse(text + "\n")
        except UnexpectedInput as error:
            fault, secrets = explain(text, path, error)
            return Parsed(Body((), whole), (fault,), secrets)
        converter = _Converter(path)
        try:
            body = converter.body(_inner(tree), whole)
        except RecursionError:
            fault = Diagnostic(Span(path, 1, 1), "braces are nested too deeply")
            return Parsed(Body((), whole), (fault,))
    return Parsed(body, tuple(converter.faults))


@contextmanager
def without_collecting() -> Iterator[None]:
    """Spare the garbage collector a million objects that are none: it would double the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@define
class _Converter:
    """Walks one tree; what the grammar allows and HCL does not becomes a fault."""

    path: str
    faults: list[Diagnostic] = field(factory=list)

    def body(self, tree: _Tree, span: Span) -> Body:
        entries: list[Attribute | Block] = []
        ended = True
        for child in tree.children:
            assert isinstance(child, Tree)
            if child.data == _BLANK:
                ended = True
                continue
            entry = self.attribute(child) if child.data == "attribute" else self.block(child)
            if not ended:
                message = f'"{entry.name}" must begin on a line of its own'
                self.faults.append(Diagnostic(entry.span, message, "put a line break before it"))
            entries.append(entry)
            ended = _ends_with_heredoc(child)
        return Body(tuple(entries), span)

    def attribute(self, tree: _Tree) -> Attribute:
        name, span = self.word(tree.children[0])
        return Attribute(name, span, self.expression(tree.children[2]))

    def block(self, tree: _Tree) -> Block:
        name, span = self.word(tree.children[0])
        labels = []
        body: Body | None = None
        for child in tree.children[1:]:
            if isinstance(child, Token) or child.data == _BLANK:
                continue
            if child.data == "body":
                body = self.body(child, span)
            else:
                labels.append(Label(*self.word(child)))
        return Block(name, span, tuple(labels), body or Body((), span))

    def word(self, tree: Token | _Tree) -> tuple[str, Span]:
        """Read a name: of an attribute, a block, a label, or a key of an object."""
        assert isinstance(tree, Tree)
        if tree.data == "string":
            value = self.string(tree)
            if isinstance(value, Scalar):
                return str(value.value), value.span
            self.faults.append(Diagnostic(value.span, "a name must be plain text, without ${...}"))
            return "", value.span
        if tree.data in _WORDS:
            token = tree.children[0]
            assert isinstance(token, Token)
            return str(token), self.span(token)
        if tree.data in {"expr_term", "object_elem_key"}:
            return self.word(_inner(tree))
        span = self.whole(tree)
        self.faults.append(Diagnostic(span, "expected a name here", "put it in double quotes"))
        return "", span

    def expression(self, tree: Token | _Tree) -> Expression:
        assert isinstance(tree, Tree)
        kind = str(tree.data)
        if kind == "expr_term":
            return self.expression(_inner(tree))
        convert = _CONVERTERS.get(kind)
        if convert is not None:
            return convert(self, tree)
        return Unsupported(_UNSUPPORTED.get(kind, "this expression"), self.whole(tree))

    def string(self, tree: _Tree) -> Scalar | Template:
        parts = tree.children[1:-1]
        opening = tree.children[0]
        assert isinstance(opening, Token)
        if not parts:
            return Scalar("", self.span(opening).part(0, 2))
        if len(parts) == 1:
            token = parts[0].children[0]  # type: ignore[union-attr]
            if isinstance(token, Token) and _is_simple(token):
                return Scalar(str(token), self.span(token))
        return self.template(opening, [part.children[0] for part in parts])  # type: ignore[union-attr]

    def template(self, opening: Token, children: Sequence[Any]) -> Scalar | Template:
        parts: list[Expression] = []
        for child in children:
            if isinstance(child, Token):
                if "\n" in child:
                    self.faults.append(strings.unclosed(self.span(opening)))
                    return Scalar("", self.span(opening))
                parts += strings.pieces(str(child), self.span(child), self.faults)
            elif child.data == "interpolation":
                parts.append(strings.interpolated(self.expression(child.children[1])))
            else:
                parts.append(Unsupported("a template directive", self.whole(child)))
        return strings.join(parts, self.span(opening))

    def heredoc(self, tree: _Tree) -> Scalar | Template:
        token = tree.children[0]
        assert isinstance(token, Token)
        parts = strings.heredoc(str(token), self.span(token))
        return strings.join(parts, self.span(token))

    def number(self, tree: _Tree) -> Scalar:
        token = tree.children[0]
        assert isinstance(token, Token)
        span = self.span(token)
        if tree.data != "int_lit":
            return Scalar(float(token), span)
        if len(token) > MAX_DIGITS:
            self.faults.append(Diagnostic(span, "this number is too large"))
            return Scalar(0, span)
        return Scalar(int(token), span)

    def name(self, tree: _Tree) -> Scalar | Reference:
        token = str(tree.children[0])
        span = self.span(tree.children[0])  # type: ignore[arg-type]
        return Scalar(_LITERALS[token], span) if token in _LITERALS else Reference(token, span)

    def sign(self, tree: _Tree) -> Expression:
        operator, term = tree.children
        value = self.expression(term)
        span = self.whole(tree)
        match str(operator), value:
            case "-", Scalar(value=int() | float() as number) if not isinstance(number, bool):
                return Scalar(-number, span)
            case "!", Scalar(value=bool() as flag):
                return Scalar(not flag, span)
        return Unsupported("a calculation", span)

    def items(self, tree: _Tree) -> Items:
        values = tuple(self.expression(value) for value in _trees(tree))
        return Items(values, self.whole(tree))

    def fields(self, tree: _Tree) -> Fields:
        entries = tuple(self.element(element) for element in _trees(tree))
        return Fields(entries, self.whole(tree))

    def element(self, tree: _Tree) -> Attribute:
        key = tree.children[0]
        assert isinstance(key, Tree)
        name, span = self.word(key)
        return Attribute(name, span, self.expression(tree.children[2]))

    def call(self, tree: _Tree) -> Call:
        name, *given = _trees(tree)
        arguments = _trees(given[0]) if given else []
        values = tuple(self.expression(argument) for argument in arguments)
        return Call(self.word(name)[0], values, self.whole(tree))

    def span(self, token: Token) -> Span:
        line, column = token.line, token.column
        assert line is not None
        assert column is not None
        return Span(self.path, line, column, len(token))

    def whole(self, tree: _Tree) -> Span:
        """Return the place of a tree: to the end of its last word, or of its first line."""
        first, last = _edge(tree, 0), _edge(tree, -1)
        span = self.span(first)
        if first.line == last.line and first.column and last.end_column:
            return Span(self.path, span.line, span.column, last.end_column - first.column)
        return Span(self.path, span.line, span.column, len(str(first).split("\n")[0]))


def _trees(tree: _Tree) -> list[_Tree]:
    """List what a tree is about: without punctuation, comments and line breaks."""
    return [c for c in tree.children if isinstance(c, Tree) and c.data != _BLANK]


def _inner(tree: _Tree) -> _Tree:
    """Return what parentheses, or a rule that adds nothing, stand around."""
    return _trees(tree)[0]


def _edge(tree: _Tree, end: int) -> Token:
    """Return the first (0) or the last (-1) word of a tree."""
    node: Token | _Tree = tree
    while isinstance(node, Tree):
        node = [child for child in node.children if not _is_blank(child)][end]
    return node


def _is_blank(child: Token | _Tree) -> bool:
    return isinstance(child, Tree) and (child.data == _BLANK or not child.children)


def _is_simple(token: Token) -> bool:
    """Tell whether the text of a string is its value as it stands."""
    return token.type == "STRING_CHARS" and "\\" not in token and "\n" not in token


def _ends_with_heredoc(tree: _Tree) -> bool:
    return tree.data == "attribute" and _edge(tree, -1).type.startswith("HEREDOC")


_CONVERTERS: dict[str, Callable[[_Converter, _Tree], Expression]] = {
    "string": _Converter.string,
    "int_lit": _Converter.number,
    "float_lit": _Converter.number,
    "identifier": _Converter.name,
    "literal_value": _Converter.name,
    "tuple": _Converter.items,
    "object": _Converter.fields,
    "function_call": _Converter.call,
    "heredoc_template": _Converter.heredoc,
    "heredoc_template_trim": _Converter.heredoc,
    "unary_op": _Converter.sign,
}

"""Quoted strings and heredocs: escapes, interpolations, and where each character was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from a3s_gateway.hcl.diagnostics import Diagnostic, Span
from a3s_gateway.hcl.nodes import Expression, Piece, Reference, Scalar, Template, Unsupported

_ESCAPE = re.compile(
    r"\\(?:u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<one>.))"
    r"|(?P<brace>\$\$\{|%%\{)",
    re.DOTALL,
)
_ONE = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "/": "/", "b": "\b", "f": "\f"}
_HEREDOC_PART = re.compile(r"(?P<brace>\$\$\{|%%\{)|\$\{(?P<inner>[^}\n]*)\}")
_NAME = re.compile(r"\s*([A-Za-z_][\w-]*)\s*")
_LAST_CODE_POINT = 0x10FFFF


def pieces(raw: str, span: Span, faults: list[Diagnostic]) -> Iterator[Scalar]:
    """Split the inside of a quoted string at its escapes; a bad one is added to `faults`."""
    position = 0
    for match in _ESCAPE.finditer(raw):
        if match.start() > position:
            yield Scalar(raw[position : match.start()], span.part(position, match.start()))
        position = match.end()
        place = span.part(*match.span())
        value = _unescape(match)
        if value is None:
            faults.append(_bad_escape(match.group(), place))
        yield Scalar(value or "", place)
    if position < len(raw):
        yield Scalar(raw[position:], span.part(position, len(raw)))


def _unescape(match: re.Match[str]) -> str | None:
    if match["brace"]:
        return match["brace"][1:]
    if match["one"]:
        return _ONE.get(match["one"])
    code = int(match["short"] or match["long"], 16)
    # Half of a surrogate pair is no character, and could not be written out again.
    return chr(code) if code <= _LAST_CODE_POINT and not 0xD800 <= code <= 0xDFFF else None


def _bad_escape(text: str, span: Span) -> Diagnostic:
    hint = f"a backslash is written twice: \\{text}"
    if text[1] in "uU":
        hint = 'a character by its number is "\\uXXXX" or "\\UXXXXXXXX"'
    return Diagnostic(span, f"{text} is not an escape of HCL", hint)


def unclosed(opening: Span) -> Diagnostic:
    """Report a string that goes on beyond its line."""
    hint = 'end it with ", or write several lines as <<EOT ... EOT'
    return Diagnostic(opening, "this string is not closed on its line", hint)


def heredoc(raw: str, span: Span) -> list[Expression]:
    """Split a heredoc into lines, escapes and interpolations; backslashes mean themselves."""
    opening, *lines = raw.removesuffix("\n").split("\n")
    del lines[-1]  # the marker
    indent = 0
    if opening.startswith("<<-"):
        indent = min(
            (len(each) - len(each.lstrip(" \t")) for each in lines if each.strip()), default=0
        )
    parts: list[Expression] = []
    for number, line in enumerate(lines, start=span.line + 1):
        kept = line[indent:]
        # No key wants the last line break: a secret must not grow by one.
        text = kept + "\n" if number < span.line + len(lines) else kept
        parts += _heredoc_line(text, Span(span.path, number, indent + 1, max(len(text), 1)))
    return parts


def _heredoc_line(text: str, span: Span) -> Iterator[Expression]:
    position = 0
    for match in _HEREDOC_PART.finditer(text):
        if match.start() > position:
            yield Scalar(text[position : match.start()], span.part(position, match.start()))
        position = match.end()
        place = span.part(*match.span())
        if match["brace"]:
            yield Scalar(match["brace"][1:], place)
        elif name := _NAME.fullmatch(match["inner"]):
            yield Reference(name[1], span.part(*(match.start("inner") + at for at in name.span(1))))
        else:
            yield Unsupported("anything but a ${NAME} in a heredoc", place)
    if position < len(text):
        yield Scalar(text[position:], span.part(position, len(text)))


def interpolated(part: Expression) -> Expression:
    """Make text of a number or a truth value that stands inside `${...}`."""
    match part:
        case Scalar(value=bool() as flag, span=span):
            return Scalar(str(flag).lower(), span)
        case Scalar(value=int() | float() as number, span=span):
            return Scalar(str(number), span)
        case Scalar(value=None, span=span):
            return Unsupported("null inside a text", span)
    return part


def join(parts: Sequence[Expression], opening: Span) -> Scalar | Template:
    """
    Make one string of its parts.

    Args:
        parts: Scalars, whose text is verbatim if it is as long as its place, and expressions.
        opening: The opening quote, or the head of a heredoc.

    Returns:
        A Scalar where nothing remains to be evaluated, else a Template.

    """
    span = _covering(parts, opening)
    if all(isinstance(part, Scalar) for part in parts):
        return assemble([part for part in parts if isinstance(part, Scalar)], span)
    return Template(tuple(parts), span)


def assemble(parts: Sequence[Scalar], span: Span, *, is_borrowed: bool = False) -> Scalar:
    """Concatenate evaluated parts, and remember which part came from where."""
    found: list[Piece] = []
    offset = 0
    for part in parts:
        text = str(part.value)
        if text:
            is_verbatim = not part.is_borrowed and len(text) == part.span.width
            found.append(Piece(offset, part.span, is_verbatim))
        offset += len(text)
    value = "".join(str(part.value) for part in parts)
    if len(found) == 1 and found[0].is_verbatim:
        return Scalar(value, found[0].span)
    return Scalar(value, span, tuple(found), is_borrowed=is_borrowed)


def _covering(parts: Sequence[Expression], opening: Span) -> Span:
    if not parts:
        return opening
    first, last = parts[0].span, parts[-1].span
    start = first.column - 2 if isinstance(parts[0], Reference) else first.column
    end = last.column + last.width + (1 if isinstance(parts[-1], Reference) else 0)
    if first.line == last.line:
        return Span(first.path, first.line, start, max(end - start, 1))
    return Span(first.path, first.line, start, max(first.width, 1))

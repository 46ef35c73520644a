"""Where a text is wrong, and how to say so: the one way in which every layer reports a fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Literal

from attrs import field, frozen

from a3s_gateway.hcl.secrets import mask

Severity = Literal["error", "warning"]

SHOWN_WIDTH = 160  # characters of a source line; of a longer one the part around the caret is shown
_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "hint": "\x1b[1;36m"}
_RESET = "\x1b[0m"


@frozen(order=True)
class Span:
    """
    A stretch of one line; `line` and `column` count from 1, `width` in characters.

    Line 0 stands for the whole file.
    """

    path: str
    line: int
    column: int
    width: int = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path

    def part(self, start: int, end: int) -> Span:
        """Narrow to the characters `start` to `end` (half open) of this stretch."""
        return Span(self.path, self.line, self.column + start, max(end - start, 1))


NOWHERE = Span("<none>", 0, 0, 0)  # a value that was written by a program, not in a file


@frozen
class Note:
    """Another place that belongs to a fault, such as the first of two declarations."""

    span: Span
    text: str


@frozen
class Source:
    """
    The text of one file, kept so that a fault found later can still show its line.

    Attributes:
        secrets: Stretches that are never shown, whatever the fault.

    """

    text: str
    secrets: tuple[Span, ...] = ()
    _lines: list[str] = field(init=False, repr=False, eq=False)

    @_lines.default
    def _split(self) -> list[str]:
        return self.text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")

    def line(self, number: int) -> str:
        """Return line `number` (from 1) with every secret masked; empty beyond the end."""
        if not 0 < number <= len(self._lines):
            return ""
        hidden = [(s.column - 1, s.width) for s in self.secrets if s.line == number]
        return mask(self._lines[number - 1], hidden)


Sources = Mapping[str, Source]


@frozen
class Diagnostic:
    """One fault or warning: what is wrong, where, and what to try."""

    span: Span
    message: str
    hint: str = ""
    severity: Severity = "error"
    notes: tuple[Note, ...] = ()

    def render(self, sources: Sources, *, colour: bool = False) -> str:
        """Format for a terminal, with the offending line and a caret under it."""
        tint = _COLOURS if colour else {}
        reset = _RESET if colour else ""
        head = f"{tint.get(self.severity, '')}{self.severity}{reset}"
        gutter = " " * len(str(self.span.line))
        lines = [f"{self.span}: {head}: {self.message}"]
        source = sources.get(self.span.path)
        if source is not None and self.span.line:
            text, caret = _excerpt(source.line(self.span.line), self.span)
            lines += [
                f"{gutter} |",
                f"{self.span.line} | {text}",
                f"{gutter} | {caret.replace('^', tint.get(self.severity, '') + '^', 1)}{reset}",
            ]
        lines += [f"{gutter} = note: {note.span}: {note.text}" for note in self.notes]
        if self.hint:
            lines.append(f"{gutter} = {tint.get('hint', '')}hint{reset}: {self.hint}")
        return "\n".join(line.rstrip() for line in lines)


def _excerpt(line: str, span: Span) -> tuple[str, str]:
    """Return the line and the row of carets under it; tabs are kept so that both stay aligned."""
    start = min(span.column - 1, len(line))
    width = max(1, min(span.width, len(line) - start))
    if len(line) > SHOWN_WIDTH:
        first = max(0, min(start - SHOWN_WIDTH // 3, len(line) - SHOWN_WIDTH))
        last = first + SHOWN_WIDTH
        width = max(1, min(width, last - start))
        before, after = "..." if first else "", "..." if last < len(line) else ""
        line, start = f"{before}{line[first:last]}{after}", start - first + len(before)
    indent = "".join("\t" if character == "\t" else " " for character in line[:start])
    return line, indent + "^" * width


def render(diagnostics: Iterable[Diagnostic], sources: Sources, *, colour: bool = False) -> str:
    """Format several faults, in the order given, with an empty line between them."""
    return "\n\n".join(each.render(sources, colour=colour) for each in diagnostics)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Sort by place, as a reader of the file would meet them, and drop repetitions."""
    return tuple(sorted(dict.fromkeys(diagnostics), key=lambda each: (each.span, each.message)))


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the known name that was probably meant; case and `_` for `-` do not count."""
    folded = {_fold(each): each for each in known}
    near = get_close_matches(_fold(name), list(folded), n=1)
    return folded[near[0]] if near else ""


def _fold(name: str) -> str:
    return name.replace("_", "-").lower()


def suggest(name: str, known: Sequence[str], *, what: str = "known") -> str:
    """Word a hint for a name that is not known: the nearest one, or all of them."""
    near = nearest(name, known)
    if near:
        return f'did you mean "{near}"?'
    return f"{what}: {', '.join(known)}" if known else ""

"""Explain a syntax error in the words of whoever wrote the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lark import Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput

from a3s_gateway.hcl.diagnostics import Diagnostic, Note, Span
from a3s_gateway.hcl.grammar import parser
from a3s_gateway.hcl.secrets import SECRET_NAMES
from a3s_gateway.hcl.strings import unclosed

_OPENING = {"LBRACE": "}", "LSQB": "]", "LPAR": ")", "INTERP_START": "}"}
_CLOSING = {"RBRACE": "}", "RSQB": "]", "RPAR": ")"}
_BODY_HINTS = {
    ",": "attributes of a block are separated by line breaks, without commas",
    ";": "HCL needs no semicolons; put each attribute on a line of its own",
    "{": 'a block begins with its name, such as routers "api" { ... }',
    '"': "the name of an attribute or a block is written without quotes",
    "'": "strings are written in double quotes",
    "`": "strings are written in double quotes; backticks belong inside a rule",
}


def explain(text: str, path: str, error: UnexpectedInput) -> Diagnostic:
    """Turn the parser's complaint into one fault: what was found, what was expected, what to do."""
    if isinstance(error, UnexpectedCharacters):
        return Diagnostic(
            Span(path, error.line, error.column), f"unexpected character {error.char!r}"
        )
    return _Error(text, path, error).fault()


class _Error:
    """One syntax error with the words before it, as the parser saw them."""

    def __init__(self, text: str, path: str, error: UnexpectedInput) -> None:
        self.path = path
        self.before, self.accepted = _replay(text)
        token = error.token  # type: ignore[attr-defined]
        self.at_end = token.type == "$END"
        lines = text.split("\n")
        self.found = "" if self.at_end else _first_word(str(token))
        line, column = error.line, error.column
        if self.at_end:
            last = max((i for i, each in enumerate(lines, 1) if each.strip()), default=1)
            line, column = last, len(lines[last - 1].rstrip()) + 1
        self.span = Span(path, line, column + _leading(token), max(len(self.found), 1))

    def fault(self) -> Diagnostic:
        return (
            self._unclosed_string()
            or self._same_line()
            or self._unclosed_bracket()
            or self._unopened_bracket()
            or self._missing_value()
            or self._unterminated()
            or self._general()
        )

    def _unclosed_string(self) -> Diagnostic | None:
        """A forgotten quote makes a string of all up to the next one; that is where the error is."""
        opening: Token | None = None
        for token in self.before:
            if token.type == "DBLQUOTE":
                opening = token if opening is None else None
            elif opening is not None and token.type == "STRING_CHARS" and "\n" in token:
                return unclosed(self._place(opening))
        if opening is not None and (self.at_end or "\n" in self.found):
            return unclosed(self._place(opening))
        return None

    def _same_line(self) -> Diagnostic | None:
        """A bare word after a complete value begins a new statement, for the parser's taste."""
        if "LBRACE" not in self.accepted or self.found == "{":
            return None
        start = len(self.before)
        while start and self.before[start - 1].type in {"NAME", "DBLQUOTE", "STRING_CHARS"}:
            start -= 1
        head = self.before[start:]
        if not start or not head:
            return None
        previous = self.before[start - 1]
        if previous.type in {"NL_OR_COMMENT", "LBRACE"} or previous.end_line != head[0].line:
            return self._block_without_brace(head)
        hint = self._value_hint(previous, head[0])
        return Diagnostic(self._place(head[0]), "expected a line break after the value", hint)

    def _value_hint(self, previous: Token, word: Token) -> str:
        if previous.type in {"INT_LITERAL", "FLOAT_LITERAL"} and previous.end_column == word.column:
            return "a number with a unit is text and needs quotes"
        if previous.type == "NAME":
            return "put text in double quotes"
        return "put each attribute on a line of its own"

    def _block_without_brace(self, head: Sequence[Token]) -> Diagnostic:
        name = str(head[0])
        hint = f"write {name} = ... for an attribute, or {name} {{ ... }} for a block"
        if self.found == "=":
            hint = f"an attribute has one name: {name} = ..."
        found = "the end of the line" if self.at_end or self.found == "" else f'"{self.found}"'
        span = self._place(head[0]) if self.at_end else self.span
        return Diagnostic(span, f'expected "=" or "{{" after "{name}", found {found}', hint)

    def _unclosed_bracket(self) -> Diagnostic | None:
        opened = self._open_brackets()
        if not self.at_end or not opened:
            return None
        place = self._place(opened[-1])
        hint = f'add a "{_OPENING[opened[-1].type]}" where it should end'
        return Diagnostic(place, f'this "{opened[-1]}" is never closed', hint)

    def _unopened_bracket(self) -> Diagnostic | None:
        if self.found not in _CLOSING.values():
            return None
        opened = self._open_brackets()
        if not opened:
            hint = "remove it, or look for a missing opening above"
            return Diagnostic(self.span, f'nothing is open that this "{self.found}" closes', hint)
        wanted = _OPENING[opened[-1].type]
        if wanted == self.found:
            return None
        note = Note(self._place(opened[-1]), f'the "{opened[-1]}" is here')
        return Diagnostic(self.span, f'expected "{wanted}", found "{self.found}"', notes=(note,))

    def _missing_value(self) -> Diagnostic | None:
        last = next((t for t in reversed(self.before) if t.type != "NL_OR_COMMENT"), None)
        if last is None or last.type not in {"EQ", "COLON"} or self.found:
            return None
        place = self._place(last)
        name = str(self.before[self.before.index(last) - 1])
        return Diagnostic(place, f'expected a value after "{name} ="')

    def _unterminated(self) -> Diagnostic | None:
        if self.found.startswith("/*"):
            return Diagnostic(self.span, "this comment is never closed", "end it with */")
        if self.found.startswith("<<"):
            marker = self.found.lstrip("<-")
            hint = f"put {marker} alone on a line after the text" if marker else ""
            return Diagnostic(self.span, "this heredoc is never closed", hint)
        return None

    def _general(self) -> Diagnostic:
        if self._is_secret():
            hint = "strings are written in double quotes, and lists with commas"
            return Diagnostic(self.span, "unexpected text in the value of a secret", hint)
        found = "the end of the file" if self.at_end else f'"{self.found}"'
        message = f"unexpected {found}"
        expected = self._expected()
        if expected:
            message = f"expected {expected}, found {found}"
        return Diagnostic(self.span, message, self._hint())

    def _expected(self) -> str:
        accepted = self.accepted
        if "EQ" in accepted and "LBRACE" in accepted:
            return '"=" or "{"'
        if {"EQ", "COLON"} <= accepted:
            return '"=" after the key'
        if {"COMMA", "RSQB"} <= accepted:
            return '"," or "]"'
        if {"COMMA", "RPAR"} <= accepted:
            return '"," or ")"'
        if {"DBLQUOTE", "INT_LITERAL"} <= accepted and "EQ" not in accepted:
            return "a key" if "COMMA" in accepted else "a value"
        if {"NAME", "NL_OR_COMMENT"} <= accepted:
            return "the name of an attribute or a block"
        if accepted == {"RBRACE"}:
            return '"}"'
        return ""

    def _hint(self) -> str:
        accepted = self.accepted
        if self.found == ":" and "EQ" in accepted:
            return "HCL writes name = value"
        if self.found.startswith("'"):
            return _BODY_HINTS["'"]
        if "INT_LITERAL" in accepted and self.found.startswith("`"):
            return _BODY_HINTS["`"]
        if self._inside_interpolation():
            return 'inside ${...} stands a name, or a function: ${env("NAME", "default")}'
        if self.found == "{" and not self.before:
            return "this looks like JSON; a configuration is written in HCL: name = value"
        if {"NAME", "NL_OR_COMMENT"} <= accepted:
            return _BODY_HINTS.get(self.found[:1], "")
        return ""

    def _inside_interpolation(self) -> bool:
        opened = self._open_brackets()
        return bool(opened) and opened[-1].type == "INTERP_START"

    def _is_secret(self) -> bool:
        """Tell whether the error is in the value of a key that holds a secret."""
        name = next(
            (
                a
                for a, b in zip(self.before[-2::-1], self.before[::-1], strict=False)
                if b.type == "EQ"
            ),
            None,
        )
        in_value = "INT_LITERAL" in self.accepted or "RSQB" in self.accepted
        return name is not None and str(name) in SECRET_NAMES and in_value

    def _open_brackets(self) -> list[Token]:
        opened: list[Token] = []
        for token in self.before:
            if token.type in _OPENING:
                opened.append(token)
            elif token.type in _CLOSING and opened:
                opened.pop()
        return opened

    def _place(self, token: Token) -> Span:
        assert token.line is not None
        assert token.column is not None
        text = str(token)
        word = text.strip() or text
        return Span(self.path, token.line, token.column + _leading(token), len(word.split("\n")[0]))


def _replay(text: str) -> tuple[list[Token], set[str]]:
    """Read the text once more, word by word: returns those before the error, and what could follow."""
    run: Any = parser().parse_interactive(text + "\n")
    before: list[Token] = []
    try:
        before.extend(run.iter_parse())
        run.feed_eof()
    except UnexpectedInput:
        pass
    return before, set(run.accepts())


def _leading(token: Token) -> int:
    text = str(token)
    return len(text) - len(text.lstrip(" \t")) if text.strip() else 0


def _first_word(text: str) -> str:
    """Return what to call the unexpected text: up to the first blank, or its only character."""
    words = text.split()
    return words[0] if words else ""

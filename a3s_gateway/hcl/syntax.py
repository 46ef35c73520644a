"""Explain a syntax error in the words of whoever wrote the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from attrs import frozen
from lark import Token
from lark.exceptions import UnexpectedInput

from a3s_gateway.hcl.diagnostics import Diagnostic, Note, Span
from a3s_gateway.hcl.grammar import parser
from a3s_gateway.hcl.secrets import SECRET_NAMES
from a3s_gateway.hcl.strings import unclosed

_CLOSES = {"LBRACE": "}", "LSQB": "]", "LPAR": ")", "INTERP_START": "}"}
_CLOSING = {"RBRACE": "}", "RSQB": "]", "RPAR": ")"}
_STRING = {"DBLQUOTE", "STRING_CHARS", "ESCAPED_INTERPOLATION", "ESCAPED_DIRECTIVE"}
_LABELS = {"NAME"} | _STRING
# The lexer takes what it does not know for the inside of a string, to the end of the line.
_FIRST_WORD = re.compile(r"'[^'\n]*'|`[^`\n]*`|/\*|<<-?\w*|[^\W\d]\w*|\d\w*|=>|[=!<>]=|\S")

_TO_THE_END = 10_000  # characters; no line is longer, and if one is, its end is not shown
_QUOTES = "strings are written in double quotes"
_STATEMENT_HINTS = {
    ",": "attributes of a block are separated by line breaks, without commas",
    ";": "HCL needs no semicolons; put each attribute on a line of its own",
    "{": 'a block begins with its name, such as routers "api" { ... }',
    '"': "the name of an attribute or a block is written without quotes",
    "'": _QUOTES,
    "`": f"{_QUOTES}; backticks belong inside a rule",
    "\u201c": "strings are written in straight double quotes",
    "[": "there are no [sections]; a block is written name { ... }",
}
_EXPECTED = (  # the first whose words the parser would all accept
    ({"EQ", "LBRACE"}, '"=" or "{"'),
    ({"EQ", "COLON"}, '"=" after the key'),
    ({"COMMA", "RSQB"}, '"," or "]"'),
    ({"COMMA", "RPAR"}, '"," or ")"'),
    ({"DBLQUOTE", "INT_LITERAL", "COMMA"}, '"," or a key'),
    ({"DBLQUOTE", "INT_LITERAL", "RBRACE"}, "a key"),
    ({"DBLQUOTE", "INT_LITERAL"}, "a value"),
    ({"NAME", "NL_OR_COMMENT"}, "the name of an attribute or a block"),
    ({"RBRACE"}, '"}"'),
)


def explain(text: str, path: str, error: UnexpectedInput) -> tuple[Diagnostic, tuple[Span, ...]]:
    """
    Turn the parser's complaint into one fault: what was found, what was expected, what to do.

    Returns:
        The fault, and where the text has secrets, as far as it could be read.

    """
    case = _case(text, path, error)
    found = (explanation(case) for explanation in _EXPLANATIONS)
    return next(each for each in found if each is not None), tuple(_secrets(case))


@frozen
class _Case:
    """
    One syntax error.

    Attributes:
        span: Where it is; at the end of the text, just after its last character.
        found: The unexpected word; empty at the end of the text or of a line.
        before: The words read so far, without line breaks at the end.
        accepted: Names of the words that could have followed.

    """

    span: Span
    found: str
    is_at_end: bool
    before: list[Token]
    accepted: set[str]

    def place(self, token: Token) -> Span:
        return _place(token, self.span.path)

    def opened(self) -> list[Token]:
        """List the brackets that are open at the error, the innermost last."""
        found: list[Token] = []
        for token in self.before:
            if token.type in _CLOSES:
                found.append(token)
            elif token.type in _CLOSING and found:
                found.pop()
        return found

    @property
    def secret_sign(self) -> Token | None:
        """The "=" of the last value begun, if that is a secret's."""
        for name, sign in reversed(list(pairwise(self.before))):
            if sign.type in {"EQ", "COLON"}:
                return sign if str(name) in SECRET_NAMES else None
        return None

    def describe(self) -> str:
        if self.found == '"':
            return "a double quote"
        if self.found:
            return f'"{self.found}"'
        return "the end of the file" if self.is_at_end else "the end of the line"


def _case(text: str, path: str, error: UnexpectedInput) -> _Case:
    before, accepted = _replay(text)
    token: Token | None = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        lines = text.rstrip().split("\n")
        span = Span(path, len(lines), len(lines[-1]) + 1)
        return _Case(span, "", is_at_end=True, before=_trimmed(before), accepted=accepted)
    start = error.pos_in_stream or 0
    if before and before[-1].start_pos == start:
        del before[-1]
    before = _trimmed(before)
    line = text[start:].split("\n", maxsplit=1)[0]
    word = _FIRST_WORD.search(line)
    first, end = word.span() if word else (0, 1)
    span = Span(path, error.line, error.column + first, end - first)
    found = word.group() if word else ""
    return _Case(span, found, is_at_end=False, before=before, accepted=accepted)


def _trimmed(tokens: list[Token]) -> list[Token]:
    """Drop line breaks from the end."""
    while tokens and tokens[-1].type == "NL_OR_COMMENT":
        tokens = tokens[:-1]
    return tokens


def _replay(text: str) -> tuple[list[Token], set[str]]:
    """Read the text once more, word by word: return those read, and what could have followed."""
    run: Any = parser().parse_interactive(text + "\n")
    before: list[Token] = []
    try:
        before.extend(run.iter_parse())
        run.feed_eof()
    except UnexpectedInput:
        pass
    return before, set(run.accepts())


def _place(token: Token, path: str) -> Span:
    assert token.line is not None
    assert token.column is not None
    word = token.split("\n")[0]
    blanks = len(word) - len(word.lstrip())
    return Span(path, token.line, token.column + blanks, max(len(word) - blanks, 1))


def _unclosed_string(case: _Case) -> Diagnostic | None:
    """Find a forgotten quote: it makes a string of all up to the next one, lines further."""
    opening: Token | None = None
    for token in case.before:
        if token.type == "DBLQUOTE":
            opening = token if opening is None else None
        elif opening is not None and token.type == "STRING_CHARS" and "\n" in token:
            return unclosed(case.place(opening))
    if opening is not None and case.is_at_end:
        return unclosed(case.place(opening))
    return None


def _trailing_words(case: _Case) -> Diagnostic | None:
    """Find words after a complete value: for the parser they begin a block that has no brace."""
    if "LBRACE" not in case.accepted or "INT_LITERAL" in case.accepted or case.found == "{":
        return None
    start = len(case.before)
    while start and case.before[start - 1].type in _LABELS:
        start -= 1
    head = case.before[start:]
    if start and case.before[start - 1].type in {"EQ", "COLON"}:
        # The words begin with the value itself, which is a name or a string.
        quotes = [at for at, token in enumerate(head) if token.type == "DBLQUOTE"]
        value = quotes[1] + 1 if head[0].type == "DBLQUOTE" else 1
        start, head = start + value, head[value:]
    if not head:
        return None
    previous = case.before[start - 1] if start else None
    if previous is None or previous.type in {"NL_OR_COMMENT", "LBRACE"}:
        return _block_without_brace(case, str(head[0]), head[0])
    is_joined = previous.end_column == head[0].column and previous.end_line == head[0].line
    if is_joined and previous.type.endswith("_LITERAL") and case.secret_sign is None:
        return _text_without_quotes(case, previous, head[0])
    hint = "put each attribute on a line of its own"
    if previous.type == "NAME":
        hint = "put text in double quotes"
    return Diagnostic(case.place(head[0]), "expected a line break after the value", hint)


def _text_without_quotes(case: _Case, number: Token, word: Token) -> Diagnostic:
    span = case.place(number)
    whole = Span(span.path, span.line, span.column, len(number) + len(word))
    return Diagnostic(whole, f"{number}{word} is no number", f'text needs quotes: "{number}{word}"')


def _block_without_brace(case: _Case, name: str, token: Token) -> Diagnostic:
    hint = f"write {name} = ... for an attribute, or {name} {{ ... }} for a block"
    if case.found == "=" and case.before[-1] is not token:
        hint = f"an attribute has one name: {name} = ..."
    elif case.found == ":":
        hint = f"HCL writes {name} = ... or {name} {{ ... }}"
    elif case.found and case.found[0] in "'`\u201c":
        hint = _STATEMENT_HINTS[case.found[0]]
    expected = f'expected "=" or "{{" after "{name}"'
    if case.span.line != case.before[-1].line or case.is_at_end:
        return Diagnostic(case.place(token), expected, hint)
    return Diagnostic(case.span, f"{expected}, found {case.describe()}", hint)


def _unclosed_bracket(case: _Case) -> Diagnostic | None:
    opened = case.opened()
    if not case.is_at_end or not opened:
        return None
    unclosed_one = _find_by_indent(case) or opened[-1]
    hint = f'add a "{_CLOSES[unclosed_one.type]}" where it should end'
    return Diagnostic(case.place(unclosed_one), f'this "{unclosed_one}" is never closed', hint)


def _find_by_indent(case: _Case) -> Token | None:
    """Find the first brace whose partner begins a line further left: it probably is another's."""
    opened: list[tuple[Token, int]] = []
    indent = 0
    for previous, token in zip([None, *case.before], case.before, strict=False):
        if previous is None or previous.type == "NL_OR_COMMENT":
            indent = token.column or 0
        if token.type in _CLOSES:
            opened.append((token, indent))
        elif token.type in _CLOSING and opened:
            opening, expected = opened.pop()
            if indent == token.column and indent < expected:
                return opening
    return None


def _wrong_bracket(case: _Case) -> Diagnostic | None:
    if case.found not in _CLOSING.values():
        return None
    opened = case.opened()
    if not opened:
        hint = "remove it, or look for a missing opening above"
        return Diagnostic(case.span, f'nothing is open that this "{case.found}" closes', hint)
    wanted = _CLOSES[opened[-1].type]
    if wanted == case.found:
        return None
    note = Note(case.place(opened[-1]), f'the "{opened[-1]}" to be closed')
    message = f'expected "{wanted}", found "{case.found}"'
    return Diagnostic(case.span, message, notes=(note,))


def _missing_value(case: _Case) -> Diagnostic | None:
    if case.found or len(case.before) < 2 or case.before[-1].type not in {"EQ", "COLON"}:
        return None
    name, sign = case.before[-2:]
    return Diagnostic(case.place(sign), f'expected a value after "{name} {sign.strip()}"')


def _unterminated(case: _Case) -> Diagnostic | None:
    if case.found == "/*":
        return Diagnostic(case.span, "this comment is never closed", "end it with */")
    if case.found.startswith("<<"):
        marker = case.found.lstrip("<-")
        hint = f"put {marker} alone on a line after the text" if marker else ""
        return Diagnostic(case.span, "this heredoc is never closed", hint)
    return None


def _in_secret(case: _Case) -> Diagnostic | None:
    """Say nothing of what is found in the value of a secret."""
    if case.secret_sign is None or case.is_at_end:
        return None
    if not case.accepted & {"INT_LITERAL", "RSQB", "STRING_CHARS"}:
        return None
    hint = f"{_QUOTES}, and lists with commas"
    return Diagnostic(case.span, "unexpected text in a secret value", hint)


def _secrets(case: _Case) -> Iterator[Span]:
    """List the strings of secret values; of one that has an error, all to the end of its line."""
    is_secret = False
    for token, following in zip(case.before, [*case.before[1:], None], strict=False):
        if following is not None and following.type in {"EQ", "COLON"}:
            is_secret = str(token) in SECRET_NAMES
        elif is_secret and token.type == "STRING_CHARS":
            yield case.place(token)
    if case.secret_sign is not None:
        for span in (case.place(case.secret_sign).part(1, 2), case.span):
            yield Span(span.path, span.line, span.column, _TO_THE_END)


def _anything_else(case: _Case) -> Diagnostic:
    expected = next((name for words, name in _EXPECTED if words <= case.accepted), "")
    message = f"unexpected {case.describe()}"
    if expected:
        message = f"expected {expected}, found {case.describe()}"
    return Diagnostic(case.span, message, _hint(case))


def _hint(case: _Case) -> str:
    opened = case.opened()
    if opened and opened[-1].type == "INTERP_START":
        return 'inside ${...} stands a name, or a function: ${env("NAME", "default")}'
    if case.found == "{" and not case.before:
        return "this looks like JSON; a configuration is written in HCL: name = value"
    if case.found == ":" and "EQ" in case.accepted:
        return "HCL writes name = value"
    is_statement = {"NL_OR_COMMENT", "NAME"} <= case.accepted and "DBLQUOTE" not in case.accepted
    if is_statement or case.found[:1] in {"'", "`", "\u201c"}:
        return _STATEMENT_HINTS.get(case.found[:1], "")
    return ""


_EXPLANATIONS: tuple[Callable[[_Case], Diagnostic | None], ...] = (
    _unclosed_string,
    _in_secret,
    _trailing_words,
    _unclosed_bracket,
    _wrong_bracket,
    _missing_value,
    _unterminated,
    _anything_else,
)

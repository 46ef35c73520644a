r"""
The language of rules: text to tree, with the place and a hint for the first fault.

    rule     = and *( "||" and )
    and      = unary *( "&&" unary )
    unary    = "!" unary / "(" rule ")" / matcher
    matcher  = name "(" argument *( "," argument ) ")"
    argument = backtick, anything but a backtick, backtick
             / double quote, anything with \" for " and \\ for \, double quote
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field, frozen

from .arguments import ArgumentError, PlacedError
from .expression import Expression, Match, Not, all_of, any_of
from .signatures import SIGNATURES, Protocol, explain_unknown, find_matcher

MAX_DEPTH: Final = 100  # parentheses and ! within each other; people stop at three

TOKEN: Final = re.compile(
    r"""(?P<operator>&&|\|\||[!(),])
    |   (?P<name>[^\W\d]\w*)
    |   (?P<argument>`[^`]*`|"(?:[^"\\]|\\.)*")""",
    re.VERBOSE | re.DOTALL,
)
SPACE: Final = re.compile(r"\s*")
WORDS: Final = {"and": "&&", "or": "||", "not": "!"}
SIGNS: Final = {"&": "&&", "|": "||", ";": "&&", ",": "||", "+": "&&"}
OPERATORS: Final = {"&&", "||", "!"}
VALUE: Final = re.compile(r"[\s`\"']*([^\s;,&|`\"']+)")  # of Traefik 1's `Host:example.com`
BARE: Final = re.compile(r"[^\s,)]+")
QUOTES: Final = {"'": "'", "\u2018": "\u2019", "\u201c": "\u201d", "\u00b4": "\u00b4"}


class RuleError(PlacedError):
    """A rule that does not parse; the place of its fault is one within its text."""


def parse(text: str, protocol: Protocol = "http") -> Expression:
    """Parse and check a rule; raises `RuleError`."""
    if not text.strip():
        raise RuleError("the rule is empty", 0, len(text), "e.g. PathPrefix(`/`)")
    return _Parser(text, protocol).rule()


@frozen
class _Token:
    kind: str  # an operator, "name", "argument", or "end"
    start: int
    end: int

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.end


@frozen
class _Argument:
    """The value of an argument; `places` has the place in the rule of each of its characters."""

    value: str
    places: range | list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Translate offsets into the value; an empty stretch gets the character after it."""
        last = len(self.places) - 1
        first = self.places[min(start, last)]
        return first, max(self.places[min(end, last)], first + 1)


@define
class _Parser:
    """Recursive descent; `token` is the one to look at, `before` the one just passed."""

    text: str
    protocol: Protocol
    token: _Token = field(init=False)
    before: _Token = field(default=_Token("", 0, 0), init=False)
    depth: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.token = self._lex(0)

    def rule(self) -> Expression:
        expression = self._or()
        if self.token.kind != "end":
            raise self._misplaced()
        return expression

    def _or(self) -> Expression:
        terms = [self._and()]
        while self._accept("||"):
            terms.append(self._and())
        return any_of(terms)

    def _and(self) -> Expression:
        terms = [self._unary()]
        while self._accept("&&"):
            terms.append(self._unary())
        return all_of(terms)

    def _unary(self) -> Expression:
        opening = self.token
        if opening.kind == "name":
            return self._match(opening)
        if opening.kind not in {"!", "("}:
            raise self._no_term()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            message = f"the rule nests deeper than {MAX_DEPTH} levels"
            raise RuleError(message, *opening.span, "split it into several routers")
        self._advance()
        term = Not(self._unary()) if opening.kind == "!" else self._group(opening)
        self.depth -= 1
        return term

    def _group(self, opening: _Token) -> Expression:
        term = self._or()
        if self.token.kind == "end":
            raise self._unclosed(opening)
        if not self._accept(")"):
            raise self._misplaced()
        return term

    def _match(self, written: _Token) -> Match:
        name = self._name(written)
        self._advance()
        arguments = self._arguments(name)
        span = written.start, self.before.end
        signature = SIGNATURES[self.protocol][name]
        if not signature.allows(len(arguments)):
            message = f"{name} takes {signature.wanted}, not {len(arguments) or 'none'}"
            raise RuleError(message, *span)
        for index, argument in enumerate(arguments):
            try:
                signature.check(index, len(arguments))(argument.value)
            except ArgumentError as error:
                place = argument.span(error.start, error.end)
                raise RuleError(error.message, *place, error.hint) from None
        return Match(name, tuple(argument.value for argument in arguments), span)

    def _name(self, token: _Token) -> str:
        """Return the proper spelling of a matcher's name that a parenthesis follows."""
        name = self.text[token.start : token.end]
        if name.lower() in WORDS:
            raise _not_an_operator(name, *token.span, WORDS[name.lower()])
        known = find_matcher(name, self.protocol)
        at = _skip_space(self.text, token.end)
        if self.text.startswith(":", at):
            value = VALUE.match(self.text, at + 1)
            hint = f"write {known or name}(`{value[1] if value else '...'}`)"
            message = "a matcher has its argument in parentheses"
            raise RuleError(message, token.start, at + 1, hint)
        if known is None:
            message, hint = explain_unknown(name, self.protocol)
            raise RuleError(message, *token.span, hint)
        if not self.text.startswith("(", at):
            message = f"{known} has no argument in parentheses"
            raise RuleError(message, *token.span, f"write {known}(`...`)")
        return known

    def _arguments(self, name: str) -> list[_Argument]:
        opening = self.token
        arguments = []
        more = self.text[_skip_space(self.text, opening.end) :][:1] != ")"
        while more:
            arguments.append(self._argument(name, opening))
            more = self.token.kind == ","
        if self.token.kind == "(":  # no argument at all
            self._advance()
        if self.token.kind == "end":
            raise self._unclosed(opening)
        if not self._accept(")"):
            message = f"{name} goes on with a comma or ends with a parenthesis"
            raise RuleError(message, *self.token.span)
        return arguments

    def _argument(self, name: str, opening: _Token) -> _Argument:
        """Take what follows the parenthesis or comma that `token` is."""
        at = _skip_space(self.text, self.token.end)
        char = self.text[at : at + 1]
        if not char:
            raise self._unclosed(opening)
        if char == ",":
            raise RuleError("an argument is missing before the comma", at, at + 1)
        if char == ")":
            raise RuleError("an argument is missing after the comma", *self.token.span)
        if char not in '`"':
            raise _unquoted(self.text, at, name)
        self._advance()
        argument = _unquote(self.text, self.token)
        self._advance()
        return argument

    # -- tokens

    def _accept(self, kind: str) -> bool:
        if self.token.kind != kind:
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        self.before = self.token
        self.token = self._lex(self.token.end)

    def _lex(self, at: int) -> _Token:
        at = _skip_space(self.text, at)
        if at == len(self.text):
            return _Token("end", at, at)
        found = TOKEN.match(self.text, at)
        if found is None:
            raise _stray(self.text, at)
        kind = found[0] if found.lastgroup == "operator" else found.lastgroup or ""
        return _Token(kind, at, found.end())

    # -- faults

    def _no_term(self) -> RuleError:
        """Tell why no term can begin with `token`."""
        token, before = self.token, self.before
        if token.kind == "argument":
            return RuleError("an argument stands here without a matcher", *token.span)
        if before.kind == "(":
            if token.kind == "end":
                return self._unclosed(before)
            if token.kind == ")":
                return RuleError("these parentheses are empty", before.start, token.end)
        if before.kind in OPERATORS and token.kind != ",":
            return RuleError(f"a matcher is missing after {before.kind}", *before.span)
        if token.kind in OPERATORS:
            return RuleError(f"a matcher is missing before {token.kind}", *token.span)
        return self._misplaced()

    def _misplaced(self) -> RuleError:
        """Tell why `token` cannot follow a term."""
        token = self.token
        word = self.text[token.start : token.end]
        if token.kind == ")":
            return RuleError("this parenthesis was never opened", *token.span)
        if word.lower() in WORDS:
            return _not_an_operator(word, *token.span, WORDS[word.lower()])
        if word in SIGNS:
            return _not_an_operator(word, *token.span, SIGNS[word])
        if token.kind == "argument":
            return RuleError("an argument stands here without a matcher", *token.span)
        hint = "join what must hold together with &&, alternatives with ||"
        return RuleError("there is no operator before this", *token.span, hint)

    def _unclosed(self, opening: _Token) -> RuleError:
        return RuleError("this parenthesis is never closed", *opening.span, "write ) at its end")


def _skip_space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


def _unquote(text: str, token: _Token) -> _Argument:
    """Take the quotes away; in backticks a backslash stands for itself."""
    start, end = token.start + 1, token.end - 1
    if text[token.start] == "`" or "\\" not in text[start:end]:
        return _Argument(text[start:end], range(start, end + 1))
    value, places, at = "", [], start
    while at < end:
        places.append(at)
        if text[at] == "\\":
            at += 1
            if text[at] not in '"\\':
                message = f"\\{text[at]} means nothing in double quotes"
                hint = "in backticks a backslash stands for itself; in double quotes write \\\\"
                raise RuleError(message, at - 1, at + 1, hint)
        value += text[at]
        at += 1
    return _Argument(value, [*places, end])


def _stray(text: str, at: int) -> RuleError:
    """Tell why nothing can begin with the character at `at`."""
    char = text[at]
    if char in {"`", '"'}:
        name = "backtick" if char == "`" else "quote"
        return RuleError(f"this {name} is never closed", at, at + 1)
    if char in SIGNS:
        return _not_an_operator(char, at, at + 1, SIGNS[char])
    if char in QUOTES:
        return _unquoted(text, at, "")
    return RuleError(f'"{char}" means nothing here', at, at + 1)


def _not_an_operator(word: str, start: int, end: int, operator: str) -> RuleError:
    return RuleError(f'"{word}" is not an operator', start, end, f"write {operator}")


def _unquoted(text: str, at: int, name: str) -> RuleError:
    """Tell what to do with an argument that has the wrong quotes, or none."""
    closing = QUOTES.get(text[at])
    if closing is None:
        found = BARE.match(text, at)
        end = found.end() if found else at + 1
        bare = text[at:end]
    else:
        last = text.find(closing, at + 1)
        end = len(text) if last < 0 else last + 1
        bare = text[at + 1 : end].rstrip(closing)
    message = "arguments are written in backticks or double quotes"
    argument = f"`{bare}`" if bare and "`" not in bare else "`...`"
    return RuleError(message, at, end, f"write {name}({argument})" if name else f"write {argument}")

r"""
Go's regular expressions, as Traefik's rules have them, compiled by Python's `re`.

What is written for Go and means something else to Python is translated: `$` is the very
end, `(?i)` may stand anywhere, `(?<name>…)`, `\z`, `\Q…\E`, `\x{…}`, `[[:alpha:]]`; `\d`,
`\w`, `\s` and `\b` are ASCII. Unicode classes (`\pL`) and the flag `U` are refused. What only
Python has (look-around, back-references, possessive repeats) works and is not portable.

Python backtracks where Go does not: an expression like `(a+)+$` takes exponential time on
a request made for it. Write such a thing without the nested repeat, or possessively: `(a++)+$`.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_right

from attrs import Factory, define

POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
FLAGS = re.compile(r"\(\?(?P<flags>[A-Za-z]*(?:-[A-Za-z]+)?)(?P<end>[:)])")
HEX_BRACE = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
POSIX_CLASS = re.compile(r"\[:(\^?)([a-z]+):\]")


class RegexError(ValueError):
    """An expression that does not compile; `position` is where, counted from 0."""

    def __init__(self, message: str, position: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.hint = hint


def compile_regex(pattern: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile; raises `RegexError`. The match is a search: only `^` and `$` anchor it."""
    translation = _Translation(pattern)
    translation.run()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python may one day take `[a--b]` for
            return re.compile(
                "".join(translation.out), re.ASCII | (re.IGNORECASE if ignore_case else 0)
            )
    except re.error as error:
        raise RegexError(error.msg, translation.origin(error.pos or 0)) from None
    except (OverflowError, ValueError):
        raise RegexError("a repeat count is too large", 0) from None
    except RecursionError:
        raise RegexError("the groups nest too deeply", 0) from None


@define
class _Scope:
    """One group: whether `^` and `$` mean lines in it, and the flag groups opened for `(?i)`."""

    lines: bool
    tails: list[str] = Factory(list)


@define
class _Translation:
    """One pass over a pattern; `out` holds Python's form, `marks` where each piece is from."""

    pattern: str
    at: int = 0
    size: int = 0
    out: list[str] = Factory(list)
    marks: list[tuple[int, int]] = Factory(list)
    scopes: list[_Scope] = Factory(lambda: [_Scope(lines=False)])

    def run(self) -> None:
        """Translate everything."""
        while self.at < len(self.pattern):
            match self.pattern[self.at]:
                case "\\":
                    self._escape()
                case "[":
                    self._class()
                case "(":
                    self._open()
                case ")":
                    self._close()
                case "|":
                    tails = self.scopes[-1].tails  # Go's (?i) outlives the alternative it is in
                    self._emit(")" * len(tails) + "|" + "".join(tails), 1)
                case "$":
                    self._emit("$" if self.scopes[-1].lines else r"\Z", 1)
                case "{" if self.pattern.startswith("{,", self.at):
                    self._emit(r"\{", 1)  # Go has no {,n}: a literal brace
                case char:
                    self._emit(char, 1)
        if len(self.scopes) == 1:  # else a group is open, which Python reports where it began
            self._emit(")" * len(self.scopes[0].tails), 0)

    def origin(self, position: int) -> int:
        """Translate a position in the output back into one in the pattern."""
        index = bisect_right(self.marks, (position, len(self.pattern))) - 1
        return min(self.marks[index][1], len(self.pattern)) if index >= 0 else 0

    def _emit(self, text: str, width: int) -> None:
        if text:
            self.marks.append((self.size, self.at))
            self.out.append(text)
            self.size += len(text)
        self.at += width

    def _escape(self) -> None:
        rest = self.pattern[self.at : self.at + 2]
        if rest in {r"\p", r"\P"}:
            hint = r"list the characters you mean, e.g. [A-Za-z] for \pL"
            raise RegexError("Unicode classes are not supported", self.at, hint)
        if rest == r"\Q":
            end = self.pattern.find(r"\E", self.at)
            stop = len(self.pattern) if end < 0 else end
            self._emit(re.escape(self.pattern[self.at + 2 : stop]), stop - self.at)
            self.at += 0 if end < 0 else 2
        elif brace := HEX_BRACE.match(self.pattern, self.at):
            code = int(brace[1], 16)
            if code > 0x10FFFF:
                raise RegexError("there is no such character", self.at)
            self._emit(re.escape(chr(code)), len(brace[0]))
        else:
            self._emit(r"\Z" if rest == r"\z" else rest, 2)

    def _class(self) -> None:
        start = self.at
        self._emit("[", 1)
        if self.pattern.startswith("^", self.at):
            self._emit("^", 1)
        if self.pattern.startswith("]", self.at):
            self._emit(r"\]", 1)
        while self.at < len(self.pattern):
            char = self.pattern[self.at]
            if posix := POSIX_CLASS.match(self.pattern, self.at):
                self._posix(posix)
            elif char == "\\":
                self._escape()
            elif char == "]":
                self._emit("]", 1)
                return
            else:  # Python may one day take these for operations on sets
                self._emit("\\" + char if char in "[&~|" else char, 1)
        raise RegexError("this character class is never closed", start, "write ] at its end")

    def _posix(self, posix: re.Match[str]) -> None:
        if posix[1] or posix[2] not in POSIX:
            hint = f"there are: {', '.join(POSIX)}"
            raise RegexError(f"unknown character class {posix[0]}", self.at, hint)
        self._emit(POSIX[posix[2]], len(posix[0]))

    def _open(self) -> None:
        flags = FLAGS.match(self.pattern, self.at)
        if flags is None:
            named = re.compile(r"\(\?<(?![=!])").match(self.pattern, self.at)
            self.scopes.append(_Scope(self.scopes[-1].lines))
            self._emit("(?P<" if named else "(", 3 if named else 1)
            return
        if "U" in flags["flags"]:
            raise RegexError("the flag U is not supported", self.at, "write *? in place of *")
        on, _, off = flags["flags"].partition("-")
        lines = "m" in on or (self.scopes[-1].lines and "m" not in off)
        opening = flags[0][:-1] + ":"
        if flags["end"] == ":":
            self.scopes.append(_Scope(lines))
        elif flags["flags"]:
            self.scopes[-1].lines = lines
            self.scopes[-1].tails.append(opening)
        else:
            opening = ""  # (?) sets nothing
        self._emit(opening, len(flags[0]))

    def _close(self) -> None:
        if len(self.scopes) == 1:
            raise RegexError("this parenthesis was never opened", self.at, r"write \) for the sign")
        self._emit(")" * (len(self.scopes.pop().tails) + 1), 1)

"""Paths that a middleware puts in place of the client's; they have the same canonical form."""

from __future__ import annotations

import re
from typing import Final

from a3s_gateway.config.schema import Mistake
from a3s_gateway.errors import ProtocolError
from a3s_gateway.protocol.target import canonical_path
from a3s_gateway.router.regex import RegexError, compile_regex

_NOT_IN_PATH: Final = re.compile(r"[\x00-\x20\x7f?#\\]")
_GROUP: Final = re.compile(r"\$(?:\$|(\d{1,2})|\{(\d{1,2})\})")


def configured_path(path: str) -> str:
    """Make a path of the configuration canonical; raises `ProtocolError`."""
    return canonical_path(path.encode())


def prefix_of(path: str) -> str:
    """Return a prefix as it is joined with a path: without a slash at its end."""
    return configured_path(path).rstrip("/")


def check_path(path: str) -> str:
    """Say what is wrong with a path of the configuration; empty for nothing."""
    if _NOT_IN_PATH.search(path):
        return f'"{path}" has characters that no path has'
    try:
        configured_path(path)
    except ProtocolError as error:
        return f'"{path}": {error.reason}'
    return ""


class Rewrite:
    """
    An expression, and what is put in place of what it finds, with `$1` for its first group.

    Args:
        regex: As in rules; anchored only by `^` and `$`.
        replacement: `$1` to `$99` or `${1}` are groups, `$$` is a dollar sign.

    """

    def __init__(self, regex: str, replacement: str) -> None:
        self._pattern = compile_regex(regex)
        self._replacement = replacement

    def find(self, text: str) -> str | None:
        """Return `text` with what was found replaced; None if nothing was."""
        match = self._pattern.search(text)
        if match is None:
            return None
        return text[: match.start()] + self._expand(match) + text[match.end() :]

    def _expand(self, match: re.Match[str]) -> str:
        def group(reference: re.Match[str]) -> str:
            number = reference[1] or reference[2]
            return "$" if number is None else match[int(number)] or ""

        return _GROUP.sub(group, self._replacement)


def check_rewrite(regex: str, replacement: str) -> Mistake | None:
    """Find what is wrong with the keys `regex` and `replacement`."""
    try:
        groups = compile_regex(regex).groups
    except RegexError as error:
        return Mistake("regex", f'"{regex}" is not a regular expression: {error}', error.hint)
    numbers = [int(one or other or 0) for one, other in _GROUP.findall(replacement)]
    if numbers and max(numbers) > groups:
        return Mistake("replacement", f"there is no group {max(numbers)} in the expression")
    return None

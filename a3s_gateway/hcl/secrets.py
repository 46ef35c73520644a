"""Keep secrets out of what is shown of a source text."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Names of keys whose values are hidden even where the text could not be decoded, as after a
# syntax error. A test holds this list against the keys that the model marks as secret.
SECRET_NAMES = frozenset(
    {"key", "keys", "password", "redis_url", "secret", "token", "users", "value"}
)

_VALUE = r'"(?:[^"\\]|\\.)*"?|\[[^\]]*\]?|\w+\([^)]*\)?|[^\s,{}]+'
_SECRET_KEY = re.compile(
    rf"(?<![\w-])(?:{'|'.join(sorted(SECRET_NAMES))})(?![\w-])\"?\s*[=:]\s*(?P<value>{_VALUE})"
)
_USER_INFO = re.compile(r"//(?P<value>[^/@\s\"]+)@")
# What may be read inside a secret value: the name of a variable, quotes, brackets, commas.
_HARMLESS = re.compile(
    r"(?<!\$)\$\{\s*[A-Za-z_]\w*\s*\}?|env\(\s*\"\w*\"|file\(\s*\"[^\"]*\"|[\s\[\](),]|(?<!\\)\""
)


def mask(line: str, hidden: Iterable[tuple[int, int]] = ()) -> str:
    """
    Replace every secret in a line by as many asterisks, so that columns stay true.

    Args:
        line: One line of source text.
        hidden: Further stretches to hide: start (from 0) and width.

    """
    for pattern in (_SECRET_KEY, _USER_INFO):
        for match in pattern.finditer(line):
            line = _blank(line, *match.span("value"))
    for start, width in hidden:
        line = _blank(line, start, start + width)
    return line


def _blank(line: str, start: int, end: int) -> str:
    shown, position = [line[:start]], start
    for match in _HARMLESS.finditer(line, start, end):
        shown += ["*" * (match.start() - position), match.group()]
        position = match.end()
    end = min(end, len(line))
    return "".join([*shown, "*" * (end - position), line[end:]])

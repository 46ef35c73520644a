"""A rule as a tree; `str` gives the rule back."""

from __future__ import annotations

from attrs import field, frozen

NOWHERE = (0, 0)


@frozen
class Match:
    """
    One matcher with its arguments, as written.

    `name` is in its proper spelling; `span` is half-open offsets into the rule.
    """

    name: str
    args: tuple[str, ...]
    span: tuple[int, int] = field(default=NOWHERE, eq=False)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(_quoted, self.args))})"


@frozen
class Not:
    """True when its term is not."""

    term: Expression

    def __str__(self) -> str:
        return f"!({self.term})" if isinstance(self.term, And | Or) else f"!{self.term}"


@frozen
class And:
    """True when all terms are; there are two or more, and none of them is an `And`."""

    terms: tuple[Expression, ...]

    def __str__(self) -> str:
        return " && ".join(f"({t})" if isinstance(t, Or) else str(t) for t in self.terms)


@frozen
class Or:
    """True when one of the terms is; there are two or more, and none of them is an `Or`."""

    terms: tuple[Expression, ...]

    def __str__(self) -> str:
        return " || ".join(map(str, self.terms))


Expression = And | Or | Not | Match


def all_of(terms: list[Expression]) -> Expression:
    """Join by &&; a single term stays as it is, an `And` among them is dissolved."""
    flat: list[Expression] = []
    for term in terms:
        flat.extend(term.terms if isinstance(term, And) else (term,))
    return flat[0] if len(flat) == 1 else And(tuple(flat))


def any_of(terms: list[Expression]) -> Expression:
    """Join by ||; a single term stays as it is, an `Or` among them is dissolved."""
    flat: list[Expression] = []
    for term in terms:
        flat.extend(term.terms if isinstance(term, Or) else (term,))
    return flat[0] if len(flat) == 1 else Or(tuple(flat))


def rule_length(text: str, expression: Expression) -> int:
    """
    Return the priority of a rule that has none given: its length in characters.

    The stars of a double wildcard do not count, so that `*.example.com` goes before
    `**.example.com`.
    """
    pending: list[Expression] = [expression]
    stars = 0
    while pending:
        match pending.pop():
            case Match("Host" | "HostSNI", args):
                stars += 2 * sum(arg.startswith("**.") for arg in args)
            case Not(term):
                pending.append(term)
            case And(terms) | Or(terms):
                pending.extend(terms)
    return len(text) - stars


def _quoted(arg: str) -> str:
    if "`" not in arg:
        return f"`{arg}`"
    escaped = arg.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

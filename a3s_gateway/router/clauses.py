"""
What of a rule an index can decide: the rule as alternatives, each with a host and a path.

`Host(a) && (Path(/x) || PathPrefix(/y)) && Method(GET)` has two clauses: host a and path /x,
host a and prefix /y, and for both the method is left to be looked at.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from .arguments import canonical_host, canonical_path, canonical_prefix
from .expression import And, Expression, Match, Or, all_of
from .matchers import wildcard_covers

MAX_PRODUCT: Final = 256  # clauses that alternatives may multiply to before one is left as it is


@frozen
class Clause:
    """
    One way in which a rule can hold.

    Attributes:
        host: A literal host, `*.suffix`, `**.suffix`, or empty for any.
        path: What the path is or begins with; empty for any.
        is_exact: Whether `path` is the whole path.
        rest: What must hold besides.

    """

    host: str = ""
    path: str = ""
    is_exact: bool = False
    rest: tuple[Expression, ...] = ()

    @property
    def residual(self) -> Expression | None:
        """What the index does not decide; None when it decides all."""
        return all_of(list(self.rest)) if self.rest else None


def clauses_of(expression: Expression) -> list[Clause]:
    """Split a checked expression; it holds if one of the clauses does, never if there is none."""
    match expression:
        case Match("Host", args):
            return [Clause(host=canonical_host(arg)) for arg in args]
        case Match("Path", args):
            return [Clause(path=canonical_path(arg), is_exact=True) for arg in args]
        case Match("PathPrefix", args):
            return [Clause(path=canonical_prefix(arg)) for arg in args]
        case Or(terms):
            found = [clause for term in terms for clause in clauses_of(term)]
            # One predicate for what no index can look up is cheaper than several entries.
            return found if any(c.host or c.path for c in found) else [Clause(rest=(expression,))]
        case And(terms):
            return _product(terms)
        case _:
            return [Clause(rest=(expression,))]


def _product(terms: tuple[Expression, ...]) -> list[Clause]:
    product = [Clause()]
    for term in terms:
        clauses = clauses_of(term)
        if len(product) > 1 and len(clauses) > 1 and len(product) * len(clauses) > MAX_PRODUCT:
            clauses = [Clause(rest=(term,))]
        joined = (_join(left, right) for left in product for right in clauses)
        product = [clause for clause in joined if clause is not None]
    return product


def _join(left: Clause, right: Clause) -> Clause | None:
    """Return the clause that holds when both do, or None when they cannot."""
    both = _join_hosts(left, right)
    if both is None or not left.path or not right.path:
        return both and evolve(
            both, path=left.path or right.path, is_exact=left.is_exact or right.is_exact
        )
    longer, shorter = sorted((left, right), key=lambda c: (len(c.path), c.is_exact), reverse=True)
    if shorter.is_exact and longer.path != shorter.path:
        return None
    if not longer.path.startswith(shorter.path):
        return None
    return evolve(both, path=longer.path, is_exact=longer.is_exact)


def _join_hosts(left: Clause, right: Clause) -> Clause | None:
    rest = left.rest + right.rest
    if not left.host or not right.host or left.host == right.host:
        return Clause(host=left.host or right.host, rest=rest)
    literal, other = (right, left) if left.host.startswith("*") else (left, right)
    if literal.host.startswith("*"):  # both are wildcards: one is looked up, one looked at
        return Clause(host=left.host, rest=(*rest, Match("Host", (right.host,))))
    if other.host.startswith("*") and wildcard_covers(other.host, literal.host):
        return Clause(host=literal.host, rest=rest)
    return None

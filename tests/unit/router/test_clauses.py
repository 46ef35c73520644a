"""What of a rule an index can decide."""

from __future__ import annotations

import pytest

from a3s_gateway.router.clauses import MAX_PRODUCT, clauses_of
from a3s_gateway.router.rule import parse


def keys(rule: str) -> list[str]:
    """The clauses, written as host, path (`=` for a whole one), and what is left."""
    return [
        f"{clause.host} {'=' * clause.is_exact}{clause.path} {clause.residual or ''}".strip(" ")
        for clause in clauses_of(parse(rule))
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("Host(`a`)", ["a"]),
        ("Host(`A`, `b`)", ["a", "b"]),
        ("Host(`a`) || Host(`b`)", ["a", "b"]),
        ("Host(`a`) && Path(`/x`)", ["a =/x"]),
        ("Path(`/x`) && Host(`a`)", ["a =/x"]),
        ("Host(`a`) && (PathPrefix(`/x`) || Path(`/y`))", ["a /x", "a =/y"]),
        (
            "(Host(`a`) || Host(`b`)) && PathPrefix(`/x`, `/y`) && Method(`GET`)",
            [f"{h} {p} Method(`GET`)" for h in "ab" for p in ("/x", "/y")],
        ),
        ("Host(`a`) || Method(`GET`)", ["a", "Method(`GET`)"]),
        ("Method(`GET`) || Query(`a`)", ["Method(`GET`) || Query(`a`)"]),
        ("Host(`a`) && !Path(`/x`)", ["a  !Path(`/x`)"]),
        ("!Host(`a`)", ["!Host(`a`)"]),
        ("Host(`a`) && Host(`a`)", ["a"]),
        ("Host(`a`) && Host(`b`)", []),
        ("Host(`x.a`) && Host(`*.a`)", ["x.a"]),
        ("Host(`**.a`) && Host(`y.x.a`)", ["y.x.a"]),
        ("Host(`*.a`) && Host(`y.x.a`)", []),
        ("Host(`*.a`) && Host(`**.a`)", ["*.a  Host(`**.a`)"]),
        ("PathPrefix(`/x`) && PathPrefix(`/x/y`)", ["/x/y"]),
        ("PathPrefix(`/x/y`) && PathPrefix(`/x`)", ["/x/y"]),
        ("PathPrefix(`/x`) && PathPrefix(`/y`)", []),
        ("PathPrefix(`/x`) && Path(`/x`)", ["=/x"]),
        ("Path(`/x`) && PathPrefix(`/x`)", ["=/x"]),
        ("Path(`/x`) && PathPrefix(`/x/y`)", []),
        ("PathPrefix(`/x/y`) && Path(`/x`)", []),
        ("Path(`/x`) && Path(`/x/y`)", []),
        ("Path(`/x`) && Path(`/y`)", []),
    ],
)
def test_a_rule_is_split_into_what_can_be_looked_up(rule: str, expected: list[str]) -> None:
    """Hosts and paths go to the index from wherever in a rule they stand."""
    assert [" ".join(key.split()) for key in keys(rule)] == [" ".join(k.split()) for k in expected]


def test_alternatives_are_not_multiplied_without_bound() -> None:
    """A rule of many alternatives costs memory in proportion to its length, roughly."""
    many = " || ".join(f"PathPrefix(`/{n}`)" for n in range(1000))
    hosts = " || ".join(f"Host(`h{n}`)" for n in range(1000))
    assert len(clauses_of(parse(f"Host(`a`) && ({many})"))) == 1000
    assert len(clauses_of(parse(f"({hosts}) && ({many})"))) == 1000
    pairs = " && ".join("(Host(`a`) || Path(`/b`))" for _ in range(50))
    assert len(clauses_of(parse(pairs))) <= MAX_PRODUCT

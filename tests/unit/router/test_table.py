"""Which of many routers answers, and at what cost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a3s_gateway.http import Request
from a3s_gateway.router.expression import Expression, Match, Not, all_of, any_of, rule_length
from a3s_gateway.router.matchers import Predicate, compile_predicate
from a3s_gateway.router.rule import MAX_DEPTH, parse
from a3s_gateway.router.table import Entry, RouteTable

from .heads import request


def entry(name: str, rule: str, priority: int = 0) -> Entry[str]:
    tree = parse(rule)
    return Entry(name, tree, priority, rule_length(rule, tree), name)


def table(*entries: Entry[str]) -> RouteTable[str]:
    return RouteTable.build(entries)


def test_the_longest_rule_goes_first() -> None:
    """Without priorities the more particular of two rules usually wins by its length."""
    rules = [
        entry("root", "PathPrefix(`/`)"),
        entry("api", "PathPrefix(`/api`)"),
        entry("v1", "PathPrefix(`/api/v1`)"),
        entry("exact", "Path(`/api/v1/exactly-this`)"),
        entry("host", "Host(`example.com`) && PathPrefix(`/api`)"),
    ]
    for order in permutations(rules):
        routes = table(*order)
        assert routes.find(request("a", "/x")) == "root"
        assert routes.find(request("a", "/apiary")) == "api"
        assert routes.find(request("a", "/api/v1/x")) == "v1"
        assert routes.find(request("a", "/api/v1/exactly-this")) == "exact"
        assert routes.find(request("example.com", "/api/v1/x")) == "host"
        assert routes.find(request("example.com", "/x")) == "root"


def test_a_larger_priority_goes_first_whatever_the_rules_say() -> None:
    """Someone who sets priorities is obeyed."""
    routes = table(
        entry("long", "Host(`example.com`) && PathPrefix(`/api/v1`)"),
        entry("first", "PathPrefix(`/`)", 1000),
        entry("last", "Path(`/api/v1`)", -1),
        entry("second", "Host(`example.com`)", 999),
    )
    assert routes.find(request("example.com", "/api/v1")) == "first"
    assert [e.name for e in routes.entries()] == ["first", "second", "long", "last"]


def test_equal_priorities_go_by_name() -> None:
    """The same configuration answers in the same way after every start."""
    for names in permutations("cab"):
        routes = table(*(entry(name, "PathPrefix(`/`)") for name in names))
        assert routes.find(request()) == "a"
        assert [e.name for e in routes.entries()] == ["a", "b", "c"]


def test_a_literal_host_a_wildcard_and_no_host_are_weighed_by_priority() -> None:
    """The index by host never hides a router that goes before."""
    routes = table(
        entry("one", "Host(`*.example.com`)"),
        entry("many", "Host(`**.example.com`)"),
        entry("www", "Host(`www.example.com`)"),
        entry("health", "Path(`/health`)", 1000),
        entry("any", "PathPrefix(`/`)"),
    )
    assert routes.find(request("www.example.com", "/")) == "www"
    assert routes.find(request("api.example.com", "/")) == "one"
    assert routes.find(request("v1.api.example.com", "/")) == "many"
    assert routes.find(request("example.com", "/")) == "any"
    assert routes.find(request("www.example.com", "/health")) == "health"
    assert routes.find(request("localhost", "/health")) == "health"


def test_nothing_matches_where_nothing_is_routed() -> None:
    """An empty table, and a request that no rule is for, have no answer."""
    assert table().find(request()) is None
    assert table(entry("a", "Host(`a`)")).find(request("b")) is None
    assert table(entry("a", "Host(`a`) && Host(`b`)")).find(request("a")) is None
    assert table(entry("a", "Path(`/a`)")).find(request("a", "/b")) is None
    assert table(entry("a", "PathPrefix(`/`)")).find(request("a", "*", method="OPTIONS")) is None


def test_a_router_whose_rule_fails_in_the_end_gives_way_to_the_next() -> None:
    """What the index finds first need not be what answers."""
    routes = table(
        entry("beta", "PathPrefix(`/api/v1`) && Header(`X-Beta`, `1`)"),
        entry("get", "PathPrefix(`/api`) && Method(`GET`)"),
        entry("root", "PathPrefix(`/`)"),
    )
    assert routes.find(request("a", "/api/v1", ("X-Beta", "1"))) == "beta"
    assert routes.find(request("a", "/api/v1")) == "get"
    assert routes.find(request("a", "/api/v1", method="PUT")) == "root"


# -- the same as without an index

HOSTS = ("a", "b.a", "c.b.a", "d.c.b.a", "x")
PATHS = ("/", "/a", "/a/", "/a/b", "/ab", "/b", "/b/a/c")
LEAVES = st.one_of(
    st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2).map(lambda a: Match("Host", (*a,))),
    st.sampled_from(["*.a", "**.a", "*.b.a", "**.b.a"]).map(lambda a: Match("Host", (a,))),
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=2).map(lambda a: Match("Path", (*a,))),
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=2).map(
        lambda a: Match("PathPrefix", (*a,))
    ),
    st.sampled_from(["GET", "PUT"]).map(lambda a: Match("Method", (a,))),
    st.just(Match("Header", ("x", "1"))),
    st.just(Match("HostRegexp", ("^.[.]",))),
)
RULES = st.recursive(
    LEAVES,
    lambda terms: st.one_of(
        terms.map(Not),
        st.lists(terms, min_size=2, max_size=3).map(all_of),
        st.lists(terms, min_size=2, max_size=3).map(any_of),
    ),
    max_leaves=8,
)
TABLES = st.lists(st.tuples(RULES, st.integers(-2, 4)), max_size=12)
REQUESTS = st.builds(
    lambda host, path, method, headers: request(host, path, *headers, method=method),
    st.sampled_from([*HOSTS, "y.a", "y.y.a", ".a", ".b.a", "y", "y.b.a"]),
    st.sampled_from([*PATHS, "/c", "/a/b/c", "/abc"]),
    st.sampled_from(["GET", "PUT"]),
    st.sampled_from([(), (("x", "1"),)]),
)


def find_by_looking_at_all(entries: list[Entry[int]], head: Request) -> int | None:
    for one in sorted(entries, key=lambda e: (-(e.priority or e.rule_length), e.name)):
        if compile_predicate(one.expression)(head):
            return one.value
    return None


@settings(max_examples=500)
@given(TABLES, st.lists(REQUESTS, min_size=1, max_size=8))
def test_the_index_never_changes_the_answer(
    rules: list[tuple[Expression, int]], heads: list[Request]
) -> None:
    """Whatever the rules, the router found is the first of all that match."""
    entries = [
        Entry(f"r{number}", tree, priority, len(str(tree)), number)
        for number, (tree, priority) in enumerate(rules)
    ]
    routes = RouteTable.build(entries)
    for head in heads:
        assert routes.find(head) == find_by_looking_at_all(entries, head)


# -- what ten thousand cost


def build_counted(rules: list[str], looks: list[Request]) -> RouteTable[str]:
    """Build a table that notes in `looks` every predicate that is evaluated."""

    def compile_counted(expression: Expression) -> Predicate:
        predicate = compile_predicate(expression)

        def counted(head: Request) -> bool:
            looks.append(head)
            return predicate(head)

        return counted

    entries = [entry(f"r{number:05}", rule) for number, rule in enumerate(rules)]
    return RouteTable.build(entries, compile_counted)


def shapes(count: int, number: int) -> dict[str, str]:
    return {
        "host": f"Host(`h{number}.example.com`)",
        "host and header": f"Host(`h{number}.example.com`) && Header(`x`, `1`)",
        "prefix and regex": f"PathPrefix(`/service-{number}/`) && PathRegexp(`[0-9]$`)",
        "prefix, many hosts": (
            f"Host(`h{number % (count // 5)}.example.com`) && PathPrefix(`/service-{number}/`)"
            " && Method(`GET`, `PUT`)"
        ),
        "path and query": f"Path(`/service-{number}/1`) && !Query(`debug`)",
        "wildcard and method": f"Host(`**.h{number}.example.com`) && Method(`GET`)",
    }


@pytest.mark.parametrize("shape", shapes(10, 0))
def test_ten_thousand_routers_cost_what_ten_do(shape: str) -> None:
    """Predicates looked at per request do not grow with the number of routers."""

    def cost(count: int) -> float:
        looks: list[Request] = []
        routes = build_counted([shapes(count, n)[shape] for n in range(count)], looks)
        step = count // 10
        for number in range(0, count, step):
            host = f"h{number % (count // 5) if 'many' in shape else number}.example.com"
            authority = "x.y." * ("wildcard" in shape) + host
            head = request(authority, f"/service-{number}/1", ("x", "1"))
            assert routes.find(head) == f"r{number:05}"
        return len(looks)

    few, many = cost(10), cost(10_000)
    assert many <= 5 * max(few, 1)


def test_a_rule_that_the_index_decides_is_not_looked_at() -> None:
    """For hosts, paths and prefixes, and their combinations, finding is all."""
    looks: list[Request] = []
    rules: list[Callable[[int], str]] = [
        lambda n: f"Host(`h{n}`) && PathPrefix(`/a`)",
        lambda n: f"(Host(`h{n}`) || Host(`g{n}`)) && (Path(`/x`) || PathPrefix(`/y/`))",
    ]
    routes = build_counted([rule(n) for n in range(100) for rule in rules], looks)
    assert routes.find(request("h7", "/abc")) == "r00014"
    assert routes.find(request("g7", "/y/z")) == "r00015"
    assert not looks


@pytest.mark.parametrize("joint", ["||", "&&", "|| !", "&& !"])
def test_the_deepest_rule_there_may_be_is_served(joint: str) -> None:
    """What the parser lets through, the table can carry."""
    operators = [joint if level % 2 else "&&" for level in range(MAX_DEPTH // 2)]
    rule = "".join(f"Path(`/{n}`) {op} (" for n, op in enumerate(operators))
    rule += "Host(`a`)" + ")" * len(operators)
    routes = table(entry("deep", rule), entry("other", "PathPrefix(`/`)", -1))
    expected = "deep" if compile_predicate(parse(rule))(request("a", "/1")) else "other"
    assert routes.find(request("a", "/1")) == expected
    assert str(routes.entries()[0].expression) == str(parse(rule))

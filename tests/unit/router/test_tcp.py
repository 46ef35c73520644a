"""Connections find their router by name, protocol and address."""

from __future__ import annotations

import pytest

from a3s_gateway.router.expression import rule_length
from a3s_gateway.router.rule import parse
from a3s_gateway.router.table import Entry, RouteTable
from a3s_gateway.router.tcp import Caller, TcpTable, needs_hello
from a3s_gateway.runtime.reload import finish


def table(*rules: str | tuple[str, int]) -> RouteTable[str]:
    """Make a table whose values are the rules."""
    entries = []
    for index, each in enumerate(rules):
        rule, priority = each if isinstance(each, tuple) else (each, 0)
        expression = parse(rule, "tcp")
        length = rule_length(rule, expression)
        entries.append(Entry(f"r{index}", expression, priority, length, rule))
    return finish(TcpTable.steps(entries))


ANY, DB, WILD = "HostSNI(`*`)", "HostSNI(`db.example.com`)", "HostSNI(`*.example.com`)"
H2, REGEX = "ALPN(`h2`)", r"HostSNIRegexp(`^.+\.internal$`)"
NEAR = "ClientIP(`10.0.0.0/8`)"


@pytest.mark.parametrize(
    ("caller", "rule"),
    [
        (Caller("1.2.3.4", "db.example.com"), DB),
        (Caller("1.2.3.4", "other.example.com"), WILD),
        (Caller("1.2.3.4", "a.b.example.com"), ANY),
        (Caller("1.2.3.4", "x.internal"), REGEX),
        (Caller("1.2.3.4", "x", ("http/1.1", "h2")), H2),
        (Caller("10.1.1.1"), NEAR),
        (Caller("1.2.3.4"), ANY),
    ],
)
def test_each_connection_goes_where_its_rule_is(caller: Caller, rule: str) -> None:
    """By what its ClientHello says, and where it comes from."""
    assert table(ANY, DB, WILD, H2, REGEX, NEAR).find(caller) == rule


def test_nobody_takes_what_no_rule_matches() -> None:
    """One that does not speak TLS has no name."""
    assert table(DB, WILD, REGEX).find(Caller("1.2.3.4")) is None


def test_a_catch_all_comes_last_unless_it_says_otherwise() -> None:
    """However short the other rules are."""
    caller = Caller("1.2.3.4", "a", ("h2",))
    assert table(ANY, H2).find(caller) == H2
    assert table((ANY, 100), H2).find(caller) == ANY


def test_operators_and_priorities_are_those_of_requests() -> None:
    """The larger wins; without one, the longer rule."""
    both = f"{DB} && {NEAR}"
    found = table(DB, both, f"!{NEAR} && HostSNI(`*`)")
    assert found.find(Caller("10.1.1.1", "db.example.com")) == both
    assert found.find(Caller("1.2.3.4", "db.example.com")) == f"!{NEAR} && HostSNI(`*`)"
    several = "HostSNI(`a.example`, `b.example`) || HostSNI(`c.example`)"
    assert table(several).find(Caller("::1", "c.example")) == several


@pytest.mark.parametrize("rule", [ANY, NEAR, f"{ANY} && !{NEAR}"])
def test_a_catch_all_is_decided_before_the_client_speaks(rule: str) -> None:
    """For a client that waits for its server to speak first."""
    assert not needs_hello(parse(rule, "tcp"))


@pytest.mark.parametrize("rule", [DB, H2, f"{NEAR} || {REGEX}", f"!{WILD}"])
def test_a_rule_about_the_client_hello_waits_for_it(rule: str) -> None:
    """There is no other way to know."""
    assert needs_hello(parse(rule, "tcp"))

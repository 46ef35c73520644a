"""What each matcher accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.http import Request
from a3s_gateway.protocol.target import parse_target
from a3s_gateway.router.arguments import ArgumentError, canonical_path
from a3s_gateway.router.matchers import ADDRESSES, compile_predicate, parse_address
from a3s_gateway.router.rule import parse

from .heads import request


def holds(rule: str, head: Request) -> bool:
    return compile_predicate(parse(rule))(head)


@pytest.mark.parametrize(
    ("rule", "authority", "expected"),
    [
        ("Host(`example.com`)", "example.com", True),
        ("Host(`Example.COM.`)", "eXample.com", True),
        ("Host(`example.com`)", "example.com.", True),
        ("Host(`example.com`)", "example.com:8080", True),
        ("Host(`example.com`)", "www.example.com", False),
        ("Host(`a.example`, `b.example`)", "b.example", True),
        ("Host(`bücher.example`)", "xn--bcher-kva.example", True),
        ("Host(`BÜCHER.example`)", "xn--bcher-kva.example", True),
        ("Host(`straße.example`)", "xn--strae-oqa.example", True),
        ("Host(`xn--bcher-kva.example`)", "XN--bcher-kva.example", True),
        ("Host(`my_service.local`)", "my_service.local", True),
        ("Host(`10.0.0.1`)", "10.0.0.1:80", True),
        ("Host(`2001:DB8::1`)", "[2001:db8::1]:80", True),
        ("Host(`[::1]`)", "[::1]", True),
        ("Host(`*.example.com`)", "www.example.com", True),
        ("Host(`*.Example.com`)", "WWW.example.com.", True),
        ("Host(`*.example.com`)", "example.com", False),
        ("Host(`*.example.com`)", "a.www.example.com", False),
        ("Host(`**.example.com`)", "a.www.example.com", True),
        ("Host(`**.example.com`)", "www.example.com", True),
        ("Host(`**.example.com`)", "example.com", False),
        ("Host(`**.example.com`)", "wwwexample.com", False),
        ("Host(`*.example.com`)", ".example.com", False),
        ("Host(`**.example.com`)", ".example.com", False),
        ("Host(`*.bücher.example`)", "a.xn--bcher-kva.example", True),
        ("Host(`other.example`, `*.example.com`)", "a.example.com", True),
        ("HostRegexp(`example`)", "www.example.com", True),
        ("HostRegexp(`^example`)", "www.example.com", False),
        (r"HostRegexp(`^[a-z]+\.example\.com$`)", "WWW.example.com:80", True),
        (r"HostRegexp(`^WWW\.`)", "www.example.com", True),
        ("HostRegexp(`^a`, `com$`)", "b.com", True),
        ("HostRegexp(`^a`, `com$`)", "b.org", False),
    ],
)
def test_hosts_have_no_case_no_port_and_no_last_dot(
    rule: str, authority: str, *, expected: bool
) -> None:
    """A site answers under its name, however a client spells it."""
    assert holds(rule, request(authority)) is expected


@pytest.mark.parametrize(
    ("rule", "target", "expected"),
    [
        ("Path(`/a`)", "/a", True),
        ("Path(`/a`)", "/a?x=y", True),
        ("Path(`/a`)", "/a/", False),
        ("Path(`/a`)", "/A", False),
        ("Path(`/a`)", "/x/../%61", True),
        ("Path(`/a`, `/b`)", "/b", True),
        ("Path(`/a b`)", "/a%20b", True),
        ("Path(`/é`)", "/%c3%a9", True),
        ("Path(`/%7euser`)", "/~user", True),
        ("Path(`/a%2fb`)", "/a%2Fb", True),
        ("Path(`/a/b`)", "/a%2Fb", False),
        ("Path(`/a//b`)", "/a//b", True),
        ("Path(`/.well-known/x`)", "/.well-known/x", True),
        ("Path(`/a/..b`)", "/a/..b", True),
        ("PathPrefix(`/`)", "/anything", True),
        ("PathPrefix(`/api`)", "/api", True),
        ("PathPrefix(`/api`)", "/api/v1", True),
        ("PathPrefix(`/api`)", "/apiary", True),
        ("PathPrefix(`/api`)", "/ap", False),
        ("PathPrefix(`/api`)", "/public/../api", True),
        ("PathPrefix(`/public`)", "/public/../api", False),
        ("PathPrefix(`/a`, `/b`)", "/bc", True),
        ("PathPrefix(`/.`)", "/.well-known", True),
        ("PathPrefix(`/a/..`)", "/a/..b", True),
        ("PathRegexp(`b`)", "/abc", True),
        ("PathRegexp(`^b`)", "/abc", False),
        (r"PathRegexp(`\.(jpeg|png)$`)", "/a.png?x=.gif", True),
        (r"PathRegexp(`(?i)\.PNG$`)", "/a.png", True),
        ("PathRegexp(`^/a%20b$`)", "/a%20b", True),
    ],
)
def test_paths_are_compared_in_their_canonical_form(
    rule: str, target: str, *, expected: bool
) -> None:
    """No spelling of a path takes a way around a rule."""
    assert holds(rule, request(target=target)) is expected


@given(st.text(st.characters(exclude_categories=["Cs"])).map("/".__add__))
def test_a_path_in_a_rule_matches_the_request_for_that_path(path: str) -> None:
    """What a browser makes of the path, escapes where it must, arrives at the router."""
    try:
        argument = canonical_path(path)
    except ArgumentError:
        return  # it has a query, or what no path has
    sent = "".join(c if "!" <= c != "\x7f" else f"%{ord(c):02X}" for c in path)
    assert parse_target("GET", sent.encode())[0] == argument


@pytest.mark.parametrize(
    ("rule", "target", "expected"),
    [
        ("Query(`a`, `b`)", "/?a=b", True),
        ("Query(`a=b`)", "/?a=b", True),
        ("Query(`a`, `b`)", "/?x=y&a=c&a=b", True),
        ("Query(`a`, `b`)", "/?a=c", False),
        ("Query(`a`, `b`)", "/?A=b", False),
        ("Query(`a`, `b`)", "/", False),
        ("Query(`a`, ``)", "/?a=", True),
        ("Query(`a`)", "/?a", True),
        ("Query(`a`)", "/?a=", True),
        ("Query(`a`)", "/?a=b", False),
        ("Query(`a`)", "/?", False),
        ("Query(`a=b=c`)", "/?a=b%3Dc", True),
        ("Query(`a b`, `é`)", "/?a+b=%C3%A9", True),
        ("Query(`a b`, `é`)", "/?a%20b=%c3%a9", True),
        ("QueryRegexp(`a`, `^(b|c)$`)", "/?a=x&a=c", True),
        ("QueryRegexp(`a`, `^(b|c)$`)", "/?a=bc", False),
        ("QueryRegexp(`a`, `b`)", "/?a=xbx", True),
        ("QueryRegexp(`a`, `.*`)", "/?a", True),
        ("QueryRegexp(`a`, `.*`)", "/?b", False),
        ("QueryRegexp(`a`, `^b$`)", "/?a=b%0A", False),
        ("QueryRegexp(`a`)", "/?a", True),
        ("QueryRegexp(`a`)", "/?a=b", False),
    ],
)
def test_query_parameters_are_decoded_and_any_of_a_name_counts(
    rule: str, target: str, *, expected: bool
) -> None:
    """A key alone asks for the parameter without a value, as in Traefik."""
    assert holds(rule, request(target=target)) is expected


@pytest.mark.parametrize(
    ("rule", "headers", "expected"),
    [
        ("Header(`X-A`, `b`)", [("x-a", "b")], True),
        ("Headers(`x-a`, `b`)", [("X-A", "b")], True),
        ("Header(`X-A`, `b`)", [("X-A", "c"), ("X-A", "b")], True),
        ("Header(`X-A`, `b`)", [("X-B", "b")], False),
        ("Header(`X-A`, `b`)", [("X-A", "B")], False),
        ("Header(`X-A`, `b`)", [("X-A", "b, c")], False),
        ("Header(`X-A`, ``)", [("X-A", "")], True),
        ("Header(`X-A`, `é`)", [("X-A", "é".encode().decode("latin-1"))], True),
        ("HeaderRegexp(`X-A`, `b`)", [("X-A", "abc")], True),
        ("HeaderRegexp(`X-A`, `^b$`)", [("X-A", "c"), ("X-A", "b")], True),
        ("HeaderRegexp(`X-A`, `^b$`)", [("X-A", "ab"), ("X-B", "b")], False),
        ("HeaderRegexp(`X-A`, `^.$`)", [("X-A", "é".encode().decode("latin-1"))], True),
        ("HeaderRegexp(`X-A`, `^.$`)", [("X-A", "\xff")], True),
    ],
)
def test_any_header_of_the_name_may_have_the_value(
    rule: str, headers: list[tuple[str, str]], *, expected: bool
) -> None:
    """Names have no case, values do, and both are text in UTF-8."""
    assert holds(rule, request("a", "/", *headers)) is expected


@pytest.mark.parametrize(
    ("rule", "method", "expected"),
    [
        ("Method(`GET`)", "GET", True),
        ("Method(`get`)", "GET", True),
        ("Method(`GET`)", "get", False),
        ("Method(`GET`, `PUT`)", "PUT", True),
        ("Method(`GET`)", "POST", False),
    ],
)
def test_methods_are_compared_as_sent(rule: str, method: str, *, expected: bool) -> None:
    """A rule may be written in lower case; a request may not (RFC 9110 §9.1)."""
    assert holds(rule, request(method=method)) is expected


@pytest.mark.parametrize(
    ("rule", "client", "expected"),
    [
        ("ClientIP(`10.0.0.0/8`)", "10.1.2.3", True),
        ("ClientIP(`10.0.0.0/8`)", "11.1.2.3", False),
        ("ClientIP(`10.1.2.3/8`)", "10.9.9.9", True),
        ("ClientIP(`10.1.2.3`)", "10.1.2.3", True),
        ("ClientIP(`10.1.2.3`)", "10.1.2.4", False),
        ("ClientIP(`10.0.0.0/8`)", "::ffff:10.1.2.3", True),
        ("ClientIP(`::ffff:10.0.0.0/104`)", "10.1.2.3", True),
        ("ClientIP(`::ffff:10.1.2.3`)", "10.1.2.3", True),
        ("ClientIP(`10.0.0.0/8`, `2001:db8::/32`)", "2001:DB8::7", True),
        ("ClientIP(`fe80::/10`)", "fe80::1%eth0", True),
        ("ClientIP(`0.0.0.0/0`)", "::1", False),
        ("ClientIP(`::/0`)", "10.1.2.3", False),
        ("ClientIP(`0.0.0.0/0`)", "", False),
        ("ClientIP(`0.0.0.0/0`, `::/0`)", "/run/client.sock", False),
    ],
)
def test_client_addresses_are_compared_as_numbers(
    rule: str, client: str, *, expected: bool
) -> None:
    """IPv4 written as IPv6 is IPv4; what is no address is in no network."""
    assert holds(rule, request(client=client)) is expected


def test_the_memory_for_addresses_is_bounded() -> None:
    """A flood from many addresses does not stay in memory."""
    for number in range(ADDRESSES + 10):
        parse_address(f"10.0.{number // 256}.{number % 256}")
    assert parse_address.cache_info().currsize <= ADDRESSES


YES, NO = "PathPrefix(`/`)", "Path(`/no`)"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (f"{YES} && {YES}", True),
        (f"{YES} && {NO}", False),
        (f"{YES} && {YES} && {YES}", True),
        (f"{YES} && {YES} && {NO}", False),
        (f"{NO} || {YES}", True),
        (f"{NO} || {NO}", False),
        (f"{NO} || {NO} || {YES}", True),
        (f"{NO} || {NO} || {NO}", False),
        (f"!{NO}", True),
        (f"!{YES}", False),
        (f"!({YES} && {NO}) && !({NO} || {NO})", True),
        (f"{NO} && {NO} || {YES}", True),
        (f"{NO} && ({NO} || {YES})", False),
    ],
)
def test_operators_combine_what_matchers_say(rule: str, *, expected: bool) -> None:
    """And, or and not mean what they say."""
    assert holds(rule, request()) is expected

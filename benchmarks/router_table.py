"""
What finding a route costs, by the number of routers and by what they differ in.

Run from a checkout: python benchmarks/router_table.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent.parent))

from a3s_gateway.body import Body
from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Request
from a3s_gateway.router.expression import rule_length
from a3s_gateway.router.rule import parse
from a3s_gateway.router.table import Entry, RouteTable

COUNTS = (10, 50, 100, 1_000, 10_000)
REQUESTS = 1_000  # different ones, in random order
ROUNDS = 50  # over all of them; the fastest counts

HEADERS = Headers.of(("accept", "*/*"), ("user-agent", "bench"), ("x-tenant", "blue"))


def by_host(number: int) -> str:
    """Every router has a host of its own."""
    return f"Host(`site-{number}.example.com`)"


def by_prefix(number: int) -> str:
    """All routers share the hosts and differ in the beginning of the path."""
    return f"PathPrefix(`/service-{number}/`)"


def mixed(number: int) -> str:
    """Ten routers per host, which differ in path, header, method or regular expression."""
    rest = (
        f"PathPrefix(`/service-{number}/`)",
        f"PathPrefix(`/service-{number}/`) && Header(`X-Tenant`, `blue`)",
        f"PathPrefix(`/service-{number}/`) && Method(`GET`, `HEAD`) && !Query(`debug`)",
        f"PathRegexp(`^/service-{number}/(users|orders)/[0-9]+$`)",
        f"(Path(`/service-{number}/users/7`) || Path(`/service-{number}/users/8`))",
    )
    return f"Host(`site-{number // 10}.example.com`) && {rest[number % len(rest)]}"


def build(rule_of: Callable[[int], str], count: int) -> RouteTable[int]:
    """Build a table as loading a configuration does."""
    rules = [rule_of(number) for number in range(count)]
    trees = [parse(rule) for rule in rules]
    return RouteTable.build(
        Entry(f"router-{number}", tree, 0, rule_length(rule, tree), number)
        for number, (rule, tree) in enumerate(zip(rules, trees, strict=True))
    )


def request(host: str, number: int) -> Request:
    """Build a request that a router of each shape is for."""
    path = f"/service-{number}/users/7"
    exchange = Exchange("web", "192.0.2.1", 0.0)
    return Request(
        "GET", path, None, host, host, 11, "http", HEADERS, Body.of(b""), "192.0.2.1", exchange
    )


def microseconds(work: Callable[[Request], object], requests: list[Request]) -> float:
    """Return the time per request of the fastest round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = perf_counter()
        for head in requests:
            work(head)
        best = min(best, perf_counter() - start)
    return best / len(requests) * 1e6


def measure(rule_of: Callable[[int], str], count: int, random: Random) -> float:
    """Return what one `find` takes, less what the loop around it does."""
    numbers = random.choices(range(count), k=REQUESTS)
    sites = {number: number // 10 if rule_of is mixed else number for number in numbers}
    requests = [request(f"site-{sites[number]}.example.com", number) for number in numbers]
    routes = build(rule_of, count)
    assert [routes.find(head) for head in requests] == numbers
    return microseconds(routes.find, requests) - microseconds(lambda _: None, requests)


def main() -> None:
    """Print one line per number of routers."""
    shapes = (by_host, by_prefix, mixed)
    print("us per match   " + "".join(f"{shape.__name__:>12}" for shape in shapes))
    for count in COUNTS:
        times = [measure(shape, count, Random(count)) for shape in shapes]
        print(f"{count:>7,} routers" + "".join(f"{time:>12.2f}" for time in times))


if __name__ == "__main__":
    main()

"""
What each matcher does with a request; everything that can be prepared is, when loading.

Path matchers see the canonical path, in which all but unreserved characters are escapes:
`PathRegexp` is to say `%20` for a space. Header values count as UTF-8. `Query` decodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import parse_qsl

from a3s_gateway.http import Request

from .arguments import (
    canonical_field,
    canonical_host,
    canonical_method,
    canonical_network,
    canonical_path,
    canonical_prefix,
)
from .expression import And, Expression, Match, Not, Or
from .regex import compile_regex

Predicate = Callable[[Request], bool]
Args = tuple[str, ...]

ADDRESSES: Final = 4096  # client addresses remembered in their parsed form


def compile_predicate(expression: Expression) -> Predicate:
    """Turn a checked expression into a function; the fastest form for each shape."""
    match expression:
        case Match(name, args):
            return MATCHERS[name](args)
        case Not(term):
            inner = compile_predicate(term)
            return lambda request: not inner(request)
        case And(terms):
            return _all([compile_predicate(term) for term in terms])
        case Or(terms):
            return _any([compile_predicate(term) for term in terms])


def _all(predicates: list[Predicate]) -> Predicate:
    if len(predicates) == 2:
        first, second = predicates
        return lambda request: first(request) and second(request)

    def every(request: Request) -> bool:
        for predicate in predicates:  # noqa: SIM110 - a generator costs more than the matchers
            if not predicate(request):
                return False
        return True

    return every


def _any(predicates: list[Predicate]) -> Predicate:
    if len(predicates) == 2:
        first, second = predicates
        return lambda request: first(request) or second(request)

    def some(request: Request) -> bool:
        for predicate in predicates:  # noqa: SIM110 - a generator costs more than the matchers
            if predicate(request):
                return True
        return False

    return some


def wildcard_covers(pattern: str, host: str) -> bool:
    """Whether `*.suffix` (one label) or `**.suffix` (one or more) covers a literal host."""
    label, dot, suffix = host.partition(".")
    if pattern.startswith("*."):
        return bool(label and dot) and suffix == pattern[2:]
    return len(host) > len(pattern) - 2 and host.endswith(pattern[2:])


def _host(args: Args) -> Predicate:
    hosts = list(map(canonical_host, args))
    literal = frozenset(host for host in hosts if not host.startswith("*"))
    wildcards = [host for host in hosts if host.startswith("*")]
    if not wildcards:
        return lambda request: request.host in literal
    return lambda request: (
        request.host in literal
        or any(wildcard_covers(wildcard, request.host) for wildcard in wildcards)
    )


def _host_regexp(args: Args) -> Predicate:
    return _search(args, lambda request: request.host, ignore_case=True)


def _path_regexp(args: Args) -> Predicate:
    return _search(args, lambda request: request.path)


def _search(args: Args, text: Callable[[Request], str], *, ignore_case: bool = False) -> Predicate:
    searches = [compile_regex(arg, ignore_case=ignore_case).search for arg in args]
    if len(searches) == 1:
        search = searches[0]
        return lambda request: search(text(request)) is not None
    return lambda request: any(search(text(request)) for search in searches)


def _path(args: Args) -> Predicate:
    paths = frozenset(map(canonical_path, args))
    return lambda request: request.path in paths


def _path_prefix(args: Args) -> Predicate:
    prefixes = tuple(map(canonical_prefix, args))
    return lambda request: request.path.startswith(prefixes)


def _method(args: Args) -> Predicate:
    methods = frozenset(map(canonical_method, args))
    return lambda request: request.method in methods


def _header(args: Args) -> Predicate:
    name = canonical_field(args[0])
    value = args[1].encode("utf-8", "surrogatepass").decode("latin-1")  # as it is on the wire

    def has(request: Request) -> bool:
        for header in request.headers:  # noqa: SIM110 - as above
            if header.name == name and header.value == value:
                return True
        return False

    return has


def _header_regexp(args: Args) -> Predicate:
    name, search = canonical_field(args[0]), compile_regex(args[1]).search

    def has(request: Request) -> bool:
        for header in request.headers:
            if header.name == name and search(_text(header.value)):
                return True
        return False

    return has


def _text(value: str) -> str:
    return value if value.isascii() else value.encode("latin-1").decode("utf-8", "replace")


def _query(args: Args) -> Predicate:
    """Take `key`, which must have no value, `key=value`, or the two apart."""
    key, _, value = (*args[0].partition("="),) if len(args) == 1 else (args[0], "=", args[1])
    return _parameter(key, lambda given: given == value)


def _query_regexp(args: Args) -> Predicate:
    """Take a key and an expression for its value; a key alone is what it is for `Query`."""
    if len(args) == 1:
        return _query(args)
    search = compile_regex(args[1]).search
    return _parameter(args[0], lambda given: search(given) is not None)


def _parameter(key: str, accepts: Callable[[str], bool]) -> Predicate:
    def has(request: Request) -> bool:
        return bool(request.query) and any(
            name == key and accepts(value)
            for name, value in parse_qsl(request.query or "", keep_blank_values=True)
        )

    return has


def _client_ip(args: Args) -> Predicate:
    """Compare numbers: a network holds an address if their bits under its mask are equal."""
    networks = [
        (network.version, int(network.netmask), int(network.network_address))
        for network in map(canonical_network, args)
    ]

    def within(request: Request) -> bool:
        version, number = parse_address(request.client)
        for of_version, mask, base in networks:
            if version == of_version and number & mask == base:
                return True
        return False

    return within


@lru_cache(ADDRESSES)
def parse_address(text: str) -> tuple[int, int]:
    """
    Return the version and the number of an address; IPv4 inside IPv6 is IPv4.

    What is no address, such as the peer on a Unix socket, has version 0.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return 0, 0
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


MATCHERS: Final[Mapping[str, Callable[[Args], Predicate]]] = {
    "Host": _host,
    "HostRegexp": _host_regexp,
    "Path": _path,
    "PathPrefix": _path_prefix,
    "PathRegexp": _path_regexp,
    "Method": _method,
    "Header": _header,
    "HeaderRegexp": _header_regexp,
    "Query": _query,
    "QueryRegexp": _query_regexp,
    "ClientIP": _client_ip,
}

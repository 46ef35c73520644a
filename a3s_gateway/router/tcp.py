"""
Which router takes a TCP connection: the same index as for requests, by server name.

The matchers that both languages have in common are those of `matchers.py`: a rule is read as
one over hosts, where the host of a connection is the name that its ClientHello asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, TypeVar

from attrs import evolve, frozen

from .expression import And, Expression, Match, Not, Or
from .matchers import MATCHERS
from .table import Entry, RouteTable

T = TypeVar("T")
CatchAll: Final = Match("HostSNI", ("*",))
_LAST: Final = -1  # priority of a lone HostSNI(`*`) without one, as in Traefik


@frozen
class Caller:
    """
    What rules know of a connection.

    Attributes:
        client: Its address: the peer's, or what a trusted proxy says of it.
        host: The server name of its ClientHello; empty if it names none, or does not speak TLS.
        alpn: The protocols that it offers.

    """

    client: str
    host: str = ""
    alpn: tuple[str, ...] = ()
    path: str = ""  # the index of requests asks for one


def needs_hello(expression: Expression) -> bool:
    """Tell whether a rule can only be decided when the client has spoken."""
    match expression:
        case Match("ClientIP", _):
            return False
        case Match("HostSNI", args):
            return "*" not in args
        case Match():
            return True
        case Not(term):
            return needs_hello(term)
        case And(terms) | Or(terms):
            return any(needs_hello(term) for term in terms)


class TcpTable:
    """Makes a table of TCP routers out of that of requests; see `RouteTable.steps`."""

    @staticmethod
    def steps(entries: Iterable[Entry[T]]) -> Generator[None, None, RouteTable[T]]:
        """Build from checked rules, and yield wherever there may be a rest."""
        return RouteTable.steps(map(_as_host, entries), _compile)


def _as_host(entry: Entry[T]) -> Entry[T]:
    is_last = entry.expression == CatchAll and not entry.priority
    return evolve(
        entry,
        expression=_over_hosts(entry.expression),
        priority=_LAST if is_last else entry.priority,
    )


def _over_hosts(expression: Expression) -> Expression:
    match expression:
        case Match("HostSNI", args):
            return CatchAll if "*" in args else Match("Host", args)
        case Match("HostSNIRegexp", args):
            return Match("HostRegexp", args)
        case Not(term):
            return Not(_over_hosts(term))
        case And(terms):
            return And(tuple(map(_over_hosts, terms)))
        case Or(terms):
            return Or(tuple(map(_over_hosts, terms)))
        case _:
            return expression


def _compile(expression: Expression) -> Callable[[Any], bool]:
    match expression:
        case Match("HostSNI", _):
            return lambda _: True
        case Match("ALPN", args):
            wanted = frozenset(args)
            return lambda caller: not wanted.isdisjoint(caller.alpn)
        case Match(name, args):
            return MATCHERS[name](args)
        case Not(term):
            inner = _compile(term)
            return lambda caller: not inner(caller)
        case And(terms):
            every = [_compile(term) for term in terms]
            return lambda caller: all(each(caller) for each in every)
        case Or(terms):
            some = [_compile(term) for term in terms]
            return lambda caller: any(each(caller) for each in some)

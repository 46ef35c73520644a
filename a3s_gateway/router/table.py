"""
The routes of an entrypoint, indexed so that ten thousand cost about what ten do.

By host first: a dictionary of literal hosts, and two of suffixes for wildcards. Inside a
host by path: a dictionary of whole paths, and the prefixes in order. Of all prefixes of a
path that are in the list the longest is the greatest entry not above the path, or a prefix
of that entry; so one binary search finds it, and parents lead to the shorter ones.

What no index decides is looked at in order of rank: ten thousand routers that differ in a
header or in a regular expression alone cost ten thousand looks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, Generic, Protocol, TypeVar

from attrs import frozen

from .clauses import Clause, clauses_of
from .expression import Expression
from .matchers import compile_predicate

T = TypeVar("T")
Predicate = Callable[[Any], bool]  # of what is routed
Candidate = tuple[int, Predicate | None, T]  # rank; what is left to look at, if anything; value

NEVER: Final = 1 << 60  # above every rank


class Routed(Protocol):
    """What an index can look up: a request, or a connection (`tcp.Caller`)."""

    @property
    def host(self) -> str:
        """In canonical form."""

    @property
    def path(self) -> str:
        """In canonical form."""


@frozen
class Entry(Generic[T]):
    """
    One router.

    Attributes:
        name: Decides between equal priorities.
        expression: Its rule.
        priority: The larger goes first; 0 stands for `rule_length`.
        rule_length: See `expression.rule_length`.
        value: What `RouteTable.find` returns.

    """

    name: str
    expression: Expression
    priority: int
    rule_length: int
    value: T

    @property
    def order(self) -> tuple[int, str]:
        """Sorts by who goes first."""
        return -(self.priority or self.rule_length), self.name


class RouteTable(Generic[T]):
    """Finds the first router whose rule holds; immutable."""

    __slots__ = ("_anywhere", "_entries", "_hosts", "_wild", "_wilder")

    def __init__(self, entries: tuple[Entry[T], ...], buckets: dict[str, _Bucket[T]]) -> None:
        self._entries = entries
        self._anywhere = (buckets[""],) if "" in buckets else ()
        self._wild = {host[2:]: bucket for host, bucket in buckets.items() if host[:2] == "*."}
        self._wilder = {host[3:]: bucket for host, bucket in buckets.items() if host[:2] == "**"}
        self._hosts: dict[str, tuple[_Bucket[T], ...]] = {}

    @classmethod
    def build(
        cls,
        entries: Iterable[Entry[T]],
        compile_rest: Callable[[Expression], Predicate] = compile_predicate,
    ) -> RouteTable[T]:
        """Build from checked rules; `compile_rest` is given what the index does not decide."""
        steps = cls.steps(entries, compile_rest)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                table: RouteTable[T] = done.value
                return table

    @classmethod
    def steps(
        cls,
        entries: Iterable[Entry[T]],
        compile_rest: Callable[[Expression], Predicate] = compile_predicate,
    ) -> Generator[None, None, RouteTable[T]]:
        """Do what `build` does, and yield wherever there may be a rest."""
        ranked = tuple(sorted(entries, key=lambda entry: entry.order))
        found: dict[str, list[tuple[Clause, Candidate[T]]]] = {}
        for rank, entry in enumerate(ranked):
            for clause in clauses_of(entry.expression):
                rest = clause.residual
                candidate = (rank, None if rest is None else compile_rest(rest), entry.value)
                found.setdefault(clause.host, []).append((clause, candidate))
            yield
        buckets = {}
        for host, clauses in found.items():
            buckets[host] = _Bucket(clauses)
            yield
        table = cls(ranked, buckets)
        for host, bucket in buckets.items():
            if host and host[0] != "*":
                table._hosts[host] = (bucket, *table._elsewhere(host))
                yield
        return table

    def entries(self) -> tuple[Entry[T], ...]:
        """Return the routers in the order in which they are tried."""
        return self._entries

    def find(self, request: Routed) -> T | None:
        """Return the value of the first router whose rule holds for `request`."""
        buckets = self._hosts.get(request.host)
        if buckets is None:
            if self._wild or self._wilder:
                buckets = self._elsewhere(request.host)
            else:
                buckets = self._anywhere
        path = request.path
        best: T | None = None
        limit = NEVER  # only a rank below it is of interest
        for bucket in buckets:
            node: _Node[T] | None = bucket.exact.get(path) or bucket.longest(path)
            while node is not None and node.least < limit:
                for rank, rest, value in node.candidates:
                    if rank >= limit:
                        break
                    if rest is None or rest(request):
                        best, limit = value, rank
                        break
                node = node.parent
        return best

    def _elsewhere(self, host: str) -> tuple[_Bucket[T], ...]:
        """Return where to look for a host besides its own bucket."""
        found = list(self._anywhere)
        dot = host.find(".")
        if dot > 0 and (bucket := self._wild.get(host[dot + 1 :])):
            found.append(bucket)
        while dot >= 0:
            if dot > 0 and (bucket := self._wilder.get(host[dot + 1 :])):
                found.append(bucket)
            dot = host.find(".", dot + 1)
        return tuple(found)


class _Node(Generic[T]):
    """
    The candidates for paths that are, or begin with, `prefix`, in order of rank.

    `parent` has the next shorter prefix; `least` is the first rank here or in any parent.
    """

    __slots__ = ("candidates", "least", "parent", "prefix")

    def __init__(
        self, prefix: str, candidates: list[Candidate[T]], parent: _Node[T] | None
    ) -> None:
        self.prefix = prefix
        self.parent = parent
        self.candidates = tuple(candidates)
        here = candidates[0][0] if candidates else NEVER
        self.least: int = here if parent is None else min(here, parent.least)


class _Bucket(Generic[T]):
    """The candidates for one host: `exact` by whole path, `nodes[n]` for `prefixes[n]`."""

    __slots__ = ("exact", "nodes", "prefixes")

    def __init__(self, clauses: list[tuple[Clause, Candidate[T]]]) -> None:
        exact: dict[str, list[Candidate[T]]] = {}
        under: dict[str, list[Candidate[T]]] = {"": []}
        for clause, candidate in clauses:
            (exact if clause.is_exact else under).setdefault(clause.path, []).append(candidate)
        self.prefixes = sorted(under)  # the first is empty, so that every path has one
        self.nodes: list[_Node[T]] = []
        branch: list[_Node[T]] = []  # the node before, and its parents
        for prefix in self.prefixes:
            while branch and not prefix.startswith(branch[-1].prefix):
                branch.pop()
            node = _Node(prefix, under[prefix], branch[-1] if branch else None)
            branch.append(node)
            self.nodes.append(node)
        self.exact = {path: _Node(path, exact[path], self.longest(path)) for path in exact}

    def longest(self, path: str) -> _Node[T]:
        """Return the node of the longest prefix of `path` that there is."""
        node = self.nodes[bisect_right(self.prefixes, path) - 1]
        while not path.startswith(node.prefix):
            assert node.parent is not None
            node = node.parent
        return node

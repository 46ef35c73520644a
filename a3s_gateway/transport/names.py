"""The addresses of names: looked up once for all who ask, kept, and looked up anew when old."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.logger import Logger

from a3s_gateway.protocol.cache import TwoGenerations
from a3s_gateway.task import Task, Waiter

from .known_name import KnownName
from .targets import IpTarget, Lookup, at_port, literal_target
from .timers import Timer, timers_for

SIZE: Final = 8192  # names, twice; those of servers are as many as the configuration has
TTL: Final = 30.0  # seconds; the system's answers do not tell theirs
PATIENCE: Final = 5.0  # seconds
PATIENCE_IF_KNOWN: Final = 1.0  # seconds until the old answer serves; RFC 8767 §5 has 1.8

Answered = Callable[[Sequence[IpTarget], float | None], None]
Ask = Callable[[str, Answered], None]

_log = Logger()


def ask_system(reactor: Any) -> Ask:
    """Ask as every program does: /etc/hosts and the like, by threads of the reactor's."""

    def ask(name: str, answered: Answered) -> None:
        lookup = Lookup(lambda targets: answered(targets, None))
        reactor.nameResolver.resolveHostName(lookup, name, 0)

    return ask


@define(eq=False)
class Query:
    """One lookup that is under way, and who waits for it."""

    limit: Timer
    waiting: list[Waiter[None]] = field(factory=list, init=False)


@define(eq=False)
class Names:
    """
    What all who connect by name have in common.

    Attributes:
        ask: Looks one name up; no address and no TTL are answers, too. Each address has port 0.
        longest: Seconds an answer is used, whatever its TTL.
        patience: Seconds for one lookup.
        outcomes: How many lookups found addresses, found none, and took too long.

    """

    reactor: Any
    ask: Ask = field()
    longest: float = field(default=TTL, init=False)
    patience: float = field(default=PATIENCE, init=False)
    outcomes: dict[str, int] = field(init=False)
    _known: TwoGenerations[str, KnownName] = field(init=False)
    _queries: dict[str, Query] = field(factory=dict, init=False)

    @ask.default
    def _system(self) -> Ask:
        return ask_system(self.reactor)

    @outcomes.default
    def _none(self) -> dict[str, int]:
        return dict.fromkeys(("found", "not_found", "timeout"), 0)

    @_known.default
    def _empty(self) -> TwoGenerations[str, KnownName]:
        return TwoGenerations(SIZE)

    def become(self, ask: Ask, longest: float, patience: float) -> None:
        """Look up by other terms from now on; what is known stays until it is old."""
        self.ask, self.longest, self.patience = ask, longest, patience

    async def find(self, name: str) -> KnownName:
        """
        Return a name with at least one address.

        Raises:
            DNSLookupError: It has none, or nobody said so in time.

        """
        known = self._known.get(name)
        if known is None:
            known = KnownName()
            self._known.put(name, known)
        if known.is_due(self.now()) and name not in self._queries:
            self._look_up(name, known)
        query = self._queries.get(name)
        if query is not None and known.is_worth_a_wait(self.now()):
            waiter: Waiter[None] = Waiter()
            query.waiting.append(waiter)
            await waiter
        if not known.is_usable(self.now()):
            raise DNSLookupError(f"no address found for {name!r}")
        return known

    async def targets(self, host: str, port: int) -> list[IpTarget]:
        """Return the addresses of a host, literal or not, in the order to try them in."""
        literal = literal_target(host, port)
        if literal is not None:
            return [literal]
        known = await self.find(host)
        return [at_port(each, port) for each in known.in_turn(self.now())]

    def resolve(self, host: str) -> Deferred[list[str]]:
        """Do the same for `Effects.resolve`, which has no ports, and which anybody may await."""
        done: Deferred[list[str]] = Deferred(lambda _: task.cancel())

        def found(targets: list[IpTarget]) -> None:
            done.callback([raw[0] for _, raw in targets])

        task = Task(self.targets(host, 0), found, done.errback)
        task.start()
        return done

    def now(self) -> float:
        """Read the clock that all of this goes by."""
        return float(self.reactor.seconds())

    def close(self) -> None:
        """Wait for no answer any more; whoever does is told that there is none."""
        for name, query in list(self._queries.items()):
            self._over(name, query)

    # -- one lookup

    def _look_up(self, name: str, known: KnownName) -> None:
        now = self.now()
        stands_in = known.is_usable(now) and known.is_worth_a_wait(now)
        patience = min(self.patience, PATIENCE_IF_KNOWN) if stands_in else self.patience
        timer = timers_for(self.reactor).timer(lambda: self._too_late(name, known, query))
        query = self._queries[name] = Query(timer)
        timer.set(patience)
        self.ask(name, lambda found, ttl: self._answered(name, known, query, found, ttl))

    def _answered(
        self,
        name: str,
        known: KnownName,
        query: Query,
        found: Sequence[IpTarget],
        ttl: float | None,
    ) -> None:
        in_time = self._queries.get(name) is query
        if found:  # too late for who asked, perhaps, but as good for the next one
            if known.failures and known.is_usable(self.now()):
                _log.info("{name} can be looked up again", name=name)
            longest = self.longest
            known.learn(found, longest if ttl is None else min(ttl, longest), self.now())
        elif in_time:
            self._failed(name, known)
        if in_time:
            self.outcomes["found" if found else "not_found"] += 1
            self._over(name, query)

    def _too_late(self, name: str, known: KnownName, query: Query) -> None:
        self.outcomes["timeout"] += 1
        self._failed(name, known)
        self._over(name, query)

    def _failed(self, name: str, known: KnownName) -> None:
        if not known.failures and known.is_usable(self.now()):
            _log.warn("{name} cannot be looked up; its former addresses serve on", name=name)
        known.fail(self.longest, self.now())

    def _over(self, name: str, query: Query) -> None:
        query.limit.end()
        if self._queries.get(name) is query:
            del self._queries[name]
        waiting, query.waiting = query.waiting, []
        for waiter in waiting:
            waiter.resolve(None)

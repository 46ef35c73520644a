"""What is known of one name, for how long, and which of its addresses is tried first."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, zip_longest
from math import inf
from typing import Final

from attrs import define, field

from .targets import IpTarget

STALE_FOR: Final = 3600.0  # seconds that an old answer serves while no new one can be had
FIRST_RETRY: Final = 1.0  # seconds after a failure; doubled with each further one
AVOIDED_FOR: Final = 30.0  # seconds that an address which did not answer stands at the end


@define(eq=False)
class KnownName:
    """
    The addresses of a name, and when it is to be asked for again.

    An answer is fresh for its time to live. For as long again it serves while a new one is on
    its way; later it is waited for, because what was idle for long may lead nowhere by now. If
    there is none to be had, the old one serves for `STALE_FOR`. All times are monotonic seconds.

    Attributes:
        addresses: As they were found, without a port, families taking turns.
        failures: Lookups in a row that found nothing.

    """

    addresses: tuple[IpTarget, ...] = field(default=(), init=False)
    failures: int = field(default=0, init=False)
    _due_at: float = field(default=-inf, init=False)
    _old_at: float = field(default=-inf, init=False)
    _gone_at: float = field(default=-inf, init=False)
    _turn: int = field(default=-1, init=False)
    _avoided: dict[IpTarget, float] = field(factory=dict, init=False)

    def is_due(self, now: float) -> bool:
        """Tell whether somebody should be asked."""
        return now >= self._due_at

    def is_usable(self, now: float) -> bool:
        """Tell whether its addresses may be connected to, should no others be had."""
        return now < self._gone_at

    def is_worth_a_wait(self, now: float) -> bool:
        """Tell whether an answer that is on its way should be waited for."""
        return not self.is_usable(now) or (now >= self._old_at and not self.failures)

    def learn(self, addresses: Iterable[IpTarget], ttl: float, now: float) -> None:
        """Take an answer with at least one address."""
        self.addresses = tuple(_alternating(dict.fromkeys(addresses)))
        self.failures = 0
        self._due_at = now + ttl
        self._old_at = self._due_at + ttl
        self._gone_at = self._due_at + STALE_FOR
        self._avoided = {each: t for each, t in self._avoided.items() if each in self.addresses}

    def fail(self, longest: float, now: float) -> None:
        """Take note that nothing was found; the next one is asked for within `longest`."""
        self._due_at = now + min(longest, FIRST_RETRY * 2 ** min(self.failures, 16))
        self.failures += 1

    def in_turn(self, now: float) -> list[IpTarget]:
        """Return all addresses, another one first each time; those to avoid at the end."""
        self._turn = (self._turn + 1) % len(self.addresses)
        found = [*self.addresses[self._turn :], *self.addresses[: self._turn]]
        if self._avoided:
            found.sort(key=lambda each: self._avoided.get(each, -inf) > now)
        return found

    def avoid(self, address: IpTarget, now: float) -> None:
        """Try an address last for a while: it did not answer."""
        if address in self.addresses:
            self._avoided[address] = now + AVOIDED_FOR

    def answered(self, address: IpTarget) -> None:
        """Take note that an address works."""
        if self._avoided:
            self._avoided.pop(address, None)


def _alternating(addresses: Iterable[IpTarget]) -> list[IpTarget]:
    """Let the families take turns (RFC 8305 §4), beginning with that of the first address."""
    by_family: dict[int, list[IpTarget]] = {}
    for each in addresses:
        by_family.setdefault(each[0], []).append(each)
    turns = zip_longest(*by_family.values())
    return [each for each in chain.from_iterable(turns) if each is not None]

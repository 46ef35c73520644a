"""What a reload swaps, what outlives it, and when the old one may go."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class Kept:
    """One piece of state, and how many generations lease it."""

    key: Hashable
    value: Any
    leases: int = field(default=0, init=False)


@define(eq=False)
class StatePool:
    """Learned state and open connections, kept by key while any generation leases them."""

    _kept: dict[Hashable, Kept] = field(factory=dict, init=False)

    def lease(self, key: Hashable, make: Callable[[], Any]) -> Kept:
        """Count a lease of what is kept under `key`; `make` it unless some generation has."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = Kept(key, make())
        kept.leases += 1
        return kept

    def release(self, kept: Kept) -> None:
        """Give one lease back; the last one drops the value, and closes it if it can be."""
        kept.leases -= 1
        if not kept.leases:
            del self._kept[kept.key]  # a key is large: to look it up for each would take long
            if hasattr(kept.value, "close"):
                kept.value.close()


@define(eq=False)
class Generation:
    """
    The life of one compiled configuration: in force, then draining, then released.

    It exists before what it is the life of: the compiler leases through it.
    """

    pool: StatePool
    _leased: list[Kept] = field(factory=list, init=False)
    _holds: int = field(default=0, init=False)
    _is_retired: bool = field(default=False, init=False)

    def lease(self, key: Hashable, make: Callable[[], T]) -> T:
        """Lease state for as long as this generation lives."""
        kept = self.pool.lease(key, make)
        self._leased.append(kept)
        value: T = kept.value
        return value

    @property
    def holds(self) -> int:
        """Exchanges in progress."""
        return self._holds

    def hold(self) -> None:
        """Keep this generation alive for one exchange, until `unhold`."""
        self._holds += 1

    def unhold(self) -> None:
        """End one `hold`; the last one of a retired generation releases its state."""
        self._holds -= 1
        if self._is_retired:
            self._release_if_done()

    def retire(self) -> None:
        """Serve no new exchange; call once, in the turn that puts the successor in force."""
        self._is_retired = True
        self._release_if_done()

    def _release_if_done(self) -> None:
        if not self._holds:
            leased, self._leased = self._leased, []
            for kept in leased:
                self.pool.release(kept)

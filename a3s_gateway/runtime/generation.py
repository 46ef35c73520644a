"""What a reload swaps, what outlives it, and when the old one may go."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class StatePool:
    """Learned state and open connections, kept by key while any generation leases them."""

    _values: dict[Hashable, Any] = field(factory=dict, init=False)
    _leases: dict[Hashable, int] = field(factory=dict, init=False)

    def lease(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value under `key`; `make` it unless some generation already has."""
        if key not in self._values:
            self._values[key] = make()
        self._leases[key] = self._leases.get(key, 0) + 1
        value: T = self._values[key]
        return value

    def release(self, key: Hashable) -> None:
        """Give one lease back; the last one drops the value, and closes it if it can be."""
        self._leases[key] -= 1
        if not self._leases[key]:
            value = self._values.pop(key)
            del self._leases[key]
            if hasattr(value, "close"):
                value.close()


@define(eq=False)
class Generation:
    """
    The life of one compiled configuration: in force, then draining, then released.

    It exists before what it is the life of: the compiler leases through it.
    """

    pool: StatePool
    _leased: list[Hashable] = field(factory=list, init=False)
    _holds: int = field(default=0, init=False)
    _is_retired: bool = field(default=False, init=False)

    def lease(self, key: Hashable, make: Callable[[], T]) -> T:
        """Lease state for as long as this generation lives."""
        value = self.pool.lease(key, make)
        self._leased.append(key)
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
            for key in leased:
                self.pool.release(key)

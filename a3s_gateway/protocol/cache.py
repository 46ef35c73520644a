"""A bounded cache for pure functions of untrusted input."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class TwoGenerations(Generic[K, V]):
    """
    Keeps what was used lately, in two dicts and with no bookkeeping on a hit.

    When the young generation is full it becomes the old one, and the old one is
    forgotten; what is still in use moves over at its next look-up. Never holds more
    than `2 * size` entries.
    """

    __slots__ = ("_size", "old", "young")

    def __init__(self, size: int) -> None:
        self._size = size
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what was `put` under `key`, unless it has been forgotten."""
        value = self.young.get(key)
        if value is None:
            value = self.old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember; forgets the old generation when the young one is full."""
        if len(self.young) >= self._size:
            self.old = self.young
            self.young = {}
        self.young[key] = value

"""The garbage collector, and the objects of a configuration, which are no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def settle_memory() -> None:
    """
    Tell the garbage collector that what is there now stays; for whoever owns the process.

    Requests make no cycles worth looking for often, and each full pass costs as many
    milliseconds as the configuration has objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@contextmanager
def growing() -> Iterator[None]:
    """
    Let a configuration come to stay: a reload, in a process where memory was settled.

    A pass over the objects that it makes would be the longest pause of all. What they replace
    has no cycles, so it goes without the collector.
    """
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

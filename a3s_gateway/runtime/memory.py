"""The garbage collector, and the objects of a configuration, which are no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SMALL: Final = 200_000  # frozen objects; a pass over so many takes some ten milliseconds
MUCH: Final = 1.25  # times as many as after the last pass over them

_after_last_pass = 0


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
    has no cycles, so it goes without the collector. But connections have cycles, and those that
    are open, or were closed meanwhile, are frozen with the rest: so the next reload looks at what
    is frozen, always while that is quick, and else when much has come in addition.
    """
    global _after_last_pass  # noqa: PLW0603 - there is one collector, too
    frozen = gc.get_freeze_count()
    if frozen < SMALL or frozen > MUCH * _after_last_pass:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        _after_last_pass = gc.get_freeze_count()
    else:
        gc.collect()  # what is not frozen: little
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

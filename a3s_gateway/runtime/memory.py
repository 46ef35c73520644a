"""The garbage collector, and the objects of a configuration, which are no garbage."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from a3s_gateway.config.model import GatewayConfig

    from .compile import Snapshot

SMALL: Final = 200_000  # frozen objects; a pass over so many takes some ten milliseconds

# In objects. To count what is frozen takes as long as a pass over it, nearly, so it is reckoned.
_settled = 0  # frozen after the last pass
_added = 0  # by the last reload
_suspect = 0  # frozen since the last pass, and of no configuration


def settle_memory() -> None:
    """
    Tell the garbage collector that what is there now stays; for whoever owns the process.

    Requests make no cycles worth looking for often, and each full pass costs as many
    milliseconds as the configuration has objects.
    """
    _look_at_all()
    gc.set_threshold(50_000, 20, 20)


@contextmanager
def growing() -> Iterator[None]:
    """
    Let a configuration come to stay: a reload, in a process where memory was settled.

    A pass over the objects that it makes would be the longest pause of all. What they replace
    has no cycles, so it goes without the collector. But what else is there, such as connections,
    is frozen with the rest, and may come to be cycles: so the next reload looks at what is frozen,
    always while that is quick, and else when there may be as much garbage as configuration.
    """
    global _added, _suspect  # noqa: PLW0603 - there is one collector, too
    if _settled + _added < SMALL or _settled + _added < _suspect:
        _look_at_all()
    else:
        gc.collect()  # what is not frozen: little
        _suspect += len(gc.get_objects())
    gc.disable()
    try:
        yield
    finally:
        _added = gc.get_count()[0]
        gc.freeze()
        gc.enable()


def let_go(config: GatewayConfig, snapshot: Snapshot) -> Generator[None, None, None]:
    """Let what was in force end router by router; all at once it would take too long."""
    parts: list[object] = [
        *config.services.values(),
        *config.routers.values(),
        *snapshot.routes.values(),
        *snapshot.health,
    ]
    del config, snapshot
    while parts:
        parts.pop()
        yield


def _look_at_all() -> None:
    global _settled, _suspect
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    _settled, _suspect = gc.get_freeze_count(), 0

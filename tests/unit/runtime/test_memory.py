"""The garbage collector around a reload."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest

from a3s_gateway import GatewayConfig
from a3s_gateway.runtime import memory
from a3s_gateway.runtime.compile import Snapshot
from a3s_gateway.runtime.generation import Generation, StatePool
from a3s_gateway.runtime.memory import growing, let_go

SNAPSHOT = Snapshot(Generation(StatePool()), {}, {}, {}, {}, (), {})


class Thing:
    """May refer to itself."""

    def __init__(self) -> None:
        self.me: object = None


def test_the_collector_is_off_meanwhile_and_on_afterwards() -> None:
    """Also when the reload fails."""
    try:
        with growing():
            assert not gc.isenabled()
        assert gc.isenabled()
        with pytest.raises(ZeroDivisionError), growing():
            1 / 0  # noqa: B018
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_what_is_replaced_goes_without_the_collector() -> None:
    """An object of an old configuration that was frozen ends with its last reference."""
    try:
        with growing():
            thing = Thing()
        gone = weakref.ref(thing)
        del thing
        assert gone() is None
    finally:
        gc.unfreeze()


def test_a_cycle_that_came_up_during_a_reload_is_gone_after_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that was closed, or open, at one reload does not keep its memory for ever."""
    # What other tests have frozen in this process is no measure of a small gateway.
    monkeypatch.setattr(memory, "SMALL", sys.maxsize)
    try:
        gone = frozen_cycle()
        with growing():
            pass
        assert gone() is None
    finally:
        gc.unfreeze()


def frozen_cycle() -> weakref.ref[Thing]:
    with growing():
        thing = Thing()
        thing.me = thing
    return weakref.ref(thing)


def test_a_large_configuration_is_looked_at_only_when_much_else_was_frozen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pass over it takes a fraction of a second, in which nobody is answered."""
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "_settled", 20_000)
    monkeypatch.setattr(memory, "_suspect", 0)
    gc.freeze()  # what pytest and other tests have made
    try:
        gone = frozen_cycle()
        for _ in range(3):
            with growing():
                pass
        assert gone() is not None
        others = [[n] for n in range(30_000)]  # as if of connections
        with growing():
            pass
        del others
        with growing():
            pass
        assert gone() is None
    finally:
        gc.unfreeze()


def test_what_was_in_force_ends_bit_by_bit() -> None:
    """Each router is a step, after which traffic may have its turn."""
    text = "".join(
        f'routers "r{n}" {{\n rule = "Path(`/{n}`)"\n service = "whoami@internal"\n}}\n'
        for n in range(3)
    )
    config = GatewayConfig.from_text(text)
    gone = [weakref.ref(router) for router in config.routers.values()]
    steps = let_go(config, SNAPSHOT)
    del config
    left = [sum(each() is not None for each in gone) for _ in steps]
    assert left == [2, 1, 0]

"""Bodies that are worked on in turns."""

from __future__ import annotations

from collections.abc import Awaitable

from attrs import define, field

from a3s_gateway.body import HIGH_WATER, Body
from a3s_gateway.errors import UpstreamError
from a3s_gateway.headers import Headers
from a3s_gateway.middleware._slices import BUDGET, SLICE, Encoding, Turns
from a3s_gateway.task import Waiter
from tests.bodies import Sink, Source


@define(eq=False)
class World:
    """Time passes by work alone; `turn` is the reactor's next one."""

    time: float = 0.0
    costs: float = BUDGET / 2
    sleeping: list[Waiter[None]] = field(factory=list)
    log: list[str] = field(factory=list)

    def now(self) -> float:
        return self.time

    def sleep(self, _: float) -> Awaitable[None]:
        self.sleeping.append(Waiter())
        return self.sleeping[-1]

    def turn(self) -> None:
        sleeping, self.sleeping = self.sleeping, []
        for waiter in sleeping:
            waiter.resolve(None)


@define(eq=False)
class Shout:
    """A coder that takes its time, and says whose slice it had."""

    world: World
    name: str = ""

    def feed(self, data: bytes) -> bytes:
        self.world.time += self.world.costs
        self.world.log.append(self.name)
        return data.upper()

    def flush(self) -> bytes:
        return b"|"

    def finish(self) -> bytes:
        return b"!"


def encode(world: World, name: str = "", *, live: bool = False) -> tuple[Body, Body, Source]:
    source = Source()
    inner = Body(source)
    turns = _TURNS.setdefault(id(world), Turns(world.now, world.sleep))
    return inner, Encoding(inner, Shout(world, name), turns, is_live=live).body, source


_TURNS: dict[int, Turns] = {}


def test_a_body_is_encoded_as_it_comes() -> None:
    """With its trailers, and its proper end."""
    inner, body, _ = encode(World())
    sink = Sink()
    body.pipe(sink)
    inner.feed(b"a")
    assert sink.got == b"A"
    trailers = Headers.of(("X-Sum", "1"))
    inner.end(trailers)
    assert (sink.got, sink.end) == (b"A!", trailers)


def test_who_reads_a_stream_gets_all_that_came() -> None:
    """Flushed with each piece."""
    inner, body, _ = encode(World(), live=True)
    sink = Sink()
    body.pipe(sink)
    inner.feed(b"a")
    inner.feed(b"b")
    assert sink.got == b"A|B|"


def test_a_large_piece_takes_more_than_one_turn() -> None:
    """Only so much time is spent in each."""
    world = World()
    inner, body, _ = encode(world)
    sink = Sink()
    body.pipe(sink)
    inner.feed(b"x" * (5 * SLICE))
    assert len(world.log) == 2
    world.turn()
    assert len(world.log) == 4
    world.turn()
    inner.end()
    world.turn()
    assert (len(sink.got), body.is_complete) == (5 * SLICE + 1, True)
    assert world.sleeping == []  # nobody waits, so nothing is asked of the reactor


def test_bodies_take_turns() -> None:
    """The second does not wait until all of the first is done."""
    world = World(costs=BUDGET)
    for name in "ab":
        inner, body, _ = encode(world, name)
        body.pipe(Sink())
        inner.feed(b"x" * (3 * SLICE))
        inner.end()
    while world.sleeping:
        world.turn()
    assert "".join(world.log) == "aababb"


def test_a_reader_that_is_slow_holds_the_source_back() -> None:
    """What waits is bounded: a slice, and what the inner body may hold."""
    world = World(costs=0.0)
    inner, body, source = encode(world)
    for _ in range(8):
        inner.feed(b"x" * HIGH_WATER)
    assert source.said[-1] == "pause"
    assert len(body.take()) < HIGH_WATER + SLICE + 1
    sink = Sink()
    body.pipe(sink)
    inner.end()
    assert len(sink.got) > 6 * HIGH_WATER
    assert "resume" in source.said


def test_a_reader_that_goes_cancels_the_source() -> None:
    """Wherever the work stands; what it waited for does nothing more."""
    world = World(costs=BUDGET)
    inner, body, source = encode(world)
    body.pipe(Sink())
    inner.feed(b"x" * (3 * SLICE))
    body.close()
    assert source.said[-1] == "cancel"
    world.turn()
    assert len(world.log) == 1
    assert world.sleeping == []


def test_a_source_that_fails_fails_the_reader() -> None:
    """It never looks complete."""
    inner, body, _ = encode(World())
    sink = Sink()
    body.pipe(sink)
    inner.feed(b"a")
    error = UpstreamError("UPSTREAM_RESET")
    inner.fail(error)
    assert (sink.got, sink.end) == (b"A", error)

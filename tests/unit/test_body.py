"""Bodies: piped or read, held back, given up."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.body import HIGH_WATER, NO_BODY, Body, BodyTooLargeError
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.task import Task
from tests.bodies import Source

TRAILERS = Headers.of(("X-Sum", "1"))


class Sink:
    """Writes down what it is given."""

    def __init__(self) -> None:
        self.got: list[object] = []

    def write(self, data: bytes) -> None:
        self.got.append(data)

    def finish(self, trailers: Headers) -> None:
        self.got.append(trailers)

    def fail(self, error: Exception) -> None:
        self.got.append(error)


def run(coroutine: Coroutine[Any, None, object]) -> list[object]:
    """Start it; returns what it gives, now or later."""
    results: list[object] = []
    Task(coroutine, results.append, results.append).start()
    return results


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=6), st.integers(0, 7))
def test_piped_in_the_middle(pieces: list[bytes], begins: int) -> None:
    """Whenever the sink comes, it gets everything, in order, and the end."""
    body, sink = Body(Source()), Sink()
    for number, piece in enumerate(pieces):
        if number == begins:
            body.pipe(sink)
        body.feed(piece)
    if begins >= len(pieces):
        body.pipe(sink)
    body.end(TRAILERS)
    assert b"".join(x for x in sink.got if isinstance(x, bytes)) == b"".join(pieces)
    assert sink.got[-1] is TRAILERS


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=6), st.integers(0, 7))
def test_read_in_the_middle(pieces: list[bytes], begins: int) -> None:
    """Whenever the reader comes, it gets everything."""
    body = Body(Source())
    results: list[object] = []
    for number, piece in enumerate([*pieces, None]):
        if number == begins:
            results = run(body.read(1000))
        if piece is None:
            body.end()
        else:
            body.feed(piece)
    if begins > len(pieces):
        results = run(body.read(1000))
    assert results == [b"".join(pieces)]


def test_piped_after_the_end() -> None:
    """A body that is all there is handed over at once."""
    for body in (Body.of(b"all"), Body(Source())):
        if not body.is_complete:
            body.feed(b"all")
            body.end()
        sink = Sink()
        body.pipe(sink)
        assert sink.got == [b"all", EMPTY_HEADERS]


def test_a_failure_reaches_the_sink() -> None:
    """Behind what had come before, whether it comes early or late."""
    error = ValueError()
    for early in (True, False):
        body, sink = Body(Source()), Sink()
        body.feed(b"some")
        if early:
            body.fail(error)
            body.pipe(sink)
        else:
            body.pipe(sink)
            body.fail(error)
        assert sink.got == [b"some", error]


def test_a_failure_reaches_the_reader() -> None:
    """It is raised behind what had come before."""
    error = ValueError()
    body = Body(Source())
    results = run(body.read(100))
    body.feed(b"some")
    body.fail(error)
    assert results == [error]


def test_a_failure_after_the_end_is_none() -> None:
    """The body was complete."""
    body, sink = Body(Source()), Sink()
    body.pipe(sink)
    body.end()
    body.fail(ValueError())
    assert sink.got == [EMPTY_HEADERS]


def test_a_source_that_nobody_reads_is_paused() -> None:
    """An unread body keeps `HIGH_WATER` and one piece more at the most."""
    source = Source()
    body = Body(source)
    body.feed(bytes(HIGH_WATER - 1))
    assert source.said == []
    body.feed(b"x")
    body.feed(b"x")
    assert source.said == ["pause"]
    body.pipe(Sink())
    assert source.said == ["pause", "resume"]


def test_a_reader_that_waits_lets_the_source_go_on() -> None:
    """Reading takes what is there and asks for more."""
    source = Source()
    body = Body(source)
    body.feed(bytes(HIGH_WATER))
    results = run(body.read(2 * HIGH_WATER))
    assert source.said == ["pause", "resume"]
    body.end()
    assert results == [bytes(HIGH_WATER)]


def test_a_sink_holds_the_source_back() -> None:
    """Each pause is told once, and so is each resumption."""
    source = Source()
    body = Body(source)
    body.pipe(Sink())
    body.pause()
    body.pause()
    body.resume()
    body.resume()
    assert source.said == ["pause", "resume"]


def test_a_sink_that_pauses_at_the_first_write_stays_paused() -> None:
    """What had come before may be more than the sink can take."""
    source = Source()
    body = Body(source)

    class Slow(Sink):
        def write(self, data: bytes) -> None:
            super().write(data)
            body.pause()

    body.feed(b"x")
    body.pipe(Slow())
    assert source.said == ["pause"]


def test_a_source_that_has_ended_is_left_alone() -> None:
    """The connection it came on may serve another exchange by now."""
    source = Source()
    body = Body(source)
    body.feed(b"x")
    body.end()
    body.pause()
    body.resume()
    body.close()
    assert source.said == []


def test_too_large() -> None:
    """Reading stops as soon as the limit is passed, and holds no more than that."""
    body = Body(Source())
    results = run(body.read(5))
    body.feed(b"12345")
    assert results == []
    body.feed(b"6")
    assert [type(error) for error in results] == [BodyTooLargeError]


def test_closing_releases_and_cancels_once() -> None:
    """Who is done says so, and may say it twice."""
    source = Source()
    body = Body(source)
    released: list[str] = []
    body.owns(lambda: released.append("lease"))
    body.owns(lambda: released.append("timer"))
    body.close()
    body.close()
    assert (source.said, released) == (["cancel"], ["lease", "timer"])
    body.feed(b"late")
    body.end()
    assert body.take() == b""


def test_closing_detaches_the_sink() -> None:
    """What comes late reaches nobody."""
    body, sink = Body(Source()), Sink()
    body.pipe(sink)
    body.close()
    body.feed(b"late")
    body.end()
    assert sink.got == []


def test_who_reads_here_asks_the_client() -> None:
    """A client that waits for a 100 is asked once, and only if nothing has come."""
    asked: list[str] = []
    body = Body(Source())
    body.ask = lambda: asked.append("100")
    results = run(body.read(10))
    body.feed(b"x")
    body.end()
    assert (asked, results) == (["100"], [b"x"])
    eager = Body(Source())
    eager.ask = lambda: asked.append("again")
    eager.feed(b"x")
    eager.end()
    assert (run(eager.read(10)), asked) == ([b"x"], ["100"])


def test_taking_marks_the_body_as_begun() -> None:
    """A request can be sent again only if nothing was taken from it."""
    body = Body(Source())
    assert (body.take(), body.begun) == (b"", False)
    body.feed(b"x")
    assert (body.take(), body.begun) == (b"x", True)


def test_a_body_that_is_not_there() -> None:
    """It is shared by all messages without one, so it can neither own nor be spent."""
    for _ in range(2):
        sink = Sink()
        NO_BODY.pipe(sink)
        NO_BODY.close()
        NO_BODY.fail(ValueError())
        assert (sink.got, NO_BODY.begun, NO_BODY.length) == ([EMPTY_HEADERS], False, 0)
        assert run(NO_BODY.read(0)) == [b""]
    with pytest.raises(TypeError, match="owns nothing"):
        NO_BODY.owns(list)


@pytest.mark.parametrize("is_complete", [False, True])
def test_what_was_taken_can_be_put_back(is_complete: bool) -> None:  # noqa: FBT001
    """Whoever gets it next has all of it, in order, what has come meanwhile included."""
    body, first, second = Body(Source()), Sink(), Sink()
    body.feed(b"a")
    body.pipe(first)
    body.feed(b"b")
    if is_complete:
        body.end(TRAILERS)
    body.put_back(b"ab")
    assert not body.begun
    if not is_complete:
        body.feed(b"c")
        body.end(TRAILERS)
    body.pipe(second)
    assert b"".join(each for each in second.got if isinstance(each, bytes)) == (
        b"ab" if is_complete else b"abc"
    )
    assert second.got[-1] is TRAILERS

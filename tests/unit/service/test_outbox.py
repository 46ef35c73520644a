"""What waits for a client that reads too slowly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.service.hub import ChannelCounters
from a3s_gateway.service.outbox import Outbox


def test_the_oldest_messages_go_first() -> None:
    """Each is counted where it belongs."""
    news, sport = ChannelCounters(), ChannelCounters()
    outbox = Outbox(2, 100)
    outbox.add_message(b"1", news)
    outbox.add_message(b"2", sport)
    outbox.add_message(b"3", sport)
    assert outbox.take() == b"23"
    assert outbox.take() == b""
    assert (news.dropped, news.delivered, sport.dropped, sport.delivered) == (1, 0, 0, 2)


def test_answers_stay() -> None:
    """In their place among the messages."""
    counters = ChannelCounters()
    outbox = Outbox(1, 100)
    outbox.add_answer(b"a")
    outbox.add_message(b"1", counters)
    outbox.add_answer(b"b")
    outbox.add_message(b"2", counters)
    assert outbox.take() == b"ab2"
    assert counters.dropped == 1


def test_a_message_that_is_larger_than_all_that_may_wait() -> None:
    """It is the one that goes."""
    counters = ChannelCounters()
    outbox = Outbox(10, 4)
    outbox.add_message(b"12", counters)
    outbox.add_message(b"12345", counters)
    assert outbox.take() == b"12"
    assert counters.dropped == 1


def test_what_is_taken_at_a_time_is_bounded() -> None:
    """A client that reads on is not overwhelmed at once."""
    outbox = Outbox(100, 10**7)
    for _ in range(3):
        outbox.add_message(b"x" * 60_000, ChannelCounters())
    assert [len(outbox.take()) for _ in range(3)] == [120_000, 60_000, 0]


def test_what_is_left_when_a_client_goes() -> None:
    """It missed that."""
    counters = ChannelCounters()
    outbox = Outbox(10, 100)
    outbox.add_message(b"1", counters)
    outbox.add_answer(b"a")
    outbox.clear()
    assert (len(outbox), outbox.take(), counters.dropped) == (0, b"", 1)


@given(st.lists(st.tuples(st.sampled_from("amt"), st.integers(1, 30))))
def test_bounds_hold_and_nothing_is_lost_uncounted(steps: list[tuple[str, int]]) -> None:
    """Every message is delivered, dropped, or still waits; answers are never lost."""
    counters = ChannelCounters()
    outbox = Outbox(5, 60)
    added = answers = taken = 0
    for kind, size in steps:
        if kind == "a":
            outbox.add_answer(b"a" * size)
            answers += size
        elif kind == "m":
            outbox.add_message(b"m" * size, counters)
            added += 1
        else:
            taken += outbox.take().count(b"a")
        waiting = added - counters.dropped - counters.delivered
        assert 0 <= waiting <= 5
    rest = outbox.take()
    assert rest.count(b"m") <= 60
    assert taken + rest.count(b"a") == answers
    assert counters.delivered + counters.dropped == added

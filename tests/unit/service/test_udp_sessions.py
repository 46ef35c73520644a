from __future__ import annotations

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.service.udp_sessions import GRAIN, SessionTable


@define(eq=False)
class Talk:
    client: str
    seen_at: float = field(default=0.0, init=False)


def table(idle: float = 10.0, limit: int = 3, clients: str = "") -> SessionTable[Talk]:
    """A table in which each of `clients` came a second after the one before, from second 0 on."""
    made: SessionTable[Talk] = SessionTable(idle, limit)
    for second, client in enumerate(clients):
        made.add(Talk(client), float(second))
    return made


def names(sessions: SessionTable[Talk]) -> str:
    return "".join(each.client for each in sessions)


def test_a_client_finds_its_session_and_no_other() -> None:
    """A stranger has none."""
    sessions = table(clients="ab")
    found = sessions.find("a", 5.0)
    assert found is not None
    assert (found.client, found.seen_at) == ("a", 5.0)
    assert sessions.find("c", 5.0) is None


def test_silence_ends_a_session() -> None:
    """Not before its time is up, and a grain later at most."""
    sessions = table(clients="abc")
    assert sessions.next_silence() == 10.0 + GRAIN * 10
    assert list(sessions.silent(10.0)) == []
    assert [each.client for each in sessions.silent(11.0 + GRAIN * 10)] == ["a", "b"]
    assert names(sessions) == "c"
    assert sessions.next_silence() == 12.0 + GRAIN * 10


def test_either_side_keeps_a_session_alive() -> None:
    """One that only listens, or only speaks, is not cut."""
    sessions = table(clients="ab")
    sessions.find("a", 8.0)
    (one,) = [each for each in sessions if each.client == "b"]
    sessions.touch(one, 9.0)
    assert list(sessions.silent(18.0)) == []
    assert [each.client for each in sessions.silent(18.5)] == ["a"]


def test_what_follows_at_once_moves_nothing() -> None:
    """It is spared the work; what counts is the time, and that is right to a grain."""
    sessions = table(clients="ab")
    sessions.find("a", 1.0)
    sessions.find("b", 1.1)
    assert [each.seen_at for each in sessions] == [1.0, 1.0]
    assert names(sessions) == "ba"


def test_a_full_table_gives_up_the_most_silent() -> None:
    """A newcomer is never turned away, and who speaks is not the one who goes."""
    sessions = table(clients="abc")
    sessions.find("a", 3.0)
    assert [each.client for each in sessions.crowded()] == ["b"]
    sessions.add(Talk("d"), 4.0)
    assert names(sessions) == "cad"


def test_room_is_not_made_where_there_is_some() -> None:
    """Nobody goes early."""
    assert list(table(clients="ab").crowded()) == []


def test_a_smaller_limit_holds_from_the_next_client_on() -> None:
    """After a reload that lowers it."""
    sessions = table(clients="abc")
    sessions.limit = 1
    assert [each.client for each in sessions.crowded()] == ["a", "b", "c"]


def test_an_ended_session_does_not_take_its_successor_along() -> None:
    """Its end may be told when the client has another already."""
    sessions = table(clients="a")
    (former,) = sessions
    sessions.remove(former)
    sessions.remove(former)
    sessions.add(Talk("a"), 1.0)
    sessions.remove(former)
    assert names(sessions) == "a"


def test_an_empty_table_has_nothing_to_wait_for() -> None:
    """No timer runs for it."""
    assert table().next_silence() is None
    assert list(table().silent(1e9)) == []


STEPS = st.lists(st.tuples(st.sampled_from("abcde"), st.floats(0, 5)), max_size=50)


@given(STEPS)
def test_bounded_and_in_the_order_of_silence(steps: list[tuple[str, float]]) -> None:
    """Whoever speaks, and whenever: never too many, none that should be over, the order holds."""
    sessions = table()
    now = 0.0
    for client, pause in steps:
        now += pause
        list(sessions.silent(now))
        if sessions.find(client, now) is None:
            list(sessions.crowded())
            sessions.add(Talk(client), now)
        seen = [each.seen_at for each in sessions]
        assert seen == sorted(seen)
        assert len(sessions) <= 3
        assert now - seen[0] < 10.0 + GRAIN * 10

"""Coroutines driven without Deferreds, and those that wait for one."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from a3s_gateway.task import Task, Waiter


class Outcome:
    """Runs a coroutine and keeps what became of it."""

    def __init__(self, coroutine: Coroutine[Any, None, object]) -> None:
        self.results: list[object] = []
        self.errors: list[BaseException] = []
        self.task: Task[object] = Task(coroutine, self.results.append, self.errors.append)
        self.task.start()

    @property
    def both(self) -> tuple[list[object], list[BaseException]]:
        return self.results, self.errors


async def wait(for_what: Any, log: list[str]) -> object:
    log.append("begun")
    try:
        return await for_what
    except Exception as error:
        log.append(type(error).__name__)
        raise
    finally:
        log.append("over")


def test_a_coroutine_that_never_waits_is_done_at_once() -> None:
    """The common case costs no turn of the reactor."""

    async def answer() -> int:
        return 42

    assert Outcome(answer()).both == ([42], [])


def test_a_failure_is_handed_to_who_started_it() -> None:
    """It is not raised into whoever made the task go on."""
    error = ValueError()

    async def fail() -> None:
        raise error

    assert Outcome(fail()).both == ([], [error])


def test_a_waiter_makes_it_go_on_at_once() -> None:
    """`resolve` returns when the coroutine has come to its next wait or its end."""
    waiter: Waiter[int] = Waiter()
    log: list[str] = []
    outcome = Outcome(wait(waiter, log))
    assert (outcome.both, log) == (([], []), ["begun"])
    waiter.resolve(1)
    assert (outcome.both, log) == (([1], []), ["begun", "over"])


def test_a_rejected_waiter_raises_where_it_is_awaited() -> None:
    """The error is the very object."""
    waiter: Waiter[int] = Waiter()
    error = ValueError()
    log: list[str] = []
    outcome = Outcome(wait(waiter, log))
    waiter.reject(error)
    assert (outcome.both, log) == (([], [error]), ["begun", "ValueError", "over"])


def test_a_waiter_may_be_settled_before_it_is_awaited() -> None:
    """Then nobody waits."""
    ready: Waiter[int] = Waiter()
    ready.resolve(1)
    broken: Waiter[int] = Waiter()
    error = ValueError()
    broken.reject(error)
    assert Outcome(wait(ready, [])).both == ([1], [])
    assert Outcome(wait(broken, [])).both == ([], [error])


def test_only_the_first_settlement_counts() -> None:
    """A time limit and an answer may come in the same moment."""
    waiter: Waiter[int] = Waiter()
    outcome = Outcome(wait(waiter, []))
    waiter.resolve(1)
    waiter.resolve(2)
    waiter.reject(ValueError())
    assert outcome.both == ([1], [])
    assert waiter.is_set


def test_a_waiter_that_is_settled_by_what_it_is_handed_to() -> None:
    """A coroutine may settle what it awaits next from within."""
    first: Waiter[int] = Waiter()
    second: Waiter[int] = Waiter()

    async def both() -> int:
        value = await first
        second.resolve(value + 1)
        return await second

    outcome = Outcome(both())
    first.resolve(1)
    assert outcome.both == ([2], [])


def test_many_waits_that_are_over_at_once_do_not_pile_up() -> None:
    """Ten thousand settled waits in a row need no stack."""

    async def many() -> int:
        total = 0
        for _ in range(10_000):
            waiter: Waiter[int] = Waiter()
            waiter.resolve(1)
            total += await waiter
        return total

    assert Outcome(many()).both == ([10_000], [])


def test_a_deferred_can_be_awaited() -> None:
    """Those that have fired, and those that fire later."""
    later: Deferred[int] = Deferred()
    outcome = Outcome(wait(later, []))
    assert outcome.both == ([], [])
    later.callback(1)
    assert outcome.both == ([1], [])
    fired: Deferred[int] = Deferred()
    fired.callback(2)
    assert Outcome(wait(fired, [])).both == ([2], [])


def test_a_deferred_that_fails_raises_its_own_error() -> None:
    """A refused connection is told as that, so that another server is tried."""
    error = ConnectionRefusedError()
    later: Deferred[int] = Deferred()
    log: list[str] = []
    outcome = Outcome(wait(later, log))
    later.errback(error)
    assert outcome.both == ([], [error])
    assert log == ["begun", "ConnectionRefusedError", "over"]
    failed: Deferred[int] = Deferred()
    failed.errback(error)
    assert Outcome(wait(failed, [])).both == ([], [error])


def test_deferreds_one_after_the_other() -> None:
    """A coroutine goes on after an error that it has handled."""
    first: Deferred[int] = Deferred()
    second: Deferred[int] = Deferred()

    async def both() -> int:
        try:
            await first
        except ValueError:
            return await second
        raise AssertionError

    outcome = Outcome(both())
    first.errback(ValueError())
    second.callback(2)
    assert outcome.both == ([2], [])


def test_cancelling_runs_the_cleanup_and_tells_nobody() -> None:
    """A client that goes away ends its request where it stands."""
    waiter: Waiter[int] = Waiter()
    log: list[str] = []
    outcome = Outcome(wait(waiter, log))
    outcome.task.cancel()
    assert (outcome.both, log) == (([], []), ["begun", "over"])
    waiter.resolve(1)
    outcome.task.cancel()
    assert (outcome.both, log) == (([], []), ["begun", "over"])


def test_cancelling_cancels_the_deferred_too() -> None:
    """An attempt to connect is given up with the request that wanted it."""
    cancelled = []
    later: Deferred[int] = Deferred(cancelled.append)
    log: list[str] = []
    outcome = Outcome(wait(later, log))
    outcome.task.cancel()
    assert (cancelled, outcome.both, log) == ([later], ([], []), ["begun", "over"])


def test_no_handler_of_exceptions_catches_a_cancellation() -> None:
    """`except Exception` around a wait does not keep a request alive."""
    waiter: Waiter[int] = Waiter()
    caught = []

    async def stubborn() -> None:
        try:
            await waiter
        except Exception as error:  # noqa: BLE001 - the point
            caught.append(error)

    Outcome(stubborn()).task.cancel()
    assert caught == []


def test_a_task_may_cancel_itself() -> None:
    """What it calls may end the connection that it works for."""
    log: list[str] = []
    outcome: Outcome

    async def suicidal() -> int:
        await first
        outcome.task.cancel()
        log.append("still here")
        try:
            return await second
        finally:
            log.append("over")

    first: Waiter[int] = Waiter()
    second: Waiter[int] = Waiter()
    outcome = Outcome(suicidal())
    first.resolve(1)
    assert (outcome.both, log) == (([], []), ["still here", "over"])


def test_a_task_that_cancels_itself_and_returns() -> None:
    """Its result is nobody's."""
    outcome: Outcome

    async def suicidal() -> int:
        await first
        outcome.task.cancel()
        return 1

    first: Waiter[int] = Waiter()
    outcome = Outcome(suicidal())
    first.resolve(1)
    assert outcome.both == ([], [])


def test_an_error_of_a_cancelled_deferred_is_not_left_unhandled() -> None:
    """It is nobody's any more, and no log line says otherwise."""
    later: Deferred[int] = Deferred()
    outcome = Outcome(wait(later, []))
    outcome.task.cancel()
    results: list[object] = []
    later.addBoth(results.append)
    assert (results, outcome.both) == ([None], ([], []))


def test_a_cancelled_error_of_a_deferred_is_an_error_like_others() -> None:
    """Someone else may cancel what a request waits for."""
    later: Deferred[int] = Deferred()
    outcome = Outcome(wait(later, []))
    later.cancel()
    assert [type(error) for error in outcome.errors] == [CancelledError]


def test_a_waiter_that_nobody_awaits_raises_nothing() -> None:
    """It may be settled all the same."""
    waiter: Waiter[int] = Waiter()
    waiter.reject(ValueError())
    assert waiter.is_set
    with pytest.raises(ValueError, match=r"\A\Z"):
        waiter.__await__().send(None)


def test_what_is_done_with_the_result_may_fail_too() -> None:
    """It is handed to who started the task, and not raised into who resolved the waiter."""
    waiter: Waiter[int] = Waiter()
    errors: list[BaseException] = []

    def refuse(_value: object) -> None:
        raise ZeroDivisionError

    Task(wait(waiter, []), refuse, errors.append).start()
    waiter.resolve(1)
    assert [type(error) for error in errors] == [ZeroDivisionError]

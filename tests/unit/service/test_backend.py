from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.service.backend import Backend, Lease


def test_a_lease_counts_while_it_is_held() -> None:
    """What runs on a server shows as long as it runs, and in the total for ever."""
    backend = Backend("http://127.0.0.1:8001")
    first, second = backend.acquire(), backend.acquire()
    assert (backend.in_flight, backend.requests) == (2, 2)
    first.release()
    assert (backend.in_flight, backend.requests) == (1, 2)
    second.release()
    assert (backend.in_flight, backend.requests) == (0, 2)


def test_a_lease_is_given_back_once() -> None:
    """A request that is cancelled, reset and timed out at the same time ends once."""
    backend = Backend("http://127.0.0.1:8001")
    other = backend.acquire()
    lease = backend.acquire()
    for _ in range(3):
        lease.release()
    assert backend.in_flight == 1
    other.release()
    assert backend.in_flight == 0


@given(st.lists(st.integers(0, 20)))
def test_in_flight_is_what_is_held(steps: list[int]) -> None:
    """In any order of taking and giving back, also twice, the counter tells the truth."""
    backend = Backend("http://127.0.0.1:8001")
    leases: list[Lease] = []
    released: set[int] = set()
    for step in steps:
        if step < len(leases):
            leases[step].release()
            released.add(step)
        else:
            leases.append(backend.acquire())
        assert backend.in_flight == len(leases) - len(released)
    assert backend.requests == len(leases)


def test_two_servers_at_one_address_are_two() -> None:
    """A list that names an address twice gives it two turns, each with its own counters."""
    one, other = Backend("http://127.0.0.1:8001"), Backend("http://127.0.0.1:8001")
    assert one != other
    assert len({one, other}) == 2

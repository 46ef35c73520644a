from __future__ import annotations

from a3s_gateway.http import Exchange
from a3s_gateway.observability.counters import Ledger, RouteCounters


def count(counters: RouteCounters, times: int = 1, status: int = 200, code: str = "") -> None:
    for _ in range(times):
        exchange = Exchange("web", "127.0.0.1", 100.0)
        exchange.status, exchange.code, exchange.bytes_out = status, code, 10
        counters.record(exchange, 0.1)


def total(ledger: Ledger) -> int:
    return sum(each.requests for each in ledger.counters())


def of_service(ledger: Ledger, name: str) -> int:
    return sum(each.requests for each in ledger.by_service().get(name, ()))


def test_a_sum_over_routes_does_not_go_back_when_a_route_goes() -> None:
    """Prometheus would take that for a restart, and count the rest of the sum anew."""
    ledger = Ledger()
    stays, goes = ledger.open("pool"), ledger.open("pool")
    count(stays, 2)
    count(goes, 3, status=503, code="UPSTREAM_BUSY")
    ledger.settle({"pool"})  # somebody looks before it goes
    goes.close()
    ledger.settle({"pool"})
    assert (total(ledger), of_service(ledger, "pool")) == (5, 5)
    assert sum(each.by_class[5] for each in ledger.counters()) == 3
    assert sum(each.errors.get("UPSTREAM_BUSY", 0) for each in ledger.counters()) == 3
    assert sum(each.bytes_out for each in ledger.counters()) == 50


def test_what_was_noted_before_a_route_went_is_counted_after_it() -> None:
    """The last exchange of a route waits in a batch when the route is closed."""
    ledger = Ledger()
    counters = ledger.open("pool")
    counters.close()
    count(counters)  # the observer's flush
    ledger.settle({"pool"})
    assert (total(ledger), of_service(ledger, "pool")) == (1, 1)


def test_a_service_that_is_gone_is_forgotten_and_still_counted() -> None:
    """Its series vanishes; the sum of everything keeps what it had."""
    ledger = Ledger()
    counters = ledger.open("old")
    count(counters, 4)
    counters.close()
    ledger.settle({"new"})
    assert ledger.by_service() == {}
    assert total(ledger) == 4


def test_a_route_that_drains_is_counted_until_it_is_gone_and_after() -> None:
    """It is in no configuration any more, and still answers."""
    ledger = Ledger()
    drains = ledger.open("pool")
    count(drains, 2)
    ledger.settle({"pool"})
    assert (total(ledger), len(ledger.counters())) == (2, 2)
    count(drains)
    drains.close()
    ledger.settle({"pool"})
    assert (total(ledger), len(ledger.counters())) == (3, 1)


def test_reloads_without_end_leave_one_set_of_sums() -> None:
    """However often routes come and go, what is kept does not grow."""
    ledger = Ledger()
    for _ in range(100):
        counters = ledger.open("pool")
        count(counters)
        counters.close()
        ledger.settle({"pool"})
    assert total(ledger) == 100
    assert len(ledger.counters()) == 1

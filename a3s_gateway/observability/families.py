"""The metrics: their names, their labels, what they mean, and where their numbers come from."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from attrs import frozen

from a3s_gateway.faults import FAULTS
from a3s_gateway.observability.counters import Histogram, RouteCounters
from a3s_gateway.observability.facts import Circuit, Facts
from a3s_gateway.service.backend import Backend
from a3s_gateway.service.hub import ChannelCounters, Hub

Number = int | float
Series = tuple[tuple[str, ...], Number]  # the values of the labels, and the number
Distribution = tuple[tuple[str, ...], Histogram]


@frozen
class Family:
    """
    One metric.

    Attributes:
        name: As it is exposed; that of a counter ends in `_total`.
        labels: In alphabetical order; their values come from the configuration, or from a list.
        read: Yields its series.

    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    read: Callable[[Facts], Iterable[Series]]


@frozen
class Histograms:
    """One metric whose series are distributions of seconds over `counters.BOUNDS`."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[Facts], Iterable[Distribution]]


def _total(of: Callable[[RouteCounters], int]) -> Callable[[Facts], Iterable[Series]]:
    return lambda facts: [((), sum(of(each) for each in facts.counters()))]


def _one(of: Callable[[Facts], Number]) -> Callable[[Facts], Iterable[Series]]:
    return lambda facts: [((), of(facts))]


def _by_router(of: Callable[[RouteCounters], int]) -> Callable[[Facts], Iterable[Series]]:
    return lambda facts: (((each.name,), of(each.counters)) for each in facts.routes)


def _by_service(of: Callable[[RouteCounters], int]) -> Callable[[Facts], Iterable[Series]]:
    return lambda facts: (
        ((name,), sum(of(each) for each in found)) for name, found in facts.by_service().items()
    )


def _by_class(facts: Facts) -> Iterator[Series]:
    for digit in range(2, 6):
        yield (f"{digit}xx",), sum(each.by_class[digit] for each in facts.counters())


def _by_code(facts: Facts) -> Iterator[Series]:
    """Yield every code there is, so that a first error is seen as an increase from 0."""
    counts = dict.fromkeys(FAULTS, 0)
    for each in facts.counters():
        for code, count in each.errors.items():
            counts[code] = counts.get(code, 0) + count
    return (((code,), count) for code, count in counts.items())


def _by_backend(
    of: Callable[[Facts, Backend], Number], join: Callable[[Iterable[Number]], Number] = sum
) -> Callable[[Facts], Iterable[Series]]:
    """Read a number of each server; one that a service lists twice is one series."""

    def read(facts: Facts) -> Iterator[Series]:
        for service, backends in facts.services.items():
            found: dict[str, list[Number]] = {}
            for backend in backends:
                found.setdefault(backend.url, []).append(of(facts, backend))
            for url, numbers in found.items():
                yield (url, service), join(numbers)

    return read


def _by_connection(facts: Facts) -> Iterator[Series]:
    def count(state: str) -> Callable[[Facts, Backend], Number]:
        def of(facts: Facts, backend: Backend) -> int:
            pool = facts.pools.get(backend)
            if pool is None:
                return 0
            return pool.idle if state == "idle" else pool.open - pool.idle

        return of

    for state in ("active", "idle"):
        for (url, service), number in _by_backend(count(state))(facts):
            yield (url, service, state), number


def _unrouted(facts: Facts) -> Iterator[Series]:
    for name, counters in facts.unrouted.items():
        if name in facts.connections:  # those of an entrypoint that is gone count in the sums alone
            yield (name,), counters.requests


def _by_direction(unit: str) -> Callable[[Facts], Iterable[Series]]:
    def read(facts: Facts) -> Iterator[Series]:
        for direction in ("in", "out"):
            for name, counters in facts.datagrams.items():
                yield (direction, name), getattr(counters, f"{unit}_{direction}")

    return read


def _by_reason(facts: Facts) -> Iterator[Series]:
    for name, counters in facts.datagrams.items():
        for reason, count in counters.dropped.items():
            yield (name, reason), count


def _by_circuit(of: Callable[[Circuit], int]) -> Callable[[Facts], Iterable[Series]]:
    def read(facts: Facts) -> Iterator[Series]:
        services = facts.by_service()
        for middleware, circuits in facts.circuits.items():
            for service, circuit in circuits.items():
                if service in services:
                    yield (middleware, service), of(circuit)

    return read


def _by_channel(of: Callable[[ChannelCounters], int]) -> Callable[[Facts], Iterable[Series]]:
    return lambda facts: (((name,), of(each)) for name, each in facts.channels.items())


def _of_hub(of: Callable[[Hub], int]) -> Callable[[Facts], Iterable[Series]]:
    return lambda facts: [((), of(facts.hub))] if facts.hub is not None else []


def _by_outcome(facts: Facts) -> Iterator[Series]:
    yield ("failure",), facts.reloads.failed
    yield ("success",), facts.reloads.succeeded


def _expiries(facts: Facts) -> Iterator[Series]:
    for name, found in facts.certificates.by_entrypoint.items():
        for file, each in {each.cert_file: each for each in found}.items():
            yield (file, name), each.not_after.timestamp()


def _renewals(facts: Facts) -> Iterator[Series]:
    yield ("failure",), facts.certificates.failed
    yield ("success",), facts.certificates.renewed


def _build(facts: Facts) -> Iterator[Series]:
    yield (platform.python_version(), facts.version), 1


COUNTS: Final = (
    Family("gateway_requests_total", "counter", "Total number of requests.", (),
           _total(lambda c: c.requests)),
    Family("gateway_responses_total", "counter", "Total responses by status class.",
           ("status_class",), _by_class),
    Family("gateway_response_bytes_total", "counter", "Total response bytes.", (),
           _total(lambda c: c.bytes_out)),
    Family("gateway_request_bytes_total", "counter", "Total bytes of request bodies.", (),
           _total(lambda c: c.bytes_in)),
    Family("gateway_errors_total", "counter",
           "Requests that the gateway answered itself, or that broke off, by code.",
           ("code",), _by_code),
    Family("gateway_active_connections", "gauge", "Current active connections of clients.", (),
           _one(lambda f: sum(f.connections.values()))),
    Family("gateway_entrypoint_connections", "gauge",
           "Current connections of clients per entrypoint; where UDP is spoken, sessions.",
           ("entrypoint",),
           lambda facts: (((name,), count) for name, count in facts.connections.items())),
    Family("gateway_entrypoint_unrouted_requests_total", "counter",
           "Requests that no router took, per entrypoint.", ("entrypoint",), _unrouted),
    Family("gateway_udp_datagrams_total", "counter",
           "Datagrams from clients (in) and to them (out), per UDP entrypoint.",
           ("direction", "entrypoint"), _by_direction("datagrams")),
    Family("gateway_udp_bytes_total", "counter", "Bytes of these datagrams.",
           ("direction", "entrypoint"), _by_direction("bytes")),
    Family("gateway_udp_dropped_datagrams_total", "counter",
           "Datagrams that went no further, in either direction, by reason: see udp.md.",
           ("entrypoint", "reason"), _by_reason),
    Family("gateway_router_requests_total", "counter", "Requests per router.", ("router",),
           _by_router(lambda c: c.requests)),
    Family("gateway_router_errors_total", "counter", "Error responses (4xx and 5xx) per router.",
           ("router",), _by_router(lambda c: c.refused)),
    Family("gateway_router_latency_microseconds_total", "counter",
           "Cumulative latency, to the first byte of the response, per router in microseconds.",
           ("router",), _by_router(lambda c: int(c.first_byte.sum * 1e6))),
    Family("gateway_service_requests_total", "counter", "Requests per service.", ("service",),
           _by_service(lambda c: c.requests)),
    Family("gateway_service_errors_total", "counter", "Error responses (4xx and 5xx) per service.",
           ("service",), _by_service(lambda c: c.refused)),
    Family("gateway_middleware_invocations_total", "counter", "Invocations per middleware.",
           ("middleware",),
           lambda facts: (((name,), each.count) for name, each in facts.invocations.items())),
    Family("gateway_middleware_refusals_total", "counter",
           "Requests that the middleware answered itself.", ("middleware",),
           lambda facts: (((name,), each.refused) for name, each in facts.invocations.items())),
    Family("gateway_backend_requests_total", "counter",
           "Requests per backend; one that is tried twice counts twice.", ("backend", "service"),
           _by_backend(lambda _, backend: backend.requests)),
    Family("gateway_backend_failures_total", "counter",
           "Attempts at a backend that came to no answer.", ("backend", "service"),
           _by_backend(lambda _, backend: backend.failures)),
    Family("gateway_backend_healthy", "gauge", "Whether the backend may be picked.",
           ("backend", "service"), _by_backend(lambda _, backend: int(backend.available), max)),
    Family("gateway_backend_in_flight", "gauge", "Requests that the backend carries now.",
           ("backend", "service"), _by_backend(lambda _, backend: backend.in_flight)),
    Family("gateway_backend_connections", "gauge",
           "Current connections to the backend: in use, or kept for the next request.",
           ("backend", "service", "state"), _by_connection),
    Family("gateway_circuit_breaker_state", "gauge",
           "State of the circuit breaker for the service: 0 closed, 1 half-open, 2 open.",
           ("middleware", "service"), _by_circuit(lambda c: int(c.state))),
    Family("gateway_circuit_breaker_opened_total", "counter",
           "How often the circuit breaker has opened for the service.",
           ("middleware", "service"), _by_circuit(lambda c: c.opened)),
    Family("gateway_mux_connections", "gauge", "Current connections to `mux@internal`.", (),
           _of_hub(lambda hub: len(hub.members))),
    Family("gateway_mux_subscriptions", "gauge",
           "Current subscriptions per entry of `ws_mux.channels`.", ("channel",),
           _by_channel(lambda c: c.subscriptions)),
    Family("gateway_mux_published_messages_total", "counter",
           "Messages that clients have published, per entry.", ("channel",),
           _by_channel(lambda c: c.published)),
    Family("gateway_mux_delivered_messages_total", "counter",
           "Messages sent to subscribers, each counted once per subscriber, per entry.",
           ("channel",), _by_channel(lambda c: c.delivered)),
    Family("gateway_mux_dropped_messages_total", "counter",
           "Messages that subscribers have missed since they read too slowly, per entry.",
           ("channel",), _by_channel(lambda c: c.dropped)),
    Family("gateway_mux_received_messages_total", "counter",
           "Messages that other gateways have published, per entry.", ("channel",),
           _by_channel(lambda c: c.received)),
    Family("gateway_mux_lost_messages_total", "counter",
           "Messages that other gateways could not be told, since Redis did not take them.", (),
           _of_hub(lambda hub: hub.lost)),
    Family("gateway_name_lookups_total", "counter",
           "Lookups of the names of servers: found, not_found, or timeout.", ("outcome",),
           lambda facts: (((name,), count) for name, count in facts.lookups.items())),
    Family("gateway_config_last_reload_successful", "gauge",
           "Whether the last reload put its configuration in force; 1 before the first.", (),
           _one(lambda f: int(f.reloads.is_last_successful))),
    Family("gateway_config_last_reload_success_timestamp_seconds", "gauge",
           "When a configuration was last put in force, in seconds since 1970.", (),
           _one(lambda f: f.reloads.last_success_at)),
    Family("gateway_config_last_reload_attempt_timestamp_seconds", "gauge",
           "When a reload was last tried, in seconds since 1970; 0 before the first.", (),
           _one(lambda f: f.reloads.last_at)),
    Family("gateway_config_reloads_total", "counter",
           "Reloads by outcome.", ("outcome",), _by_outcome),
    Family("gateway_tls_certificate_not_after_timestamp_seconds", "gauge",
           "When the certificate expires, in seconds since 1970; it is named by its file.",
           ("certificate", "entrypoint"), _expiries),
    Family("gateway_tls_certificate_renewals_total", "counter",
           "Changes of certificates' files, by whether they could be put in force.",
           ("outcome",), _renewals),
    Family("gateway_access_log_dropped_lines_total", "counter",
           "Lines of the access log that could not be written in time.", (),
           _one(lambda f: f.lost_lines)),
    Family("gateway_tracing_lost_spans_total", "counter",
           "Spans that no collector has taken.", (), _one(lambda f: f.lost_spans)),
    Family("gateway_build_info", "gauge", "The version that runs; the value is always 1.",
           ("python", "version"), _build),
)  # fmt: skip

TIMES: Final = (
    Histograms("gateway_request_duration_seconds",
               "From the first byte of a request to the end of the exchange.",
               ("router", "service"),
               lambda facts: (((r.name, r.service), r.counters.duration) for r in facts.routes)),
    Histograms("gateway_time_to_first_byte_seconds",
               "From the first byte of a request to the first byte of its response.",
               ("router", "service"),
               lambda facts: (((r.name, r.service), r.counters.first_byte) for r in facts.routes)),
    Histograms("gateway_middleware_duration_seconds",
               "From when a middleware gets a request to when it passes it on, or answers itself.",
               ("middleware",),
               lambda facts: (((n,), each.duration) for n, each in facts.invocations.items())),
)  # fmt: skip

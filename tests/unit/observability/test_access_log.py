from __future__ import annotations

import json
import random
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.body import Body
from a3s_gateway.config.observability import ACCESS_LOG_FIELDS
from a3s_gateway.headers import Header, Headers
from a3s_gateway.http import Exchange, Request
from a3s_gateway.observability.access_log import FIELDS, AccessLogFormat, _Quoted

NOW = datetime(2026, 3, 7, 8, 9, 10, 123456, UTC).timestamp()
ANY_BYTES = st.binary(max_size=40).map(lambda data: data.decode("latin-1"))
ANY_TEXT = ANY_BYTES | st.text(st.characters(exclude_categories=["Cs"]))


def exchange(**changed: Any) -> Exchange:
    facts: dict[str, Any] = {
        "client": "203.0.113.9",
        "request_id": "req-1",
        "router": "api",
        "service": "users",
        "backend": "http://127.0.0.1:8001",
        "attempts": 1,
        "status": 200,
        "bytes_in": 12,
        "bytes_out": 345,
        "first_byte_at": 50.0015,
    }
    made = Exchange("web", "192.0.2.1", 50.0)
    for name, value in {**facts, **changed}.items():
        setattr(made, name, value)
    return made


def field_line(name: str, value: str) -> Header:
    """A header with any characters at all, also those that no parser lets through."""
    return Header(name, value, b"")


def request(**changed: Any) -> Request:
    headers = Headers.of(
        ("Host", "example.com"), ("User-Agent", "curl/8.5"), ("Referer", "https://example.com/")
    )
    facts: dict[str, Any] = {
        "method": "GET",
        "path": "/v1/users",
        "query": "page=2",
        "host": "example.com",
        "authority": "example.com:8443",
        "version": 11,
        "scheme": "https",
        "headers": headers,
        "body": Body.of(b""),
        "client": "203.0.113.9",
        "exchange": exchange(),
    }
    return Request(**{**facts, **changed})


def render(format: AccessLogFormat, head: Request | None, facts: Exchange, now: float = NOW) -> str:
    line = format.compile(lambda: 0.0)(head, facts, now, 0.0025)
    assert line is not None
    return line


JSON = AccessLogFormat()
COMMON = AccessLogFormat("common")
COMBINED = AccessLogFormat("combined")


def test_a_json_line_has_every_field_in_order() -> None:
    """The documented fields, in the documented order, on one line without blanks."""
    assert render(JSON, request(), exchange()) == (
        '{"timestamp":"2026-03-07T08:09:10.123456+00:00","client_ip":"203.0.113.9",'
        '"method":"GET","path":"/v1/users","host":"example.com:8443","status":200,'
        '"response_bytes":345,"duration_ms":2.500,"backend":"http://127.0.0.1:8001",'
        '"router":"api","entrypoint":"web","user_agent":"curl/8.5","request_id":"req-1",'
        '"trace_id":null,"protocol":"HTTP/1.1","request_bytes":12,"first_byte_ms":1.500,'
        '"service":"users","attempts":1,"code":null,"user":null,"tls":true}'
    )


def test_what_is_not_known_is_null() -> None:
    """A request without a route, a backend and a user agent has the fields all the same."""
    facts = exchange(
        router="",
        service="",
        backend="",
        attempts=0,
        status=404,
        code="NO_ROUTE",
        first_byte_at=0.0,
    )
    line = json.loads(render(JSON, request(headers=Headers(), scheme="http"), facts))
    nulls = {name for name, value in line.items() if value is None}
    unknown = {"backend", "router", "user_agent", "trace_id", "first_byte_ms", "service", "user"}
    assert nulls == unknown
    assert (line["status"], line["code"], line["tls"]) == (404, "NO_ROUTE", False)


def test_a_refused_connection_is_logged_without_a_head() -> None:
    """Bytes that were no request leave a line too, with the same fields and the client."""
    facts = Exchange("web", "192.0.2.1", 50.0)
    facts.status, facts.code, facts.bytes_out = 400, "BAD_REQUEST", 90
    line = json.loads(render(JSON, None, facts))
    assert tuple(line) == tuple(FIELDS)
    known = {name: value for name, value in line.items() if value is not None}
    assert known == {
        "timestamp": "2026-03-07T08:09:10.123456+00:00",
        "client_ip": "192.0.2.1",
        "status": 400,
        "response_bytes": 90,
        "duration_ms": 2.5,
        "entrypoint": "web",
        "request_bytes": 0,
        "attempts": 0,
        "code": "BAD_REQUEST",
    }


@pytest.mark.parametrize(("version", "name"), [(10, "1.0"), (11, "1.1"), (20, "2.0")])
def test_the_protocol_is_the_clients(version: int, name: str) -> None:
    """What the client spoke, not what the gateway spoke to the backend."""
    head = request(version=version)
    assert json.loads(render(JSON, head, exchange()))["protocol"] == f"HTTP/{name}"
    assert f' HTTP/{name}" ' in render(COMMON, head, exchange())


def test_apache_formats_are_apaches() -> None:
    """Tools that read Apache's logs read these."""
    line = '203.0.113.9 - - [07/Mar/2026:08:09:10 +0000] "GET /v1/users?page=2 HTTP/1.1" 200 345'
    assert render(COMMON, request(), exchange()) == line
    assert render(COMBINED, request(), exchange()) == f'{line} "https://example.com/" "curl/8.5"'


def test_who_the_client_has_proved_to_be() -> None:
    """Apache has a column for it, in which a space must not be one."""
    assert json.loads(render(JSON, request(), exchange(user="alice")))["user"] == "alice"
    assert render(COMMON, request(), exchange(user="a b")).startswith("203.0.113.9 - a\\x20b [07/")


def test_apache_formats_have_a_dash_for_what_is_not_there() -> None:
    """No request, no status, no bytes, no referer: the columns stay."""
    facts = Exchange("web", "", 50.0)
    line = '- - - [07/Mar/2026:08:09:10 +0000] "-" 000 -'
    assert render(COMMON, None, facts) == line
    assert render(COMBINED, None, facts) == f'{line} "-" "-"'
    assert render(COMBINED, request(headers=Headers()), exchange()).endswith(' 345 "-" "-"')


@pytest.mark.parametrize(
    ("sent", "logged"),
    [
        ('"', r"\""),
        ("\\", r"\\"),
        ("\n", r"\x0a"),
        ("\x7f", r"\x7f"),
        ("é", r"\xe9"),
        ("€", r"\U000020ac"),
    ],
)
def test_apache_formats_escape_what_could_mislead(sent: str, logged: str) -> None:
    """A quote does not end a field, a line feed does not end the line."""
    head = request(headers=Headers([field_line("user-agent", f"a{sent}b")]))
    assert render(COMBINED, head, exchange()).endswith(f' "-" "a{logged}b"')


@given(text=ANY_TEXT, place=st.sampled_from(["path", "authority", "method", "user-agent"]))
def test_a_request_cannot_break_json(text: str, place: str) -> None:
    """Whatever bytes a client sends, the line is one line of ASCII, and says just these bytes."""
    headers = Headers([field_line("user-agent", text if place == "user-agent" else "x")])
    head = request(headers=headers, **({} if place == "user-agent" else {place: text}))
    line = render(JSON, head, exchange())
    assert line.isascii()
    assert "\n" not in line
    assert "\r" not in line
    parsed = json.loads(line)
    assert tuple(parsed) == tuple(FIELDS)
    key = {"authority": "host", "user-agent": "user_agent"}.get(place, place)
    assert parsed[key] == text or (text == "" and parsed[key] is None)


@given(
    text=ANY_TEXT,
    name=st.sampled_from(["client", "request_id", "router", "service", "backend", "code"]),
)
def test_a_fact_cannot_break_json(text: str, name: str) -> None:
    """Also what comes from trusted proxies, providers and the configuration is escaped."""
    key = {"client": "client_ip"}.get(name, name)
    line = render(JSON, request(), exchange(**{name: text}))
    assert line.isascii()
    assert json.loads(line)[key] == (text or ("192.0.2.1" if name == "client" else None))


COMBINED_LINE = re.compile(
    r'[!-~]+ - - \[[^\]]+\] "(?:\\.|[^"\\])*" \d{3} (?:\d+|-) "(?:\\.|[^"\\])*" "(?:\\.|[^"\\])*"'
)


@given(text=ANY_TEXT, place=st.sampled_from(["path", "query", "method", "referer", "user-agent"]))
def test_a_request_cannot_break_an_apache_line(text: str, place: str) -> None:
    """The columns are where they were, and nothing unprintable reaches a terminal."""
    if place in ("referer", "user-agent"):
        head = request(headers=Headers([field_line(place, text)]))
    else:
        head = request(**{place: text})
    line = render(COMBINED, head, exchange())
    assert line.isascii()
    assert line.isprintable()
    assert COMBINED_LINE.fullmatch(line)


@given(ANY_TEXT)
def test_a_client_address_is_one_column(text: str) -> None:
    """What a trusted proxy calls the client cannot add a column."""
    line = render(COMBINED, request(), exchange(client=text))
    assert COMBINED_LINE.fullmatch(line)


@given(st.floats(0, 4e9), st.sampled_from([0.0, 0.25, 0.999999]))
def test_timestamps_read_back(now: float, fraction: float) -> None:
    """The time is RFC 3339 in UTC, to the microsecond, in any order of calls."""
    line = JSON.compile(random.Random(1).random)
    for moment in (now, now + fraction, now):
        text = line(request(), exchange(), moment, 0.1)
        assert text is not None
        read = datetime.fromisoformat(json.loads(text)["timestamp"])
        assert abs(read.timestamp() - moment) < 2e-6


def test_fields_are_chosen_in_the_users_order() -> None:
    """Only what is asked for is there, as it was asked for."""
    chosen = AccessLogFormat(fields=("status", "path", "trace_id", "timestamp"))
    assert render(chosen, request(), exchange()) == (
        '{"status":200,"path":"/v1/users","trace_id":null,'
        '"timestamp":"2026-03-07T08:09:10.123456+00:00"}'
    )


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_can_stand_alone(name: str) -> None:
    """One field is its value of the full line, with a request and without one."""
    alone = AccessLogFormat(fields=(name,))
    for head in (request(), None):
        full = json.loads(render(JSON, head, exchange(code="X")))
        assert json.loads(render(alone, head, exchange(code="X"))) == {name: full[name]}


def test_every_field_that_can_be_configured_is_there() -> None:
    """What the configuration accepts is what there is, in the same order."""
    assert tuple(FIELDS) == ACCESS_LOG_FIELDS


def test_an_unknown_field_is_an_error_at_load() -> None:
    """A name that is not a field is neither ignored nor run."""
    with pytest.raises(ValueError, match=re.escape("unknown field of the access log: {exit()}")):
        AccessLogFormat(fields=("path", "{exit()}")).compile(random.random)


def test_fixed_formats_have_no_fields() -> None:
    """A choice that would have no effect is refused."""
    with pytest.raises(ValueError, match="combined"):
        AccessLogFormat("combined", fields=("path",)).compile(random.random)


def test_a_sample_keeps_every_error() -> None:
    """Of good answers a share is logged, of everything else all."""
    draws = iter([0.249, 0.25, 0.9])
    line = AccessLogFormat(sample=0.25).compile(draws.__next__)
    logged = [
        line(request(), facts, NOW, 0.1) is not None
        for facts in (
            exchange(status=200),
            exchange(status=204),
            exchange(status=399),
            exchange(status=200, code="UPSTREAM_RESET"),
            exchange(status=400),
            exchange(status=503),
            exchange(status=0),
            exchange(status=101),
        )
    ]
    assert logged == [True, False, False, True, True, True, True, True]


def test_a_sample_of_none_logs_errors_only() -> None:
    """`sample = 0` is a log of errors."""
    line = AccessLogFormat(sample=0.0).compile(lambda: 0.0)
    assert line(request(), exchange(), NOW, 0.1) is None
    assert line(request(), exchange(status=500), NOW, 0.1) is not None


def test_many_different_clients_do_not_fill_the_memory() -> None:
    """The cache of texts has an end, however many and however long they are, and stays right."""
    quoted = _Quoted({"": "null"})
    for number in range(5000):
        text = f'agent "{number}"' + "x" * (number % 300)
        assert quoted[text] == json.dumps(text)
        assert quoted[""] == "null"
    assert len(quoted) <= 1024
    assert max(map(len, quoted)) <= 256


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("traceparent", f"00-{'a' * 32}-{'b' * 16}-00", "a" * 32),
        ("b3", f"{'a' * 16}-{'b' * 16}", "0" * 16 + "a" * 16),
        ("traceparent", f"00-{'A' * 32}-{'b' * 16}-00", None),
        ("b3", "0", None),
    ],
)
def test_a_line_tells_the_trace_of_its_request(name: str, value: str, shown: str | None) -> None:
    """If its caller says so in a way that is valid."""
    line = json.loads(render(JSON, request(headers=Headers.of((name, value))), exchange()))
    assert line["trace_id"] == shown

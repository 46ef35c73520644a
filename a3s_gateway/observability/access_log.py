"""
One line per exchange, in JSON or in the formats of Apache; pure, and compiled at load.

Whatever a client sends, the line stays one line: JSON is escaped to ASCII, and in the other
formats everything outside printable ASCII, quotes and backslashes becomes an escape.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii
from typing import Final, Literal

from attrs import define, field, frozen

from a3s_gateway.headers import Headers
from a3s_gateway.http import Exchange, Request

from .trace import find_trace_id

Line = Callable[[Request | None, Exchange, float, float], str | None]
"""
Renders an exchange that has ended: `line(request, exchange, now, duration)`.

`request` is the head as it came in, None when it was refused before there was one; `now` is
wall-clock time (seconds since 1970), `duration` in seconds. None means: sampled, not logged.
"""

# The JSON fields in their order: what stands in an f-string for the value. Those that read
# `request` are null where there is none.
FIELDS: Final = {
    "timestamp": '"{date(int(now))}.{int(now % 1 * 1_000_000):06d}+00:00"',
    "client_ip": "{quoted[exchange.client or exchange.peer]}",
    "method": "{quoted[request.method]}",
    "path": "{escape(request.path)}",
    "host": "{quoted[request.authority]}",
    "status": "{exchange.status}",
    "response_bytes": "{exchange.bytes_out}",
    "duration_ms": "{duration * 1000:.3f}",
    "backend": "{quoted[exchange.backend]}",
    "router": "{quoted[exchange.router]}",
    "entrypoint": "{quoted[exchange.entrypoint]}",
    "user_agent": '{quoted[request.headers.find("user-agent") or ""]}',
    "request_id": '{escape(exchange.request_id) if exchange.request_id else "null"}',
    "trace_id": "{trace(request.headers)}",
    "protocol": '"{protocols[request.version]}"',
    "request_bytes": "{exchange.bytes_in}",
    "first_byte_ms": (
        '{f"{(exchange.first_byte_at - exchange.started_at) * 1000:.3f}"'
        ' if exchange.first_byte_at else "null"}'
    ),
    "service": "{quoted[exchange.service]}",
    "attempts": "{exchange.attempts}",
    "code": "{quoted[exchange.code]}",
    "user": "{quoted[exchange.user]}",
    "tls": '{"true" if request.scheme == "https" else "false"}',
}
_PROTOCOLS: Final = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2.0"}
# In English wherever the gateway runs: strftime's are in the language of the locale.
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip

_MAX_CACHED: Final = 1024  # texts
_MAX_CACHED_LENGTH: Final = 256  # characters; user agents are longer only to do harm


@frozen
class AccessLogFormat:
    """
    What is logged, and how.

    Attributes:
        format: `common` and `combined` are Apache's formats of these names.
        fields: Those of `FIELDS` to write, in this order; empty: all, in theirs.
        sample: Share of the exchanges with a status of 2xx or 3xx that is logged; all
            others always are.

    """

    format: Literal["json", "common", "combined"] = "json"
    fields: Sequence[str] = ()
    sample: float = 1.0

    def compile(self, random: Callable[[], float]) -> Line:
        """
        Build the function that renders a line; `random` is uniform in [0, 1).

        Raises:
            ValueError: A field is unknown, or fields are chosen for a fixed format.

        """
        line = self._unsampled()
        return line if self.sample >= 1 else _sampled(line, self.sample, random)

    def _unsampled(self) -> Line:
        if self.format == "json":
            return _json_line(self.fields or tuple(FIELDS))
        if self.fields:
            raise ValueError(f"the format {self.format} has no fields to choose")
        return _ApacheLine(has_agent=self.format == "combined").render


def _sampled(line: Line, share: float, random: Callable[[], float]) -> Line:
    def sampled(
        request: Request | None, exchange: Exchange, now: float, duration: float
    ) -> str | None:
        if 200 <= exchange.status < 400 and not exchange.code and random() >= share:
            return None
        return line(request, exchange, now, duration)

    return sampled


class _Quoted(dict[str, str]):
    """
    JSON strings by their text: a bounded cache.

    Names of the configuration, client addresses, hosts and user agents repeat; emptied
    when it is full, because an attacker can send new ones for ever.
    """

    def __missing__(self, text: str) -> str:
        quoted = encode_basestring_ascii(text)
        if len(text) <= _MAX_CACHED_LENGTH:
            if len(self) >= _MAX_CACHED:
                self.clear()
                self[""] = "null"
            self[text] = quoted
        return quoted


def _trace(headers: Headers) -> str:
    trace_id = find_trace_id(headers)
    return f'"{trace_id}"' if trace_id is not None else "null"


def _without_head(name: str, value: str) -> str:
    if name == "protocol":
        return "{quoted[exchange.protocol]}"
    if name == "host":
        return "{quoted[exchange.server_name]}"
    return "null" if re.search(r"\brequest\b", value) else value


def _json_line(names: Sequence[str]) -> Line:
    """
    Compile one f-string of these fields, which costs half of any template filled at run time.

    Its source is made of constants of this module alone.
    """
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        raise ValueError(f"unknown field of the access log: {unknown[0]}")
    with_head = ",".join(f'"{name}":{FIELDS[name]}' for name in names)
    headless = ",".join(f'"{name}":{_without_head(name, FIELDS[name])}' for name in names)
    source = (
        "lambda request, exchange, now, duration: "
        f"f'''{{{{{with_head}}}}}''' if request is not None else f'''{{{{{headless}}}}}'''"
    )
    scope = {
        "date": _Date(_rfc3339).of,
        "escape": encode_basestring_ascii,
        "protocols": _PROTOCOLS,
        "quoted": _Quoted({"": "null"}),
        "trace": _trace,
    }
    line: Line = eval(source, scope)  # noqa: S307 - see the docstring
    return line


_UNSAFE: Final = re.compile(r"[^ !#-\[\]-~]")  # in quotes
_UNSAFE_BARE: Final = re.compile(r"[^!#-\[\]-~]")  # outside of them, where a space ends the field


def _escape(match: re.Match[str]) -> str:
    """Write one character as Apache does, and those that it does not know as C does."""
    character = match[0]
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\U{code:08x}"


@define(eq=False)
class _Date:
    """Formats the second that it is now, once."""

    _format: Callable[[time.struct_time], str]
    _second: int = field(default=-1, init=False)
    _text: str = field(default="", init=False)

    def of(self, second: int) -> str:
        """Return `second` as text, in UTC."""
        if second != self._second:
            self._second = second
            self._text = self._format(time.gmtime(second))
        return self._text


def _rfc3339(day: time.struct_time) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", day)


def _apache(day: time.struct_time) -> str:
    month = _MONTHS[day.tm_mon - 1]
    return f"{day.tm_mday:02d}/{month}/{day.tm_year}:{time.strftime('%H:%M:%S', day)} +0000"


@define(eq=False)
class _ApacheLine:
    """Renders Apache's `%h - %u %t "%r" %>s %b`, and for `combined` referer and user agent."""

    has_agent: bool
    _date: _Date = field(factory=lambda: _Date(_apache), init=False)

    def render(
        self, request: Request | None, exchange: Exchange, now: float, _duration: float
    ) -> str:
        """See `Line`."""
        client = exchange.client or exchange.peer or "-"
        what = agent = referer = "-"
        user = _UNSAFE_BARE.sub(_escape, exchange.user or "-")
        if request is not None:
            what = f"{request.method} {request.target} {_PROTOCOLS[request.version]}"
            if self.has_agent:
                referer = _UNSAFE.sub(_escape, request.headers.find("referer") or "-")
                agent = _UNSAFE.sub(_escape, request.headers.find("user-agent") or "-")
        line = (
            f"{_UNSAFE_BARE.sub(_escape, client)} - {user} [{self._date.of(int(now))}]"
            f' "{_UNSAFE.sub(_escape, what)}" {exchange.status:03d} {exchange.bytes_out or "-"}'
        )
        return f'{line} "{referer}" "{agent}"' if self.has_agent else line

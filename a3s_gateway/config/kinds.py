"""The kinds of values: what each accepts, and what it makes of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, cast

from a3s_gateway.config.schema import Json, RejectedError, ScalarKind
from a3s_gateway.hcl.diagnostics import nearest
from a3s_gateway.hcl.nodes import Plain

Network = IPv4Network | IPv6Network

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kKMGT]?)(i?)B?")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LISTED = 8  # words of a choice that a message lists
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS_RANGE = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")


def _text(value: Plain) -> str:
    if not isinstance(value, str):
        raise RejectedError("text", "put it in double quotes")
    return value


def _word(value: Plain) -> str:
    text = _text(value)
    if not text.strip():
        raise RejectedError("text", found="empty")
    if _CONTROL.search(text):
        raise RejectedError("text without control characters")
    return text


def _flag(value: Plain) -> bool:
    if value in {"true", "false"}:
        raise RejectedError("true or false", "write it without quotes")
    if not isinstance(value, bool):
        raise RejectedError("true or false")
    return value


TEXT = ScalarKind("text", _text)
WORD = ScalarKind("text", _word)
FLAG = ScalarKind("true or false", _flag)
PATH = ScalarKind("path", _word, is_path=True)
PATH_OR_STDOUT = ScalarKind("path", _text, is_path=True)


def number(
    low: float = -math.inf, high: float = math.inf, *, above: bool = False
) -> ScalarKind[float]:
    """Accept a number from `low` to `high`; with `above` not `low` itself."""
    expected = f"a number {_range(low, high, above=above)}".rstrip()

    def parse(value: Plain) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise RejectedError(expected, _unquote(value))
        if not low <= value <= high or (above and value == low) or math.isinf(value):
            raise RejectedError(expected)
        return float(value)

    return ScalarKind(f"number {_range(low, high, above=above)}".rstrip(), parse, _whole)


def integer(low: int = 0, high: int | None = None) -> ScalarKind[int]:
    """Accept a whole number from `low` to `high`."""
    limits = _range(low, math.inf if high is None else high)
    expected = f"a whole number {limits}".rstrip()

    def parse(value: Plain) -> int:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise RejectedError(expected, _unquote(value))
        if value != value // 1 or value < low or (high is not None and value > high):
            raise RejectedError(expected)
        return int(value)

    return ScalarKind(f"whole number {limits}".rstrip(), parse)


def _range(low: float, high: float, *, above: bool = False) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f"above {low:g}" if above else f"of at least {_plain(low)}"
    if above:
        return f"above {low:g} and up to {high:g}"
    return f"from {_plain(low)} to {_plain(high)}"


def _plain(limit: float) -> str:
    return str(int(limit)) if limit == int(limit) else f"{limit:g}"


def _unquote(value: Plain) -> str:
    is_number = isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value)
    return f"write {value}, without quotes" if is_number else ""


def choice(*options: str) -> ScalarKind[Any]:
    """Accept one of a few words."""
    listed = " or ".join([", ".join(f'"{each}"' for each in options[:-1]), f'"{options[-1]}"'])
    title = listed.removeprefix(" or ")
    is_short = len(options) <= _LISTED
    expected = title if is_short else "one of the known words"

    def parse(value: Plain) -> str:
        if value not in options or not isinstance(value, str):
            near = nearest(value, options) if isinstance(value, str) else ""
            hint = f'did you mean "{near}"?' if near.isalpha() or "-" in near or "_" in near else ""
            raise RejectedError(expected, hint or ("" if is_short else f"known: {title}"))
        return value

    return ScalarKind(title, parse)


def duration(low: float = 0.0, *, unit: str = "s") -> ScalarKind[float]:
    """
    Accept a duration: text with units, or a number.

    Args:
        low: The shortest one allowed, in seconds.
        unit: What a bare number counts, and what the value is measured in: "s" or "ms".

    """
    name = {"s": "seconds", "ms": "milliseconds"}[unit]
    expected = f'a duration such as "10s" or "1m30s", or a number of {name}'

    def parse(value: Plain) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = float(value)
        elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
            parts = _DURATION_PART.findall(value)
            found = round(sum(float(n) * _UNITS[u] for n, u in parts) / _UNITS[unit], 9)
        else:
            raise RejectedError(expected, "units are ms, s, m, h and d")
        if not 0 <= found < math.inf:
            raise RejectedError("a duration of zero or more")
        if found * _UNITS[unit] < low:
            raise RejectedError(f'a duration of at least "{_short(low)}"')
        return found

    title = "duration" if unit == "s" else "milliseconds"
    return ScalarKind(title, parse, _whole)


def _short(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


def _whole(value: Any) -> Json:
    """Dump 10.0 as 10, the way people write it."""
    return int(value) if isinstance(value, float) and value == int(value) else cast(Json, value)


def size(low: int = 0) -> ScalarKind[int]:
    """Accept a number of bytes, or text such as "10MB" or "1MiB"."""
    expected = 'a size such as "10MB" or "64KiB", or a number of bytes'

    def parse(value: Plain) -> int:
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
            found = int(value)
        elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
            base = 1024 if match[3] else 1000
            found = int(float(match[1]) * base ** _POWERS[match[2].upper()])
        else:
            raise RejectedError(expected, "units are B, KB, MB, GB, and KiB, MiB, GiB")
        if found < low:
            raise RejectedError(
                f"a size of at least {low} bytes"
                if low > 1
                else "a size above zero"
                if low
                else "a size of zero or more"
            )
        return found

    return ScalarKind("size", parse)


def _network(value: Plain) -> Network:
    text = _text(value).strip()
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        hint = "names of hosts are not allowed here" if re.search(r"[g-z]", text) else ""
        raise RejectedError('an IP address or network such as "10.0.0.0/8"', hint) from error


def _show_network(value: Any) -> Json:
    network = cast(Network, value)
    return (
        str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
    )


NETWORK = ScalarKind("IP address or network", _network, _show_network)


def _token(what: str) -> Callable[[Plain], str]:
    def parse(value: Plain) -> str:
        text = _text(value)
        if not _TOKEN.fullmatch(text):
            raise RejectedError(what)
        return text

    return parse


HEADER_NAME = ScalarKind("header name", _token("the name of a header"))
COOKIE_NAME = ScalarKind("cookie name", _token("the name of a cookie"))
METHOD = ScalarKind("HTTP method", _token("an HTTP method"))


def _header_value(value: Plain) -> str:
    text = _text(value)
    if _CONTROL.search(text) or text != text.strip():
        raise RejectedError("the value of a header: one line, no blanks around it")
    return text


HEADER_VALUE = ScalarKind("header value", _header_value)


def _statuses(value: Plain) -> tuple[tuple[int, int], ...]:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)
    found = []
    for part in text.split(","):
        match = _STATUS_RANGE.fullmatch(part.strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high:
            raise RejectedError('status codes such as "200-399" or "200,204"')
        found.append((low, high))
    return tuple(found)


def _show_statuses(value: Any) -> Json:
    return ",".join(f"{low}-{high}" if low != high else str(low) for low, high in value)


STATUSES = ScalarKind("status codes", _statuses, _show_statuses)


def _redis_url(value: Plain) -> str:
    """Accept what txredisapi connects to; the message must not repeat a password."""
    text = _text(value).strip()
    scheme, separator, rest = text.partition("://")
    if scheme not in {"redis", "rediss", "unix"} or not separator or not rest:
        raise RejectedError('a URL such as "redis://127.0.0.1:6379/0"')
    if scheme != "unix" and not re.fullmatch(r"(?:[^@/]*@)?[^@/:]+(?::\d{1,5})?(?:/\d*)?", rest):
        raise RejectedError('a URL such as "redis://127.0.0.1:6379/0"')
    return text


REDIS_URL = ScalarKind("URL", _redis_url)


def _origin(value: Plain) -> str:
    text = _text(value).strip()
    if text not in {"*", "null"} and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+", text):
        hint = "without a path" if "://" in text else f'try "https://{text}"' if text else ""
        raise RejectedError('an origin such as "https://example.com", or "*"', hint)
    return text


ORIGIN = ScalarKind("origin", _origin)


def _path_prefix(value: Plain) -> str:
    text = _text(value)
    if not text.startswith("/") or re.search(r"[\s?#]", text):
        hint = f'try "/{text}"' if text and re.fullmatch(r"[\w./-]+", text) else ""
        raise RejectedError('the beginning of a path such as "/api"', hint)
    return text


PATH_PREFIX = ScalarKind("path prefix", _path_prefix)

"""The matchers there are, and what arguments each takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final, Literal

from attrs import frozen

from .arguments import (
    canonical_field,
    canonical_host,
    canonical_method,
    canonical_network,
    canonical_path,
    canonical_prefix,
    canonical_sni,
    check_host_regex,
    check_query_key,
    check_query_parameter,
    check_regex,
    check_text,
)

Protocol = Literal["http", "tcp"]
Check = Callable[[str], object]


@frozen
class Signature:
    """
    What a matcher takes.

    Attributes:
        checks: One for each argument; raises `ArgumentError`.
        least: How many of them must be there.
        repeats: Whether more arguments like the last may follow; any one of them matches.
        alone: The check of an argument that is the only one, where that differs.

    """

    checks: tuple[Check, ...]
    least: int
    repeats: bool = False
    alone: Check | None = None

    @classmethod
    def any_of(cls, check: Check) -> Signature:
        """One argument or more, of one kind."""
        return cls((check,), 1, repeats=True)

    @property
    def wanted(self) -> str:
        """How many arguments, in words."""
        most = len(self.checks)
        if self.repeats:
            return f"at least {self.least} argument{'s'[: self.least > 1]}"
        if self.least < most:
            return f"{self.least} or {most} arguments"
        return f"{most} argument{'s'[: most > 1]}"

    def allows(self, count: int) -> bool:
        """Whether there may be so many arguments."""
        return self.least <= count and (self.repeats or count <= len(self.checks))

    def check(self, index: int, count: int) -> Check:
        """Return the check of one argument out of `count`."""
        if count == 1 and self.alone is not None:
            return self.alone
        return self.checks[min(index, len(self.checks) - 1)]


SIGNATURES: Final[Mapping[Protocol, Mapping[str, Signature]]] = {
    "http": {
        "Host": Signature.any_of(canonical_host),
        "HostRegexp": Signature.any_of(check_host_regex),
        "Path": Signature.any_of(canonical_path),
        "PathPrefix": Signature.any_of(canonical_prefix),
        "PathRegexp": Signature.any_of(check_regex),
        "Method": Signature.any_of(canonical_method),
        "Header": Signature((canonical_field, check_text), 2),
        "HeaderRegexp": Signature((canonical_field, check_regex), 2),
        "Query": Signature((check_query_key, check_text), 1, alone=check_query_parameter),
        "QueryRegexp": Signature((check_query_key, check_regex), 1, alone=check_query_parameter),
        "ClientIP": Signature.any_of(canonical_network),
    },
    "tcp": {
        "HostSNI": Signature.any_of(canonical_sni),
        "HostSNIRegexp": Signature.any_of(check_host_regex),
        "ALPN": Signature.any_of(check_text),
        "ClientIP": Signature.any_of(canonical_network),
    },
}
ALIASES: Final = {"headers": "Header", "headersregexp": "HeaderRegexp"}  # Traefik 2's names
COUNTERPARTS: Final = {  # what to use in a rule of the other protocol
    "Host": "HostSNI",
    "HostRegexp": "HostSNIRegexp",
    "HostSNI": "Host",
    "HostSNIRegexp": "HostRegexp",
}


def find_matcher(name: str, protocol: Protocol) -> str | None:
    """Return the proper spelling of a matcher's name; case does not count, as in Traefik."""
    known = {matcher.lower(): matcher for matcher in SIGNATURES[protocol]}
    lower = name.lower()
    if protocol == "http":
        known |= ALIASES
    return known.get(lower)


def explain_unknown(name: str, protocol: Protocol) -> tuple[str, str]:
    """Say what is wrong with a name that `find_matcher` does not know: message and hint."""
    other: Protocol = "tcp" if protocol == "http" else "http"
    allowed = f"there are: {', '.join(SIGNATURES[protocol])}"
    elsewhere = find_matcher(name, other)
    if elsewhere is not None:
        counterpart = COUNTERPARTS.get(elsewhere)
        hint = f"use {counterpart}" if counterpart else allowed
        return f"{elsewhere} cannot stand in the rule of a router for {protocol.upper()}", hint
    known = {matcher.lower(): matcher for matcher in SIGNATURES[protocol]}
    near = get_close_matches(name.lower(), known, n=1)
    hint = f'did you mean "{known[near[0]]}"?' if near else allowed
    return f'unknown matcher "{name}"', hint

"""Values of header fields with placeholders such as `{client_ip}`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import define, field

from a3s_gateway.hcl.diagnostics import suggest
from a3s_gateway.headers import Header
from a3s_gateway.http import Request

PLACES: Final[dict[str, Callable[[Request], str]]] = {
    "client_ip": lambda request: request.client,
    "entrypoint": lambda request: request.exchange.entrypoint,
    "host": lambda request: request.host,
    "method": lambda request: request.method,
    "path": lambda request: request.path,
    "request_id": lambda request: request.exchange.request_id,
    "router": lambda request: request.exchange.router,
    "scheme": lambda request: request.scheme,
    "service": lambda request: request.exchange.service,
}
# With two braces it stands for itself, and so does what other languages write with $ or %.
_PLACE: Final = re.compile(r"(?<![$%])\{(\{)?([a-z_]+)\}(?(1)\})")


def check_template(value: str) -> tuple[str, str]:
    """Say what is wrong with a value, and what to try; both empty for nothing."""
    for match in _PLACE.finditer(value):
        name = match[2]
        if not match[1] and name not in PLACES:
            hint = suggest(name, list(PLACES), what="there are")
            return f"there is nothing to put in place of {{{name}}}", hint
    return "", ""


@define(eq=False)
class Template:
    """
    One field; its value may have placeholders, and `{{word}}` where `{word}` is meant.

    Attributes:
        name: As written.
        fixed: The field, where it has no placeholder.

    """

    name: str
    _value: str
    fixed: Header | None = field(init=False)

    @fixed.default
    def _without_places(self) -> Header | None:
        if any(not match[1] for match in _PLACE.finditer(self._value)):
            return None
        return Header.of(self.name, _on_the_wire(_PLACE.sub(_as_it_is, self._value)))

    def fill(self, request: Request) -> Header | None:
        """Make the field for a request; None where it would not be a valid one."""
        if self.fixed is not None:
            return self.fixed
        try:
            return Header.of(self.name, _on_the_wire(self.text(request)))
        except ValueError:
            return None

    def text(self, request: Request) -> str:
        """Make the value for a request."""

        def value(match: re.Match[str]) -> str:
            return _as_it_is(match) if match[1] else PLACES[match[2]](request)

        return _PLACE.sub(value, self._value)


def _on_the_wire(text: str) -> str:
    """Write a value as UTF-8, byte by byte as `Header` has them."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _as_it_is(match: re.Match[str]) -> str:
    return f"{{{match[2]}}}"

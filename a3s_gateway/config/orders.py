"""Middlewares in an order that makes no sense: allowed, and probably not meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from a3s_gateway.config.middleware import MiddlewareConfig, Settings
from a3s_gateway.config.router import RouterConfig
from a3s_gateway.hcl.diagnostics import Diagnostic

ASKING: Final = ("api-key", "basic-auth", "forward-auth", "jwt")  # for credentials
LIMITS: Final = ("rate-limit", "rate-limit-redis")


@frozen
class _Listed:
    """One middleware on a router, and which of them it is."""

    index: int
    config: MiddlewareConfig

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def settings(self) -> Settings:
        given = self.config.config
        return given if isinstance(given, Settings) else Settings()


def check_order(router: RouterConfig, found: Sequence[MiddlewareConfig]) -> Iterator[Diagnostic]:
    """
    Warn of what the middlewares of a router do to each other.

    Args:
        router: Names them, and is what a warning points at.
        found: What it names, in its order.

    """
    listed = [_Listed(index, config) for index, config in enumerate(found)]
    for later in listed:
        before = listed[: later.index]
        for message, hint in _wrong(later, before, listed[later.index + 1 :]):
            text = f'router "{router.name}": {message}'
            yield Diagnostic(router.span_of("middlewares", later.index), text, hint, "warning")


def _wrong(
    one: _Listed, before: Sequence[_Listed], after: Sequence[_Listed]
) -> Iterator[tuple[str, str]]:
    if any(each.name == one.name for each in before):
        yield f'middleware "{one.name}" is listed twice', "list it once"
        return
    if one.config.type == "cors":
        for asking in _of(before, *ASKING):
            yield (  # they have no credentials (Fetch standard)
                f'"{asking.name}" refuses preflights before "{one.name}" can answer them',
                f'list "{one.name}" before "{asking.name}"',
            )
    if one.config.type == "compress":
        for rewriting in (each for each in before if each.settings.rewrites_bodies):
            yield (
                f'"{rewriting.name}" changes bodies that "{one.name}" compressed before',
                f'list "{one.name}" before "{rewriting.name}": answers pass the last one first',
            )
    if one.config.type in LIMITS:
        for retry in _of(before, "retry"):
            yield (
                f'each try of "{retry.name}" counts against "{one.name}"',
                f'list "{one.name}" before "{retry.name}"',
            )
    yield from _unknown_key(one, before, after)


def _unknown_key(
    one: _Listed, before: Sequence[_Listed], after: Sequence[_Listed]
) -> Iterator[tuple[str, str]]:
    """Warn of who counts by what nobody has found out yet."""
    needed = one.settings.needs
    if not needed or _of(before, needed):
        return
    late = _of(after, needed)
    if late:
        yield (
            f'"{one.name}" needs what "{late[0].name}" finds out, which comes after it',
            f'list "{late[0].name}" before "{one.name}"',
        )
        return
    yield (
        f'"{one.name}" needs a middleware of type "{needed}" before it',
        f'list one before "{one.name}"',
    )


def _of(listed: Sequence[_Listed], *types: str) -> list[_Listed]:
    return [each for each in listed if each.config.type in types]

"""`type = "strip-prefix"`: hide the front of the path from the backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define, evolve, field, frozen

from a3s_gateway.config.kinds import PATH_PREFIX
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, keys
from a3s_gateway.effects import Effects
from a3s_gateway.headers import Header, Headers
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._paths import check_path, prefix_of
from a3s_gateway.plugin import Plugin

PREFIX: Final = "X-Forwarded-Prefix"
_NAME: Final = PREFIX.lower()


class _Told(Header):
    """What one of us has told: after it, another may take off more."""

    __slots__ = ()


@frozen(kw_only=True)
class StripPrefixConfig(Settings):
    """Removes the longest prefix that fits, and tells the backend in `X-Forwarded-Prefix`."""

    prefixes: tuple[str, ...] = keys(
        PATH_PREFIX,
        "What to remove: the longest that is the whole path, or is followed by a slash.",
        at_least=1,
        example='["/api"]',
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse what no path has in it, and what removes nothing."""
        for index, prefix in enumerate(self.prefixes):
            message = check_path(prefix)
            if not message and not prefix_of(prefix):
                message = f'"{prefix}" removes nothing'
            if message:
                yield Mistake("prefixes", message, item=index)


@define(eq=False)
class StripPrefix:
    """Forward what follows a prefix; what has none is forwarded as it is."""

    config: StripPrefixConfig
    _prefixes: tuple[tuple[str, Header], ...] = field(init=False)  # the longest first

    @_prefixes.default
    def _longest_first(self) -> tuple[tuple[str, Header], ...]:
        longest_first = sorted(map(prefix_of, self.config.prefixes), key=len, reverse=True)
        return tuple((prefix, _Told.of(PREFIX, prefix)) for prefix in longest_first)

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer by `next`."""
        path, headers = request.path, request.headers
        before: Header | None = None
        if _NAME in headers:  # the client's word is dropped: backends make links of it
            before = _told_in(headers)
            headers = headers.without(_NAME)
            request = request.with_headers(headers if before is None else headers.plus(before))
        for prefix, told in self._prefixes:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                path = path[len(prefix) :] or "/"
                if before is not None:
                    said = headers.plus(_Told.of(PREFIX, before.value + prefix))
                    return await next(evolve(request, path=path, headers=said))
                return await next(evolve(request, path=path, headers=headers.plus(told)))
        return await next(request)


def _told_in(headers: Headers) -> Header | None:
    return next((each for each in headers if isinstance(each, _Told)), None)


def _build(config: StripPrefixConfig, _: Effects) -> StripPrefix:
    return StripPrefix(config)


PLUGIN = Plugin("middleware", "strip-prefix", StripPrefixConfig, _build)

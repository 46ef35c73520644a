"""`type = "add-prefix"`: ask the backend for something below a path."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, evolve, field, frozen

from a3s_gateway.config.kinds import PATH_PREFIX
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key
from a3s_gateway.effects import Effects
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._paths import check_path, prefix_of
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class AddPrefixConfig(Settings):
    """Puts a prefix before the path that the backend is asked for."""

    prefix: str = key(PATH_PREFIX, "What to put there.", example='"/v2"')

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse what no path has in it."""
        if message := check_path(self.prefix):
            yield Mistake("prefix", message)


@define(eq=False)
class AddPrefix:
    """Forward with a longer path."""

    config: AddPrefixConfig
    _prefix: str = field(init=False)

    @_prefix.default
    def _canonical(self) -> str:
        return prefix_of(self.config.prefix)

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer by `next`; `OPTIONS *` asks for no path."""
        if request.path == "*":
            return await next(request)
        return await next(evolve(request, path=self._prefix + request.path))


def _build(config: AddPrefixConfig, _: Effects) -> AddPrefix:
    return AddPrefix(config)


PLUGIN = Plugin("middleware", "add-prefix", AddPrefixConfig, _build)

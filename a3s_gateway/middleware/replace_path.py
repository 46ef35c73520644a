"""`type = "replace-path"`: ask the backend for another path."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, evolve, field, frozen

from a3s_gateway.config.kinds import PATH_PREFIX, TEXT, WORD
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key
from a3s_gateway.effects import Effects
from a3s_gateway.errors import ProtocolError, RemoteProtocolError
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._paths import Rewrite, check_path, check_rewrite, configured_path
from a3s_gateway.plugin import Plugin

REPLACED = "X-Replaced-Path"


@frozen(kw_only=True)
class ReplacePathConfig(Settings):
    """Replaces the path, or what an expression finds in it; `X-Replaced-Path` tells the former."""

    path: str | None = key(PATH_PREFIX, "In place of every path.", default=None)
    regex: str | None = key(
        WORD, "What to replace in the path.", default=None, example='"^/users/([0-9]+)$"'
    )
    replacement: str | None = key(
        TEXT, "In place of what `regex` finds; `$1` is its first group.", default=None,
        example='"/accounts/$1"',
    )  # fmt: skip

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse both ways at once, or neither, and what cannot be a path."""
        if (self.path is None) == (self.regex is None):
            yield Mistake("", '"replace-path" needs either "path", or "regex" and "replacement"')
        elif (self.regex is None) != (self.replacement is None):
            yield Mistake("", '"regex" and "replacement" belong together')
        if self.path is not None and (message := check_path(self.path)):
            yield Mistake("path", message)
        if self.regex is not None and self.replacement is not None:
            mistake = check_rewrite(self.regex, self.replacement)
            if mistake:
                yield mistake
            elif message := check_path(self.replacement.replace("$", "")):
                yield Mistake("replacement", message)


@define(eq=False)
class ReplacePath:
    """Forward with another path; the query stays."""

    config: ReplacePathConfig
    _path: str | None = field(init=False)
    _rewrite: Rewrite | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        config = self.config
        self._path = configured_path(config.path) if config.path is not None else None
        self._rewrite = (
            Rewrite(config.regex, config.replacement or "") if config.regex is not None else None
        )

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer by `next`."""
        path = self._path if self._rewrite is None else self._rewritten(request.path)
        headers = request.headers
        if path is None or request.path == "*":
            if REPLACED.lower() in headers:  # the client's word
                request = evolve(request, headers=headers.without(REPLACED.lower()))
            return await next(request)
        headers = headers.replaced(REPLACED, request.path)
        return await next(evolve(request, path=path, headers=headers))

    def _rewritten(self, path: str) -> str | None:
        assert self._rewrite is not None
        found = self._rewrite.find(path)
        if found is None:
            return None
        try:
            return configured_path(found if found.startswith("/") else f"/{found}")
        except ProtocolError as error:
            raise RemoteProtocolError(error.reason) from error


def _build(config: ReplacePathConfig, _: Effects) -> ReplacePath:
    return ReplacePath(config)


PLUGIN = Plugin("middleware", "replace-path", ReplacePathConfig, _build)

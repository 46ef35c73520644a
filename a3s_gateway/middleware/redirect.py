"""`type = "redirect"`: send the client elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import define, field, frozen

from a3s_gateway.body import Body
from a3s_gateway.config.kinds import FLAG, TEXT, WORD, choice, integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key
from a3s_gateway.effects import Effects
from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.headers import Header, Headers, date
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._paths import Rewrite, check_rewrite
from a3s_gateway.plugin import Plugin

_PORTS = {"http": 80, "https": 443}


@frozen(kw_only=True)
class RedirectConfig(Settings):
    """Redirects to another scheme, or to what an expression makes of the URL."""

    scheme: Literal["http", "https"] | None = key(
        choice("http", "https"),
        "Where those go who came by the other one.",
        default=None,
    )
    port: int | None = key(
        integer(1, 65535), "With `scheme`; none: that of the scheme.", default=None
    )
    regex: str | None = key(
        WORD,
        "What to replace in the whole URL, as `http://example.com/a?b`.",
        default=None,
        example='"^https?://www\\\\.(.*)"',
    )
    replacement: str | None = key(
        TEXT,
        "In place of what `regex` finds; `$1` is its first group.",
        default=None,
        example='"https://$1"',
    )
    permanent: bool = key(
        FLAG, "Whether browsers and search engines may remember it.", default=False
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse both ways at once, or neither."""
        if (self.scheme is None) == (self.regex is None):
            yield Mistake("", '"redirect" needs either "scheme", or "regex" and "replacement"')
        elif (self.regex is None) != (self.replacement is None):
            yield Mistake("", '"regex" and "replacement" belong together')
        if self.port is not None and self.scheme is None:
            yield Mistake("port", '"port" belongs to "scheme"')
        if self.regex is not None and self.replacement is not None:
            mistake = check_rewrite(self.regex, self.replacement)
            if mistake:
                yield mistake


@define(eq=False)
class Redirect:
    """Answer where to ask instead; who is there already passes."""

    config: RedirectConfig
    effects: Effects
    _rewrite: Rewrite | None = field(init=False)

    @_rewrite.default
    def _expression(self) -> Rewrite | None:
        regex = self.config.regex
        return None if regex is None else Rewrite(regex, self.config.replacement or "")

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer by `next`, or with a redirect."""
        location = self._to_scheme(request) if self._rewrite is None else self._rewritten(request)
        if location is None:
            return await next(request)
        try:
            header = Header.of("Location", location)
        except ValueError as error:
            raise RemoteProtocolError("the URL leads nowhere") from error
        headers = Headers((header, date(self.effects.wall())))
        return Response(self._status(request.method), headers, Body.of(b""))

    def _status(self, method: str) -> int:
        """Choose one that keeps the method, but for GET and HEAD, for which all are alike."""
        if method in ("GET", "HEAD"):
            return 301 if self.config.permanent else 302
        return 308 if self.config.permanent else 307

    def _to_scheme(self, request: Request) -> str | None:
        scheme = self.config.scheme
        if scheme is None or request.scheme == scheme or request.path == "*":
            return None
        port, host = self.config.port, request.host
        authority = host if port in (None, _PORTS[scheme]) else f"{host}:{port}"
        return f"{scheme}://{authority}{request.target}"

    def _rewritten(self, request: Request) -> str | None:
        assert self._rewrite is not None
        url = f"{request.scheme}://{request.authority}{request.target}"
        location = self._rewrite.find(url)
        return None if location == url else location


PLUGIN = Plugin("middleware", "redirect", RedirectConfig, Redirect)

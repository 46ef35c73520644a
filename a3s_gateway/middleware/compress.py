"""`type = "compress"`: send less."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from attrs import define, evolve, field, frozen

from a3s_gateway.body import Body
from a3s_gateway.config.kinds import FLAG, WORD, size
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys
from a3s_gateway.effects import Effects
from a3s_gateway.headers import Header, Headers
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._codings import CODERS, choose, encode
from a3s_gateway.middleware._slices import Encoding, Turns
from a3s_gateway.plugin import Plugin

EVENTS: Final = "text/event-stream"
# Bytes of a body that is encoded in one go. A coder has a megabyte of tables: with one for each
# of 64 bodies at a time, the processor's caches hold none of them, and all takes twice as long.
WHOLE: Final = 128 * 1024
_TYPES: Final = (
    "text/*", "application/json", "application/*+json", "application/xml", "application/*+xml",
    "application/javascript", "application/x-javascript", "application/manifest",
    "application/wasm", "application/x-ndjson", "application/yaml", "image/svg+xml",
    "image/x-icon", "font/ttf", "font/otf",
)  # fmt: skip
_KNOWN: Final = ("br", "zstd", "gzip", "deflate")
# RFC 9110 §15.3.5, §15.4.5 have no body; a part of one encoding is no part of another.
_AS_IT_IS: Final = (101, 204, 205, 206, 304)
_VARY: Final = Header.of("Vary", "Accept-Encoding")
# They describe the bytes that the backend sent.
_NO_LONGER_TRUE: Final = ("accept-ranges", "content-md5", "content-digest", "repr-digest", "digest")


@frozen(kw_only=True)
class CompressConfig(Settings):
    """Compresses answers as the client accepts: brotli before zstd, gzip and deflate."""

    min_size: int = key(size(), "Answers known to be smaller are sent as they are.", default=1024)
    content_types: tuple[str, ...] = keys(
        WORD,
        "What is compressed; `text/*` and `application/*+json` stand for many. Empty: text, JSON, "
        "XML, JavaScript, WebAssembly, SVG and fonts.",
        example='["text/*", "application/json"]',
    )
    encodings: tuple[str, ...] = keys(
        WORD,
        "Codings to offer, the preferred ones first, of `br`, `zstd`, `gzip` and `deflate`. Empty: "
        "all, in this order; `zstd` where its library (`zstandard`) is installed.",
        example='["br", "gzip"]',
    )
    sse: bool = key(
        FLAG, "Compress streams of events (SSE) too, each event at once.", default=False
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse codings that nobody here knows."""
        for index, name in enumerate(self.encodings):
            if name not in _KNOWN:
                message = f'"{name}" is not a coding'
                hint = "there are br, zstd, gzip and deflate"
                yield Mistake("encodings", message, hint, item=index)
            elif name not in CODERS:
                message = f'"{name}" needs a library that is not installed'
                yield Mistake("encodings", message, "pip install zstandard", item=index)
        for index, name in enumerate(self.content_types):
            if name.count("/") != 1 or ";" in name:
                message = f'"{name}" is not a content type'
                yield Mistake("content_types", message, "write it as text/html", item=index)


@define(eq=False)
class Compress:
    """
    Encode answers that the client can decode, and that are worth it.

    The bodies being encoded share `turns`, so that however many there are, other requests
    wait for a slice at most.
    """

    config: CompressConfig
    turns: Turns
    _offered: tuple[str, ...] = field(init=False)
    _wanted: dict[str, bool] = field(factory=dict, init=False)  # by content type

    @_offered.default
    def _all(self) -> tuple[str, ...]:
        return self.config.encodings or tuple(CODERS)

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer with what comes from `next`, encoded perhaps."""
        response = await next(request)
        if not self._may_be_encoded(response):
            return response
        headers = _varied(response.headers)
        accepted = ",".join(request.headers.all("accept-encoding"))
        coding = choose(accepted, self._offered) if accepted else None
        body = response.body
        if coding is None or request.method == "HEAD" or self._is_small(body):
            return response.with_headers(headers)
        return evolve(
            response,
            headers=_encoded(headers, coding),
            body=await self._encode(body, coding, is_live=body.length is None),
        )

    def _may_be_encoded(self, response: Response) -> bool:
        headers = response.headers
        if response.status in _AS_IT_IS or response.status < 200:
            return False
        if "content-encoding" in headers or "content-range" in headers:
            return False
        if "no-transform" in (headers.find("cache-control") or "").lower():
            return False
        kind = _kind(response)
        wanted = self._wanted.get(kind)
        if wanted is None:
            wanted = self._is_wanted(kind)
            if len(self._wanted) < 1000 and len(kind) < 100:  # types that backends make up
                self._wanted[kind] = wanted
        return wanted

    def _is_wanted(self, kind: str) -> bool:
        if kind == EVENTS:
            return self.config.sse
        return any(
            _matches(pattern.lower(), kind) for pattern in self.config.content_types or _TYPES
        )

    def _is_small(self, body: Body) -> bool:
        return body.length is not None and body.length < self.config.min_size

    async def _encode(self, body: Body, coding: str, *, is_live: bool) -> Body:
        if body.length is None or body.length > WHOLE:
            return Encoding(body, CODERS[coding](), self.turns, is_live=is_live).body
        data = await body.read(WHOLE)
        encoded = Body.of(await self.turns.work(partial(encode, coding), data))
        encoded.trailers = body.trailers
        encoded.owns(body.close)
        return encoded


def _kind(response: Response) -> str:
    return (response.headers.find("content-type") or "").partition(";")[0].strip().lower()


def _matches(pattern: str, kind: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return kind == pattern
    return kind.startswith(before) and kind.endswith(after) and len(kind) > len(pattern) - 1


def _varied(headers: Headers) -> Headers:
    """Tell caches that this answer depends on what the client accepts (RFC 9110 §12.5.5)."""
    named = ",".join(headers.all("vary")).lower()
    if any(each.strip() in ("*", "accept-encoding") for each in named.split(",")):
        return headers
    return headers.plus(_VARY)


def _encoded(headers: Headers, coding: str) -> Headers:
    tag = headers.find("etag")
    changed = headers.without(*_NO_LONGER_TRUE).plus(Header.of("Content-Encoding", coding))
    if tag is not None and not tag.startswith("W/"):
        # RFC 9110 §8.8.1: a strong one stands for the same bytes, and these are others.
        changed = changed.replaced("ETag", f"W/{tag}")
    return changed


def _build(config: CompressConfig, effects: Effects) -> Compress:
    return Compress(config, Turns(effects.now, effects.sleep))


PLUGIN = Plugin("middleware", "compress", CompressConfig, _build)

"""Content codings (RFC 9110 §8.4.1): which one a client wants, and the libraries that do them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final, Protocol

import brotli  # type: ignore[import-untyped]

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]  # the codings without it are enough

BROTLI_QUALITY: Final = 4  # 5 costs twice as much for 3 % less
GZIP_LEVEL: Final = 5
ZSTD_LEVEL: Final = 3
_GZIP_FORMAT: Final = 31  # zlib's wbits: the largest window, with gzip's header
_FIELD_LIMIT: Final = 1024  # characters of Accept-Encoding that are read
_X_GZIP: Final = "x-gzip"  # RFC 9110 §8.4.1.3: the same as gzip


class Coder(Protocol):
    """One body being encoded."""

    def feed(self, data: bytes) -> bytes:
        """Encode the next bytes; what comes out may be later ones' or nothing yet."""

    def flush(self) -> bytes:
        """Return all that is needed to decode what was fed so far."""

    def finish(self) -> bytes:
        """Return the rest."""


class _Brotli:
    def __init__(self) -> None:
        coder = brotli.Compressor(quality=BROTLI_QUALITY)
        self.feed: Callable[[bytes], bytes] = coder.process
        self.flush: Callable[[], bytes] = coder.flush
        self.finish: Callable[[], bytes] = coder.finish


class _Zlib:
    def __init__(self, wbits: int) -> None:
        coder = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, wbits)
        self.feed: Callable[[bytes], bytes] = coder.compress
        self.flush: Callable[[], bytes] = partial(coder.flush, zlib.Z_SYNC_FLUSH)
        self.finish: Callable[[], bytes] = coder.flush


class _Zstandard:
    def __init__(self) -> None:
        assert zstandard is not None
        coder: Any = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        self.feed: Callable[[bytes], bytes] = coder.compress
        self.flush: Callable[[], bytes] = partial(coder.flush, zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        self.finish: Callable[[], bytes] = coder.flush


# "deflate" is the zlib format, not the bare one (RFC 9110 §8.4.1.2).
CODERS: Final[dict[str, Callable[[], Coder]]] = {
    "br": _Brotli,
    **({} if zstandard is None else {"zstd": _Zstandard}),
    "gzip": partial(_Zlib, _GZIP_FORMAT),
    "deflate": partial(_Zlib, zlib.MAX_WBITS),
}


def encode(coding: str, data: bytes) -> bytes:
    """Encode a body that is all there."""
    coder = CODERS[coding]()
    return coder.feed(data) + coder.finish()


@lru_cache(maxsize=256)
def choose(accepted: str, offered: Sequence[str]) -> str | None:
    """
    Choose a coding (RFC 9110 §12.5.3).

    Args:
        accepted: The value of Accept-Encoding; what cannot be read of it counts for nothing.
        offered: Codings, the preferred ones first: they decide where the client does not mind.

    Returns:
        One of `offered`; None for the body as it is.

    """
    weights: dict[str, float] = {}
    for member in accepted[:_FIELD_LIMIT].lower().split(","):
        name, _, parameter = member.partition(";")
        coding = "gzip" if name.strip() == _X_GZIP else name.strip()
        weights[coding] = _weight(parameter.strip())
    anything = weights.get("*", 0.0)
    best = max(offered, key=lambda coding: weights.get(coding, anything), default=None)
    if best is None or weights.get(best, anything) == 0:
        return None
    return best


def _weight(parameter: str) -> float:
    if not parameter:
        return 1.0
    name, _, value = parameter.partition("=")
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if name.strip() == "q" and 0 <= weight <= 1 else 0.0

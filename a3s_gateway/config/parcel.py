"""
A configuration on its way from one process to another, in pieces.

To take in one of thousands of routers at once would keep a gateway from its work for too long:
whoever receives it takes one piece at a time.
"""

from __future__ import annotations

import pickle
from collections.abc import Generator, Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO, Final

import attrs

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.fragments import Reading

PIECE: Final = 50  # sections; half a millisecond's work to take in
_MANY: Final = ("entrypoints", "routers", "services", "middlewares")


def pack(answer: Reading | ConfigError, file: BinaryIO) -> None:
    """Write what became of reading a configuration."""
    if isinstance(answer, Reading):
        config = answer.config
        for name in _MANY:
            for piece in _pieces(getattr(config, name)):
                _dump((name, piece), file)
        rest: Any = {name: {} for name in _MANY}
        answer = Reading(attrs.evolve(config, **rest), answer.held_back)
    _dump(answer, file)


def unpack(file: BinaryIO) -> Generator[None, None, Reading]:
    """
    Read what `pack` has written, a piece at each step, and close `file`; our own child wrote it.

    Raises:
        ConfigError: That is what was written.
        EOFError: It is not complete.
        UnpicklingError: It is not complete, likewise.

    """
    parts: Any = {name: {} for name in _MANY}
    with file:
        while isinstance(piece := pickle.load(file), tuple):  # noqa: S301
            name, sections = piece
            parts[name].update(sections)
            yield
    if isinstance(piece, ConfigError):
        raise piece
    assert isinstance(piece, Reading)
    return Reading(attrs.evolve(piece.config, **parts), piece.held_back)


def _pieces(sections: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    items = iter(sections.items())
    while piece := dict(islice(items, PIECE)):
        yield piece


def _dump(what: object, file: BinaryIO) -> None:
    pickle.dump(what, file, protocol=pickle.HIGHEST_PROTOCOL)

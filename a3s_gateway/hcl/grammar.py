"""
The HCL parser, and the cache that makes it quick to start.

python-hcl2 ships its grammar; turning it into parse tables takes more than a second. The tables
are therefore kept in a file, beside the compiled code of this package or, where that is not
writable, in the user's cache folder. `python -m a3s_gateway.hcl.grammar` writes the file ahead of
time, as an installation or an image build should; without it the first start does.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import tempfile
from importlib.metadata import version
from importlib.util import cache_from_source
from pathlib import Path

import hcl2.parser
from hcl2.postlexer import PostLexer
from lark import Lark
from lark import __version__ as lark_version


@functools.cache
def parser() -> Lark:
    """Return the parser: from the cache where there is one, else built, and cached if possible."""
    known = next(filter(is_trusted, _places()), None)
    if known is None:
        known = warm()
    return _open(known)


def warm() -> Path | None:
    """
    Build the parse tables and write them to the first writable place.

    Returns:
        The file, or None where no place is writable; each start then builds the tables again.

    """
    for place in _places():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=".hcl-") as scratch:
                fresh = Path(scratch, place.name)
                _open(fresh)
                fresh.chmod(0o644)
                fresh.replace(place)  # at once, so that a concurrent start never reads half a file
        except OSError:
            continue
        return place
    return None


def _open(cache: Path | None) -> Lark:
    return Lark.open(
        "hcl2.lark",
        rel_to=hcl2.parser.__file__,
        parser="lalr",
        cache=str(cache) if cache else False,
        propagate_positions=False,  # tokens know their place; doing it for trees doubles the time
        postlex=PostLexer(),
    )


def _places() -> list[Path]:
    """List where the tables may be, in order of preference; the name holds what they depend on."""
    tag = f"{sys.implementation.cache_tag}.lark-{lark_version}.hcl2-{version('python-hcl2')}"
    name = f"hcl-grammar.{tag}.bin"
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    folders = [Path(cache_from_source(__file__)).parent, Path(user, "a3s-gateway")]
    return [folder / name for folder in folders if folder.is_absolute()]


def is_trusted(path: Path) -> bool:
    """Tell whether a cache is there, and nobody but us or root can have written it (a pickle)."""
    try:
        status = path.stat()
    except OSError:
        return False
    if not hasattr(os, "geteuid"):
        return True
    own = status.st_uid in (0, os.geteuid())
    return own and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


if __name__ == "__main__":
    written = warm()
    print(written or "no writable place for the grammar cache; each start builds it again")  # noqa: T201

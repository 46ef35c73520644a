"""The files of a configuration as they lie on disk. Blocks: it runs in a thread."""

# ruff: noqa: PTH118, PTH120  # text in, text out

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from attrs import frozen

from a3s_gateway.config.fragments import Texts
from a3s_gateway.config.load import fragments_in

MAX_LINKS: Final = (
    40  # symbolic links on the way to a file; what Linux follows (path_resolution(7))
)


@frozen
class Folder:
    """A folder, and which one it is: another may come to have its name."""

    path: str
    device: int
    inode: int


@frozen
class Look:
    """
    What was seen.

    Attributes:
        stamp: Changes when a file was written or replaced; costs no reading.
        digest: Changes with the contents; empty if they were not read.
        folders: In which of them something happens when the configuration changes.

    """

    stamp: tuple[tuple[str, int, int, int], ...]
    digest: bytes
    folders: frozenset[Folder]


@frozen
class ConfigFiles:
    """
    The files of a configuration.

    Attributes:
        main: The main file.
        directory: Whose fragments belong to it, if there is one.

    """

    main: str
    directory: str | None

    def look(self, known: Look | None = None) -> Look:
        """Look at them; those that have the stamp of `known` are not read again."""
        paths = self._paths()
        stamp = tuple(_stamp(path) for path in paths)
        folders = frozenset(self._folders(paths))
        if known is not None and known.stamp == stamp:
            return Look(stamp, known.digest, folders)
        return Look(stamp, digest_of({path: _read(path) for path in paths}), folders)

    def _paths(self) -> list[str]:
        paths = [self.main]
        if self.directory is not None:
            with suppress(OSError):
                paths += fragments_in(self.directory, self.main)
        return paths

    def _folders(self, paths: list[str]) -> set[Folder]:
        names = {name for path in paths for name in _folders_to(path)}
        if self.directory is not None:
            names |= _folders_to(os.path.join(self.directory, "*.hcl"))
        return {folder for name in names if (folder := _nearest(name)) is not None}


def digest_of(texts: Texts) -> bytes:
    """Condense names and contents; the order does not matter."""
    digest = blake2b(digest_size=16)
    for path in sorted(texts):
        text = texts[path].encode("utf-8", "surrogateescape")
        digest.update(f"{path}\0{len(text)}\0".encode("utf-8", "surrogateescape") + text)
    return digest.digest()


def _read(path: str) -> str:
    """Read as `config/load.py` does; what it cannot read is as good as anything else."""
    try:
        return Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        return f"cannot be read: {error.errno}"


def _stamp(path: str) -> tuple[str, int, int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return path, 0, 0, 0
    return path, status.st_mtime_ns, status.st_size, status.st_ino


def _folders_to(path: str) -> set[str]:
    """Find the folders that have a link on the way to `path`, and the one it ends in."""
    found = set()
    current, links = os.sep, 0
    left = [*reversed(Path(path).absolute().parts)]
    while left:
        part = left.pop()
        step = os.path.dirname(current) if part == ".." else os.path.join(current, part)
        if links < MAX_LINKS and os.path.islink(step):  # noqa: PTH114
            links += 1
            found.add(current)
            with suppress(OSError):
                left += reversed(Path(os.readlink(step)).parts)  # noqa: PTH115
        else:
            current = step
    return {*found, os.path.dirname(current)}


def _nearest(path: str) -> Folder | None:
    """Find the folder, or the nearest above it that exists: there it will appear."""
    while True:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            above = os.path.dirname(path)
            if above == path:
                return None
            path = above
        else:
            return Folder(path, status.st_dev, status.st_ino)

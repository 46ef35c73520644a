"""
A process that reads a configuration for a gateway that runs: `python -m a3s_gateway.config.child`.

On standard input it finds what to read, as `ask` writes it; on standard output it leaves what
`parcel.pack` writes. Both are files, so that neither process waits for the other.
"""

from __future__ import annotations

import json
import sys
from typing import BinaryIO

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.fragments import Reading, Texts, read_again
from a3s_gateway.config.parcel import pack


def ask(path: str, in_force: Texts, file: BinaryIO) -> None:
    """Write what the child is to read: the main file, and the texts of the one in force."""
    file.write(json.dumps([path, dict(in_force)]).encode("ascii"))


def answer(request: BinaryIO, response: BinaryIO) -> None:
    """Read the configuration that is asked for."""
    path, in_force = json.loads(request.read())
    pack(_read(path, in_force), response)
    response.flush()


def _read(path: str, in_force: Texts) -> Reading | ConfigError:
    try:
        return read_again(path, in_force)
    except ConfigError as error:
        return error


if __name__ == "__main__":
    answer(sys.stdin.buffer, sys.stdout.buffer)

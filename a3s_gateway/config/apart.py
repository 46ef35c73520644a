"""
Reading a configuration in a process of its own, which ends when it is read.

The parser's tables and code take 18 MB, and a parse leaves its memory in pieces: a gateway
that runs for months needs neither.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TypeVar

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig

T = TypeVar("T")


def read_apart(path: str) -> GatewayConfig:
    """
    Do what `GatewayConfig.from_file` does, in a child process.

    Call it before the process has threads.

    Raises:
        ConfigError: As `from_file` does.

    """
    if not hasattr(os, "fork"):
        return GatewayConfig.from_file(path)
    answer = _in_child(lambda: _read(path))
    if isinstance(answer, ConfigError):
        raise answer
    if isinstance(answer, GatewayConfig):
        return answer
    return GatewayConfig.from_file(path)  # the child died: let what killed it show itself here


def _read(path: str) -> GatewayConfig | ConfigError:
    try:
        return GatewayConfig.from_file(path)
    except ConfigError as error:
        return error


def _in_child(make: Callable[[], T]) -> T | None:
    """Return what `make` returns in a fork of this process; None if it did not get so far."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(make(), pipe, protocol=pickle.HIGHEST_PROTOCOL)
            status = 0
        finally:
            os._exit(status)  # nothing of the parent's may run again here
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if status != 0:
        return None
    answer: T = pickle.loads(data)  # noqa: S301 - our own child wrote it
    return answer

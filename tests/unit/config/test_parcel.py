"""A configuration that goes from one process to another in pieces."""

from __future__ import annotations

import io
import pickle
from collections.abc import Generator
from itertools import count

import pytest

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.fragments import Reading
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.parcel import PIECE, pack, unpack

HEAD = 'entrypoints "web" { address = ":80" }\n'
ROUTER = 'routers "r%d" {\n rule = "Path(`/%d`)"\n service = "ping@internal"\n}\n'


def config(routers: int) -> GatewayConfig:
    text = HEAD + "".join(ROUTER % (number, number) for number in range(routers))
    return GatewayConfig.from_text(text)


def packed(answer: Reading | ConfigError) -> io.BytesIO:
    file = io.BytesIO()
    pack(answer, file)
    file.seek(0)
    return file


def drive(steps: Generator[None, None, Reading]) -> tuple[int, Reading]:
    for number in count():
        try:
            next(steps)
        except StopIteration as done:
            return number, done.value
    raise AssertionError


def test_what_comes_out_is_what_went_in() -> None:
    """Values, order, places and texts; and no step takes in more than a piece."""
    given = config(3 * PIECE + 1)
    steps, reading = drive(unpack(packed(Reading(given))))
    assert steps >= 5
    assert reading.config == given
    assert list(reading.config.routers) == list(given.routers)
    assert reading.config.routers["r7"].span_of("rule") == given.routers["r7"].span_of("rule")
    assert reading.config.sources == given.sources
    assert reading.held_back is None


def test_faults_come_over() -> None:
    """With their places and texts."""
    with pytest.raises(ConfigError) as here:
        GatewayConfig.from_text(HEAD + 'routers "a" { }')
    with pytest.raises(ConfigError) as there:
        drive(unpack(packed(here.value)))
    assert there.value.render() == here.value.render()
    _, reading = drive(unpack(packed(Reading(config(1), here.value))))
    assert reading.held_back is not None
    assert reading.held_back.render() == here.value.render()


def test_a_parcel_that_is_cut_is_not_mistaken_for_a_whole_one() -> None:
    """A child that dies leaves half of it."""
    whole = packed(Reading(config(PIECE))).getvalue()
    for length in range(0, len(whole), 997):
        with pytest.raises((EOFError, pickle.UnpicklingError)):
            drive(unpack(io.BytesIO(whole[:length])))

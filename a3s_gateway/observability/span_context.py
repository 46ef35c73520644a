"""What travels of a trace from one process to the next, whatever the headers that carry it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import frozen

TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")  # ids of zeros are none
SPAN_ID: Final = re.compile(r"(?!0{16})[0-9a-f]{16}")


@frozen
class SpanContext:
    """
    One span, as its children know it.

    Attributes:
        trace_id: 32 lower-case hexadecimal digits; empty: there is a decision and no trace yet.
        span_id: 16 of them; empty where `trace_id` is.
        is_sampled: Whether spans of this trace are to be recorded; None: nobody has decided.
        is_debug: B3's flag: recorded, whatever anybody decides. It implies `is_sampled`.
        above: The span's own parent, which B3 tells; empty: unknown, or there is none.

    """

    trace_id: str
    span_id: str
    is_sampled: bool | None
    is_debug: bool = False
    above: str = ""


def new_id(bits: int, getrandbits: Callable[[int], int]) -> str:
    """Make an id of so many random bits, not all of them zero."""
    number = 0
    while not number:
        number = getrandbits(bits)
    return f"{number:0{bits // 4}x}"

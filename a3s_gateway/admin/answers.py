"""A request to the admin API and its answer, whatever carries them."""

from __future__ import annotations

import json
from collections.abc import Generator
from http import HTTPStatus
from typing import Final, TypeVar

from attrs import frozen

from a3s_gateway.config.schema import Json

T = TypeVar("T")
Work = Generator[None, None, T]  # yields where others may have their turn

JSON: Final = "application/json"
PLAIN: Final = "text/plain; charset=utf-8"
_PIECES: Final = 100  # of JSON, about 40 us of work
_ENCODER: Final = json.JSONEncoder(indent=2)


@frozen
class Asked:
    """
    One request.

    Attributes:
        method: As sent.
        path: Without the query.
        query: Empty if there is none.
        client: The address it comes from, for `allowed_ips`.
        authorization: The value of that field, if there is exactly one.

    """

    method: str
    path: str
    query: str = ""
    client: str = ""
    authorization: str | None = None


@frozen
class Answer:
    """What comes back; `headers` are those besides Content-Type."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def refusal(status: int, text: str = "", *headers: tuple[str, str]) -> Answer:
    """Say in JSON why there is nothing else."""
    said = json.dumps({"error": text or HTTPStatus(status).phrase})
    return Answer(status, JSON, f"{said}\n".encode(), headers)


def in_json(value: Json, status: int = 200) -> Work[Answer]:
    """Write a value for people and programs, a little at a time: it may be large."""
    pieces = []
    for piece in _ENCODER.iterencode(value):
        pieces.append(piece)
        if len(pieces) % _PIECES == 0:
            yield
    return Answer(status, JSON, f"{''.join(pieces)}\n".encode())

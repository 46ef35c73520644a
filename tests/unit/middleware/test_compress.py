"""What is compressed, and what an answer says of it."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from a3s_gateway.body import Body
from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.http import Exchange, Request, Response
from a3s_gateway.middleware._slices import Turns
from a3s_gateway.middleware.compress import Compress, CompressConfig
from a3s_gateway.task import Task, Waiter

TEXT = b"to be or not to be, " * 100
JSON = ("Content-Type", "application/json")
ACCEPT = Headers.of(("Accept-Encoding", "gzip"))


def answer(
    *fields: tuple[str, str],
    status: int = 200,
    body: bytes = TEXT,
    method: str = "GET",
    accept: Headers = ACCEPT,
    **config: Any,
) -> Response:
    """Let an answer pass the middleware."""
    request = Request(
        method, "/", None, "a", "a", 11, "http", accept, Body.of(b""), "", Exchange("", "", 0.0)
    )

    async def backend(_: Request) -> Response:
        return Response(status, Headers.of(*fields), Body.of(body))

    compress = Compress(CompressConfig(**config), Turns(lambda: 0.0, lambda _: Waiter()))
    answers: list[Response] = []
    failures: list[BaseException] = []
    Task(compress(request, backend), answers.append, failures.append).start()
    assert not failures
    return answers[0]


def is_compressed(response: Response) -> bool:
    return "content-encoding" in response.headers


def test_an_answer_is_compressed() -> None:
    """Its fields say so, and its length is what is sent."""
    response = answer(JSON)
    assert response.headers.find("content-encoding") == "gzip"
    assert response.headers.find("vary") == "Accept-Encoding"
    data = response.body.take()
    assert response.body.length == len(data) < len(TEXT)
    assert zlib.decompress(data, 31) == TEXT


@pytest.mark.parametrize(
    "kind",
    ["text/html; charset=utf-8", "TEXT/PLAIN", "application/problem+json", "image/svg+xml"],
)
def test_text_is_worth_it(kind: str) -> None:
    """In whatever case it is written, with parameters or without."""
    assert is_compressed(answer(("Content-Type", kind)))


@pytest.mark.parametrize(
    "kind", ["image/png", "application/octet-stream", "application/grpc", "text/event-stream", ""]
)
def test_what_is_dense_already_or_must_not_wait_is_left_alone(kind: str) -> None:
    """Nothing is said about encodings either: there is only one."""
    response = answer(*([("Content-Type", kind)] if kind else []))
    assert not is_compressed(response)
    assert "vary" not in response.headers


@pytest.mark.parametrize(
    "fields",
    [
        [("Content-Encoding", "br")],
        [("Content-Range", "bytes 0-1/2")],
        [("Cache-Control", "public, No-Transform")],
    ],
)
def test_an_answer_that_forbids_it_is_left_alone(fields: list[tuple[str, str]]) -> None:
    """Encoded already, a part of something, or not to be transformed."""
    response = answer(JSON, *fields)
    assert list(response.headers) == list(Headers.of(JSON, *fields))
    assert response.body.take() == TEXT


@pytest.mark.parametrize("status", [204, 206, 304])
def test_some_statuses_have_no_body_or_a_part_of_one(status: int) -> None:
    """They pass as they are."""
    assert not is_compressed(answer(JSON, status=status))


def test_other_encodings_exist_though_this_client_gets_none() -> None:
    """A cache must know: too small is a property of the answer, but the choice was the client's."""
    for response in (answer(JSON, accept=EMPTY_HEADERS), answer(JSON, method="HEAD")):
        assert not is_compressed(response)
        assert response.headers.find("vary") == "Accept-Encoding"


def test_vary_is_not_said_twice() -> None:
    """Nor beside `*`."""
    for vary in ("accept-encoding, origin", "*"):
        assert answer(JSON, ("Vary", vary)).headers.all("vary") == [vary]
    assert answer(JSON, ("Vary", "Origin")).headers.all("vary") == ["Origin", "Accept-Encoding"]


def test_a_strong_etag_becomes_weak() -> None:
    """The same meaning, other bytes; what is weak stays so."""
    assert answer(JSON, ("ETag", '"a"')).headers.all("etag") == ['W/"a"']
    assert answer(JSON, ("ETag", 'W/"a"')).headers.all("etag") == ['W/"a"']


def test_what_was_said_of_the_bytes_is_gone() -> None:
    """Ranges and digests are of what the backend sent."""
    response = answer(JSON, ("Accept-Ranges", "bytes"), ("Content-Digest", "sha-256=:YQ==:"))
    assert [header.name for header in response.headers] == [
        "content-type", "vary", "content-encoding",
    ]  # fmt: skip


def test_small_answers_are_not_worth_it() -> None:
    """From `min_size` on they are."""
    assert not is_compressed(answer(JSON, body=b"x" * 1023))
    assert is_compressed(answer(JSON, body=b"x" * 1024))
    assert is_compressed(answer(JSON, body=b"x", min_size=0))


def test_the_operator_chooses_types_and_codings() -> None:
    """Lists of one's own replace ours."""
    kinds = ("application/x-*",)
    assert is_compressed(answer(("Content-Type", "application/x-a"), content_types=kinds))
    assert not is_compressed(answer(JSON, content_types=kinds))
    assert not is_compressed(answer(JSON, encodings=("br",)))
    assert is_compressed(answer(("Content-Type", "text/event-stream"), sse=True))

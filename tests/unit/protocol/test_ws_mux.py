"""The two dialects of `mux@internal`."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.protocol.ws_mux import (
    MAX_NAME,
    Command,
    Dialect,
    MalformedError,
    Message,
    accepted,
    error,
    fault_of_name,
    listing,
    parse,
    pong,
)

TEXT, JSON = Dialect.TEXT, Dialect.JSON


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("_sub:news", Command("subscribe", TEXT, "news")),
        ("_sub: news ", Command("subscribe", TEXT, "news")),
        ("_sub:", Command("subscribe", TEXT, "")),
        ("_unsub:news", Command("unsubscribe", TEXT, "news")),
        ("_ping", Command("ping", TEXT)),
        ("_list", Command("list", TEXT)),
        ("news:hello", Command("publish", TEXT, "news", "hello")),
        ("news:a:b", Command("publish", TEXT, "news", "a:b")),
        ("news:", Command("publish", TEXT, "news", "")),
        ('{"op": "subscribe", "channel": "news"}', Command("subscribe", JSON, "news")),
        ('{"op": "unsubscribe", "channel": "n", "id": 7}', Command("unsubscribe", JSON, "n", id=7)),
        ('{"op": "publish", "channel": "n", "payload": [1]}', Command("publish", JSON, "n", [1])),
        ('{"op": "publish", "channel": "n", "payload": null}', Command("publish", JSON, "n", None)),
        ('{"op": "list"}', Command("list", JSON)),
        ('{"op": "ping", "id": "x"}', Command("ping", JSON, id="x")),
    ],
)
def test_what_a_client_may_say(said: str, command: Command) -> None:
    """Frames as the original had them, and the same in JSON."""
    assert parse(said) == command


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("hello", "_error:invalid message format"),
        ("", "_error:invalid message format"),
        ("_nonsense:x", "_error:invalid message format"),
        ("{", '{"op":"error","error":"invalid JSON"}'),
        ('{"op": NaN}', '{"op":"error","error":"invalid JSON"}'),
        ('{"a":' * 5000, '{"op":"error","error":"invalid JSON"}'),
        ('{"op": "x", "id": 1}', '{"op":"error","error":"unknown op","id":1}'),
        ('{"op": ["ping"]}', '{"op":"error","error":"unknown op"}'),
        ('{"op": "subscribe"}', '{"op":"error","error":"channel must be text"}'),
        ('{"op": "subscribe", "channel": 1}', '{"op":"error","error":"channel must be text"}'),
        ('{"op": "publish", "channel": "a"}', '{"op":"error","error":"payload is missing"}'),
    ],
)
def test_what_is_no_command_is_answered_so(said: str, answer: str) -> None:
    """In the dialect in which it was said, and with its id."""
    with pytest.raises(MalformedError) as raised:
        parse(said)
    assert raised.value.answer == answer


@given(st.text())
def test_whatever_is_said_is_a_command_or_malformed(said: str) -> None:
    """Nothing else is raised, so nothing that a client says ends its connection."""
    with suppress(MalformedError):
        assert parse(said).operation in {"subscribe", "unsubscribe", "publish", "list", "ping"}


def test_answers_in_both_dialects() -> None:
    """The original's words in plain text; in JSON what has taken place."""
    text, said = Command("subscribe", TEXT, "news"), Command("subscribe", JSON, "news", id=3)
    assert accepted(text, "subscribed to news", "subscribed") == "_ok:subscribed to news"
    assert json.loads(accepted(said, "", "subscribed")) == {
        "op": "subscribed", "channel": "news", "id": 3,
    }  # fmt: skip
    assert error(text, "max channels (64) reached") == "_error:max channels (64) reached"
    assert json.loads(error(said, "no")) == {
        "op": "error", "channel": "news", "error": "no", "id": 3,
    }  # fmt: skip
    assert (pong(text), pong(Command("ping", JSON))) == ("_pong", '{"op":"pong"}')
    assert listing(text, ["a", "é"]) == '_channels:["a","é"]'
    assert listing(Command("list", JSON), ["a"]) == '{"op":"channels","channels":["a"]}'


@pytest.mark.parametrize(
    ("payload", "text", "in_json"),
    [
        ("hi", "news:hi", "hi"),
        ({"a": 1}, 'news:{"a":1}', {"a": 1}),
        (None, "news:null", None),
        ("\ud800", "news:?", "?"),
    ],
)
def test_a_message_reaches_both_dialects(payload: Any, text: str, in_json: Any) -> None:
    """Whichever one it was published in."""
    message = Message("news", payload)
    assert message.text(TEXT) == text
    found = json.loads(message.text(JSON))
    assert found == {"op": "message", "channel": "news", "payload": in_json}


def test_a_message_is_framed_once_for_each_dialect() -> None:
    """However many subscribers there are."""
    framed = []

    def frame(text: str) -> bytes:
        framed.append(text)
        return text.encode()

    message = Message("news", "hi")
    for _ in range(3):
        assert message.frame(TEXT, frame) == b"news:hi"
        assert message.frame(JSON, frame).startswith(b"{")
    assert len(framed) == 2


@pytest.mark.parametrize("name", ["a:b", "_x", "{x", "a\nb", " a", "x" * (MAX_NAME + 1)])
def test_names_that_no_channel_can_have(name: str) -> None:
    """They would be taken for something else by those who read plain text."""
    assert fault_of_name(name)


@pytest.mark.parametrize("name", ["", "news", "room-17", "a b", "ü", "a/b#c"])
def test_names_that_channels_can_have(name: str) -> None:
    """Everything else."""
    assert not fault_of_name(name)

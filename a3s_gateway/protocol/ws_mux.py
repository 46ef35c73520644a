"""
The protocol of `mux@internal`: what a client says in a text message, and what it is answered.

There are two dialects, which one connection may mix: plain text (`_sub:news`, `news:hello`) and
JSON (`{"op": "subscribe", "channel": "news"}`). A message that begins with a brace is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Literal, NoReturn, cast

from attrs import field, frozen

MAX_NAME: Final = 128  # bytes of a channel's name
_RESERVED: Final = ("_", "{")  # how an answer, and a message in JSON, begin

Operation = Literal["subscribe", "unsubscribe", "publish", "list", "ping"]


class Dialect(Enum):
    """How a client speaks."""

    TEXT = "text"
    JSON = "json"


@frozen
class Command:
    """
    What a client asks for.

    Attributes:
        payload: Of a message that is to be published: text, or in JSON any value.
        id: In JSON, what the client calls this command; it stands in the answer.

    """

    operation: Operation
    dialect: Dialect
    channel: str = ""
    payload: Any = None
    id: Any = None


class MalformedError(Exception):
    """A message is not a command; `answer` tells the client so, in its dialect."""

    def __init__(self, command: Command, reason: str) -> None:
        super().__init__(reason)
        self.answer = error(command, reason)


def fault_of_name(channel: str) -> str:
    """Say what is wrong with the name of a channel; empty if nothing is."""
    if ":" in channel:
        return "a name cannot contain a colon"
    if channel.startswith(_RESERVED):
        return "a name cannot begin with _ or {"
    if not channel.isprintable() or channel != channel.strip():
        return "a name cannot contain control characters, or blanks at its ends"
    if len(channel.encode("utf-8", "replace")) > MAX_NAME:
        return f"a name cannot be longer than {MAX_NAME} bytes"
    return ""


# -- from the client


def parse(text: str) -> Command:
    """Read one message; raises `MalformedError`."""
    if text.startswith("{"):
        return _parse_json(text)
    if text == "_ping":
        return Command("ping", Dialect.TEXT)
    if text == "_list":
        return Command("list", Dialect.TEXT)
    name, colon, rest = text.partition(":")
    if colon and name == "_sub":
        return Command("subscribe", Dialect.TEXT, rest.strip())
    if colon and name == "_unsub":
        return Command("unsubscribe", Dialect.TEXT, rest.strip())
    if not colon or name.startswith(_RESERVED):
        raise MalformedError(Command("ping", Dialect.TEXT), "invalid message format")
    return Command("publish", Dialect.TEXT, name, rest)


_OPERATIONS: Final = frozenset({"subscribe", "unsubscribe", "publish", "list", "ping"})
_WITHOUT_CHANNEL: Final = frozenset({"list", "ping"})


def _parse_json(text: str) -> Command:
    unknown = Command("ping", Dialect.JSON)
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MalformedError(unknown, "invalid JSON") from None
    operation, channel = found.get("op"), found.get("channel", "")
    named = Command("ping", Dialect.JSON, id=found.get("id"))
    if not isinstance(operation, str) or operation not in _OPERATIONS:
        raise MalformedError(named, "unknown op")
    if operation in _WITHOUT_CHANNEL:
        channel = ""
    elif not isinstance(channel, str) or "channel" not in found:
        raise MalformedError(named, "channel must be text")
    if operation == "publish" and "payload" not in found:
        raise MalformedError(named, "payload is missing")
    return Command(
        cast(Operation, operation), Dialect.JSON, channel.strip(), found.get("payload"), named.id
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and its like are not JSON


# -- to the client


def accepted(command: Command, text: str, operation: str) -> str:
    """Answer that it is done: `text`, or in JSON the `operation` that has taken place."""
    if command.dialect is Dialect.TEXT:
        return f"_ok:{text}"
    return _answer(command, op=operation, channel=command.channel)


def error(command: Command, text: str) -> str:
    """Answer why it is not done."""
    if command.dialect is Dialect.TEXT:
        return f"_error:{text}"
    channel = {"channel": command.channel} if command.channel else {}
    return _answer(command, op="error", **channel, error=text)


def pong(command: Command) -> str:
    """Answer that somebody is there."""
    return "_pong" if command.dialect is Dialect.TEXT else _answer(command, op="pong")


def listing(command: Command, channels: list[str]) -> str:
    """Answer to which channels the connection is subscribed."""
    if command.dialect is Dialect.TEXT:
        return f"_channels:{_in_json(channels)}"
    return _answer(command, op="channels", channels=channels)


def _answer(command: Command, **fields: Any) -> str:
    if command.id is not None:
        fields["id"] = command.id
    return _in_json(fields)


@frozen(eq=False)
class Message:
    """What is published: written and framed once for each dialect that somebody reads."""

    channel: str
    payload: Any
    _frames: dict[Dialect, bytes] = field(factory=dict, init=False)

    def frame(self, dialect: Dialect, make: Callable[[str], bytes]) -> bytes:
        """Return the bytes for subscribers of that dialect; `make` puts text into a frame."""
        frame = self._frames.get(dialect)
        if frame is None:
            frame = self._frames[dialect] = make(self.text(dialect))
        return frame

    def text(self, dialect: Dialect) -> str:
        """Write it as a subscriber of that dialect reads it."""
        payload = self.payload
        if dialect is Dialect.JSON:
            return _in_json({"op": "message", "channel": self.channel, "payload": payload})
        text = _sound(payload) if isinstance(payload, str) else _in_json(payload)
        return f"{self.channel}:{text}"


def _in_json(value: Any) -> str:
    return _sound(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _sound(text: str) -> str:
    """Replace what has no UTF-8: JSON can name halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode()

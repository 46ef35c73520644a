"""A configuration as JSON-able values, every key present and every secret masked."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from a3s_gateway.config.schema import (
    BlockKind,
    BlocksKind,
    Json,
    Key,
    ListKind,
    MapKind,
    NamedKind,
    PluginKind,
    ScalarKind,
    Section,
    schema,
)

MASK = "********"  # says that something is set, and not how long it is
# Names of header fields whose values are somebody's credentials more often than not.
_CREDENTIAL = re.compile(r"auth|cookie|credential|key|passw|secret|session|token", re.IGNORECASE)


def dump(section: Section) -> dict[str, Json]:
    """
    Return the keys of a section in the order declared: `None` for what is not set.

    Values are those in force: durations in seconds, sizes in bytes. A named block is an entry of
    an object; a middleware has its `type` and the keys of that type side by side.
    """
    return {
        key.name: _value(key, getattr(section, key.attribute))
        for key in schema(type(section)).values()
    }


def dump_in_pieces(section: Section) -> Generator[None, None, dict[str, Json]]:
    """Return what `dump` does, and yield between named blocks: there may be thousands."""
    whole: dict[str, Json] = {}
    for key in schema(type(section)).values():
        value = getattr(section, key.attribute)
        if not isinstance(key.kind, NamedKind | PluginKind):
            whole[key.name] = _value(key, value)
            continue
        blocks: dict[str, Json] = {}
        for name, each in value.items():
            blocks[name] = _named_block(key, each)
            yield
        whole[key.name] = blocks
    return whole


def _value(key: Key, value: Any) -> Json:
    if value is None:
        return None
    if key.is_secret:
        return [MASK for _ in value] if isinstance(value, tuple) else MASK
    match key.kind:
        case ScalarKind(show=show):
            return show(value)
        case ListKind(item=item):
            return [item.show(each) for each in value]
        case MapKind(item=item):
            return {n: MASK if _CREDENTIAL.search(n) else item.show(v) for n, v in value.items()}
    return _blocks(key, value)


def _blocks(key: Key, value: Any) -> Json:
    match key.kind:
        case BlockKind():
            return dump(value)
        case BlocksKind():
            return [dump(each) for each in value]
    return {name: _named_block(key, each) for name, each in value.items()}


def _named_block(key: Key, block: Any) -> Json:
    return dump(block) | dump(block.config) if isinstance(key.kind, PluginKind) else dump(block)

"""`ws_mux`: named channels over one WebSocket, which routers name as `mux@internal`."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import frozen

from a3s_gateway.config.kinds import ORIGIN, REDIS_URL, TEXT, WORD, choice, duration, integer, size
from a3s_gateway.config.schema import Mistake, Section, key, keys
from a3s_gateway.protocol.ws_mux import fault_of_name


@frozen(kw_only=True)
class WsMuxConfig(Section):
    """Publish and subscribe for clients of `mux@internal`: many channels over one WebSocket."""

    channels: tuple[str, ...] = keys(
        WORD,
        "Channels that there are, each a label in metrics; a `*` at the end stands for any rest.",
        default=("*",),
        example='["news", "room-*"]',
    )
    max_channels: int = key(
        integer(1), "Channels that one connection may subscribe to at a time.", default=64
    )
    queue: int = key(
        integer(1), "Messages that wait for a client that reads too slowly.", default=256
    )
    queue_bytes: int = key(
        size(1), "Bytes of such messages.", default=1024 * 1024, default_doc='`"1MiB"`'
    )
    slow_consumer: Literal["drop-oldest", "close"] = key(
        choice("drop-oldest", "close"),
        "When more would wait: the oldest is dropped, or the connection closed (1013).",
        default="drop-oldest",
    )
    max_message_bytes: int = key(
        size(1),
        "Longest message of a client; a longer one closes its connection (1009).",
        default=64 * 1024,
        default_doc='`"64KiB"`',
    )
    ping_interval: float = key(
        duration(0.1), "Silence after which a client is asked whether it is there.", default=30.0
    )
    idle_timeout: float = key(
        duration(0.1), "Silence after which a client is taken for gone.", default=90.0
    )
    allowed_origins: tuple[str, ...] = keys(
        ORIGIN,
        "Origins whose pages may connect; empty: any. Clients that are no browsers send none.",
        example='["https://app.example.com"]',
    )
    redis_url: str | None = key(
        REDIS_URL,
        "Where messages are exchanged with other gateways: `redis://`, `rediss://` or `unix://`.",
        default=None,
        secret=True,
        example='"redis://127.0.0.1:6379/0"',
    )
    redis_prefix: str = key(TEXT, "Stands before the channel's name in Redis.", default="a3s:mux:")

    def mistakes(self) -> Iterator[Mistake]:
        """Find names that no client could use, and limits that contradict each other."""
        for index, name in enumerate(self.channels):
            if fault := fault_of_name(name.removesuffix("*")):
                yield Mistake("channels", f'channel "{name}": {fault}', item=index)
            elif "*" in name[:-1]:
                message = f'channel "{name}": a * may stand at the end only'
                yield Mistake("channels", message, item=index)
        if self.idle_timeout <= self.ping_interval:
            message = "idle_timeout must be longer than ping_interval, or every client is gone"
            yield Mistake("idle_timeout", message)

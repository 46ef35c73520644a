"""Messages of `mux@internal` between gateways, over Redis."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from random import getrandbits
from typing import Any, Final

from twisted.internet.defer import Deferred

from a3s_gateway.config.ws_mux import WsMuxConfig
from a3s_gateway.effects import RedisUnavailableError
from a3s_gateway.protocol.ws_mux import Message
from a3s_gateway.service.hub import Channels, Hub
from a3s_gateway.transport.redis import Redis
from a3s_gateway.transport.timers import timers_for

PATIENCE: Final = 2.0  # seconds for Redis to take a message
MAX_WAITING: Final = 1000  # messages that Redis has not taken yet
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
HEARTBEAT: Final = 10.0  # seconds between two looks whether the way in is still open


class Fanout:
    """
    Tells other gateways what is published here, and the hub what is published there.

    Nothing waits for Redis: what cannot be passed on is counted and lost, as it is for a
    subscriber that is not connected. Other programs may publish, too: a message in Redis is
    JSON, `{"payload": ...}`, and ours say who they are `from`, so that they are not heard twice.
    """

    def __init__(self, reactor: Any, url: str, config: WsMuxConfig, hub: Hub) -> None:
        self._hub = hub
        self._channels = Channels(config.channels)
        self._max_message = config.max_message_bytes
        self._prefix = config.redis_prefix.encode()
        self._name = f"{getrandbits(64):016x}"
        self._waiting = self._waiting_bytes = 0
        self._out = Redis(reactor, url)
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix) + b"*"
        self._in = Redis(reactor, url, pattern=pattern, on_message=self._hear)
        self._heartbeat = timers_for(reactor).timer(self._beat)
        self._heartbeat.set(HEARTBEAT)

    @property
    def is_connected(self) -> bool:
        """Whether messages go both ways."""
        return self._out.is_connected and self._in.is_connected

    def publish(self, message: Message) -> None:
        """Pass a message on, if Redis keeps up."""
        body = json.dumps({"from": self._name, "payload": message.payload}).encode()
        if self._waiting >= MAX_WAITING or self._waiting_bytes + len(body) > MAX_WAITING_BYTES:
            self._hub.lost += 1
            return
        self._waiting += 1
        self._waiting_bytes += len(body)
        Deferred.fromCoroutine(self._send(message.channel.encode(), body))

    def close(self) -> None:
        """Leave Redis."""
        self._heartbeat.end()
        self._out.close()
        self._in.close()

    async def _send(self, channel: bytes, body: bytes) -> None:
        try:
            await self._out.execute("PUBLISH", self._prefix + channel, body, within=PATIENCE)
        except RedisUnavailableError:
            self._hub.lost += 1
        finally:
            self._waiting -= 1
            self._waiting_bytes -= len(body)

    def _hear(self, redis_channel: bytes, body: bytes) -> None:
        try:
            channel = redis_channel.removeprefix(self._prefix).decode()
            found = json.loads(body)
            sender, payload = found.get("from"), found["payload"]
        except (ValueError, LookupError, AttributeError, RecursionError):
            return  # somebody else's idea of a message
        entry = self._channels.entry_of(channel)
        if sender == self._name or entry is None or len(body) > self._limit():
            return
        self._hub.counters_of(entry).received += 1
        self._hub.publish(Message(channel, payload))

    def _limit(self) -> int:
        return 6 * self._max_message + 100  # \u0000 for each byte, and what stands around it

    def _beat(self) -> None:
        self._heartbeat.set(HEARTBEAT)
        if self._in.is_connected:
            Deferred.fromCoroutine(self._listen_on())

    async def _listen_on(self) -> None:
        """See whether the connection that hears is one: otherwise nothing would be missed."""
        with suppress(RedisUnavailableError):  # it connects again then
            await self._in.execute("PING", within=PATIENCE)

"""
Who hears what on which channel: the hub of `mux@internal`, and its members.

It knows no socket: a member says what a client has said, and is told what others have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from attrs import define, field, frozen

from a3s_gateway.protocol import ws_mux as mux
from a3s_gateway.protocol.ws_mux import Command, Dialect, MalformedError, Message

AT_ONCE: Final = 256  # deliveries in a row: about a millisecond
MAX_BACKLOG: Final = 64  # messages, each with a list of who has not been told


@define(eq=False)
class ChannelCounters:
    """What went through the channels that one entry of the configuration describes."""

    subscriptions: int = field(default=0, init=False)  # now
    published: int = field(default=0, init=False)
    delivered: int = field(default=0, init=False)
    dropped: int = field(default=0, init=False)  # for those who read too slowly
    received: int = field(default=0, init=False)  # from other gateways


@frozen(eq=False)
class Channels:
    """Which channels there are: names, and beginnings of names (`room-*`)."""

    entries: tuple[str, ...]
    _names: frozenset[str] = field(init=False)
    _beginnings: tuple[str, ...] = field(init=False)

    @_names.default
    def _find_names(self) -> frozenset[str]:
        return frozenset(each for each in self.entries if not each.endswith("*"))

    @_beginnings.default
    def _find_beginnings(self) -> tuple[str, ...]:
        found = [each[:-1] for each in self.entries if each.endswith("*")]
        return tuple(sorted(found, key=len, reverse=True))

    def entry_of(self, channel: str) -> str | None:
        """Return the entry that describes a channel, the closest one first; None: no such one."""
        if channel in self._names:
            return channel
        if mux.fault_of_name(channel):
            return None
        for beginning in self._beginnings:
            if channel.startswith(beginning):
                return f"{beginning}*"
        return None


@frozen(eq=False)
class Subscription:
    """One member's to one channel."""

    dialect: Dialect
    counters: ChannelCounters


@define(eq=False)
class Hub:
    """
    The channels of one gateway; a reload leaves it as it is.

    Args:
        later: Calls when everybody else has had a turn.

    Attributes:
        counters: By entry of the configuration.
        members: Everybody who is connected.
        lost: Messages that other gateways could not be told.
        is_leaving: The gateway stops, and takes nobody in.

    """

    later: Callable[[Callable[[], None]], object]
    counters: dict[str, ChannelCounters] = field(factory=dict, init=False)
    members: set[Member] = field(factory=set, init=False)
    lost: int = field(default=0, init=False)
    is_leaving: bool = field(default=False, init=False)
    _channels: dict[str, dict[Member, Subscription]] = field(factory=dict, init=False)
    _backlog: deque[tuple[Message, list[tuple[Member, Subscription]]]] = field(
        factory=deque, init=False
    )  # messages of which not everybody has been told, the first one in part

    def join(self, member: Member) -> None:
        """Take somebody in."""
        self.members.add(member)

    def leave(self, member: Member, channels: Iterable[str]) -> None:
        """Forget somebody, and the subscriptions that are left."""
        self.members.discard(member)
        for channel in channels:
            self.unsubscribe(member, channel)

    def subscribe(self, member: Member, channel: str, entry: str, dialect: Dialect) -> None:
        """Tell `member` from now on what is published there; once is enough."""
        counters = self.counters_of(entry)
        self._channels.setdefault(channel, {})[member] = Subscription(dialect, counters)
        counters.subscriptions += 1

    def unsubscribe(self, member: Member, channel: str) -> None:
        """Tell it no longer; a channel that nobody hears is forgotten."""
        subscriptions = self._channels[channel]
        subscriptions.pop(member).counters.subscriptions -= 1
        if not subscriptions:
            del self._channels[channel]

    def publish(self, message: Message) -> None:
        """Tell everybody who is subscribed, whoever said it; many of them a few at a time."""
        subscriptions = self._channels.get(message.channel)
        if subscriptions is None:
            return
        if len(subscriptions) <= AT_ONCE and not self._backlog:
            for member, subscription in list(subscriptions.items()):
                member.deliver(message, subscription)
            return
        while len(self._backlog) >= MAX_BACKLOG:
            self._deliver_some()  # whoever publishes so much waits for it
        self._backlog.append((message, list(subscriptions.items())[::-1]))
        if len(self._backlog) == 1:
            self.later(self._go_on)

    def _go_on(self) -> None:
        """Deliver some of what waits, and let others have their turn before the rest."""
        self._deliver_some()
        if self._backlog:
            self.later(self._go_on)

    def _deliver_some(self) -> None:
        left = AT_ONCE
        while left and self._backlog:
            message, subscriptions = self._backlog[0]
            known = self._channels.get(message.channel, {})
            while left and subscriptions:
                member, subscription = subscriptions.pop()
                left -= 1
                if known.get(member) is subscription:
                    member.deliver(message, subscription)
            if not subscriptions:
                self._backlog.popleft()

    def counters_of(self, entry: str) -> ChannelCounters:
        """Return the counters of an entry of the configuration."""
        found = self.counters.get(entry)
        if found is None:
            found = self.counters[entry] = ChannelCounters()
        return found

    def counters_by_entry(self, channels: Channels) -> dict[str, ChannelCounters]:
        """Return what has been counted of the channels that there are now."""
        return {entry: self.counters_of(entry) for entry in channels.entries}

    def subscribers(self) -> dict[str, int]:
        """Return how many members each channel has now."""
        return {channel: len(found) for channel, found in self._channels.items()}

    def go_away(self) -> None:
        """Send everybody away, and let nobody in."""
        self.is_leaving = True
        for member in list(self.members):
            member.go_away()


@define(eq=False)
class Member(ABC):
    """
    One connection: what it is subscribed to, and what becomes of what it says.

    How it is told is for who derives from this: two objects would refer to each other, and
    cycles are not collected once they are frozen.

    Args:
        hub: Where it is a member.
        channels: Those that it may use.
        max_channels: How many of them at a time.
        publish: Tells other gateways, too.

    """

    hub: Hub
    channels: Channels
    max_channels: int
    publish: Callable[[Message], None]
    _subscribed: dict[str, None] = field(factory=dict, init=False)

    @abstractmethod
    def deliver(self, message: Message, subscription: Subscription) -> None:
        """Take a message, and count what becomes of it."""

    @abstractmethod
    def go_away(self) -> None:
        """Say goodbye: the gateway stops."""

    def say(self, text: str) -> str | None:
        """Act on one message; returns the answer, if there is one."""
        try:
            command = mux.parse(text)
        except MalformedError as malformed:
            return malformed.answer
        match command.operation:
            case "publish":
                return self._publish(command)
            case "subscribe":
                return self._subscribe(command)
            case "unsubscribe":
                return self._unsubscribe(command)
            case "list":
                return mux.listing(command, list(self._subscribed))
            case "ping":
                return mux.pong(command)

    def leave(self) -> None:
        """Be told nothing any more."""
        subscribed, self._subscribed = self._subscribed, {}
        self.hub.leave(self, subscribed)

    def _subscribe(self, command: Command) -> str:
        channel = command.channel
        if channel in self._subscribed:
            return mux.accepted(command, f"already subscribed to {channel}", "subscribed")
        if fault := mux.fault_of_name(channel):
            return mux.error(command, f"invalid channel: {fault}")
        entry = self.channels.entry_of(channel)
        if entry is None:
            return mux.error(command, f"unknown channel {channel}")
        if len(self._subscribed) >= self.max_channels:
            return mux.error(command, f"max channels ({self.max_channels}) reached")
        self._subscribed[channel] = None
        self.hub.subscribe(self, channel, entry, command.dialect)
        return mux.accepted(command, f"subscribed to {channel}", "subscribed")

    def _unsubscribe(self, command: Command) -> str:
        channel = command.channel
        if channel not in self._subscribed:
            return mux.accepted(command, f"not subscribed to {channel}", "unsubscribed")
        del self._subscribed[channel]
        self.hub.unsubscribe(self, channel)
        return mux.accepted(command, f"unsubscribed from {channel}", "unsubscribed")

    def _publish(self, command: Command) -> str | None:
        """Publish for those who are subscribed; the others hear why not, in JSON alone."""
        channel = command.channel
        if channel not in self._subscribed:
            is_told = command.dialect is Dialect.JSON
            return mux.error(command, f"not subscribed to {channel}") if is_told else None
        entry = self.channels.entry_of(channel)
        assert entry is not None  # it is subscribed
        self.hub.counters_of(entry).published += 1
        message = Message(channel, command.payload)
        self.hub.publish(message)
        self.publish(message)
        if command.id is None:
            return None
        return mux.accepted(command, f"published to {channel}", "published")

"""Who hears what on which channel."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.protocol.ws_mux import Message
from a3s_gateway.service.hub import AT_ONCE, MAX_BACKLOG, Channels, Hub, Member, Subscription


class Client(Member):
    """A connection without one: hears, and says what it is told to."""

    def __init__(self, hub: Hub, channels: Channels, max_channels: int = 64) -> None:
        self.heard: list[str] = []
        self.passed_on: list[Message] = []
        self.is_gone = False
        super().__init__(hub, channels, max_channels, self.passed_on.append)
        hub.join(self)

    def deliver(self, message: Message, subscription: Subscription) -> None:
        subscription.counters.delivered += 1
        self.heard.append(message.text(subscription.dialect))

    def go_away(self) -> None:
        self.is_gone = True


def at_once(call: Callable[[], None]) -> None:
    """Let nobody else have a turn."""
    call()


@pytest.fixture
def hub() -> Hub:
    return Hub(at_once)


ANY = Channels(("*",))


def test_what_is_published_reaches_every_subscriber(hub: Hub) -> None:
    """Whoever published it among them, and nobody else."""
    one, other, third = (Client(hub, ANY) for _ in range(3))
    assert one.say("_sub:news") == "_ok:subscribed to news"
    assert (
        other.say('{"op":"subscribe","channel":"news"}') == '{"op":"subscribed","channel":"news"}'
    )
    assert third.say("_sub:sport") == "_ok:subscribed to sport"
    assert one.say("news:hello") is None
    assert one.heard == ["news:hello"]
    assert other.heard == ['{"op":"message","channel":"news","payload":"hello"}']
    assert third.heard == []
    assert [message.payload for message in one.passed_on] == ["hello"]


def test_the_words_of_the_original(hub: Hub) -> None:
    """Subscribing twice, leaving twice, listing, and asking whether anybody is there."""
    client = Client(hub, ANY, max_channels=2)
    assert client.say("_unsub:a") == "_ok:not subscribed to a"
    assert client.say("_sub:a") == "_ok:subscribed to a"
    assert client.say("_sub:a") == "_ok:already subscribed to a"
    assert client.say("_sub:b") == "_ok:subscribed to b"
    assert client.say("_sub:c") == "_error:max channels (2) reached"
    assert client.say("_list") == '_channels:["a","b"]'
    assert client.say("_unsub:a") == "_ok:unsubscribed from a"
    assert client.say("_sub:c") == "_ok:subscribed to c"
    assert client.say("_ping") == "_pong"
    assert client.say("?") == "_error:invalid message format"


def test_publishing_asks_for_a_subscription(hub: Hub) -> None:
    """In plain text nothing is said about it, as ever; in JSON why not."""
    speaker, reader = Client(hub, ANY), Client(hub, ANY)
    reader.say("_sub:a")
    assert speaker.say("a:x") is None
    answer = speaker.say('{"op":"publish","channel":"a","payload":1,"id":9}')
    assert answer == '{"op":"error","channel":"a","error":"not subscribed to a","id":9}'
    assert reader.heard == []
    assert speaker.passed_on == []


def test_who_names_its_message_hears_that_it_was_published(hub: Hub) -> None:
    """After it was delivered."""
    client = Client(hub, ANY)
    client.say('{"op":"subscribe","channel":"a"}')
    assert client.say('{"op":"publish","channel":"a","payload":1}') is None
    answer = client.say('{"op":"publish","channel":"a","payload":2,"id":1}')
    assert json.loads(answer or "") == {"op": "published", "channel": "a", "id": 1}
    assert [json.loads(each)["payload"] for each in client.heard] == [1, 2]


def test_only_channels_that_there_are(hub: Hub) -> None:
    """By name, or by how they begin; the closest entry counts."""
    channels = Channels(("news", "room-*", "room-vip-*"))
    client = Client(hub, channels)
    assert client.say("_sub:sport") == "_error:unknown channel sport"
    assert client.say("_sub:a:b") == "_error:invalid channel: a name cannot contain a colon"
    for name in ("news", "room-1", "room-2", "room-vip-1"):
        assert client.say(f"_sub:{name}") == f"_ok:subscribed to {name}"
    counted = hub.counters_by_entry(channels)
    assert {name: each.subscriptions for name, each in counted.items()} == {
        "news": 1, "room-*": 2, "room-vip-*": 1,
    }  # fmt: skip


def test_an_empty_name_is_one_where_any_is(hub: Hub) -> None:
    """As in the original."""
    client = Client(hub, ANY)
    assert client.say("_sub:") == "_ok:subscribed to "
    client.say(":hello")
    assert client.heard == [":hello"]


def test_who_leaves_is_forgotten(hub: Hub) -> None:
    """And so are channels that nobody hears."""
    client = Client(hub, ANY)
    client.say("_sub:a")
    client.say("_sub:b")
    client.leave()
    client.leave()
    assert hub.members == set()
    assert hub.subscribers() == {}
    assert hub.counters_of("*").subscriptions == 0


def test_a_subscriber_that_leaves_while_it_is_told(hub: Hub) -> None:
    """The others hear the message nevertheless."""

    class Leaver(Client):
        def deliver(self, message: Message, subscription: Subscription) -> None:
            self.leave()

    leaver, other = Leaver(hub, ANY), Client(hub, ANY)
    leaver.say("_sub:a")
    other.say("_sub:a")
    hub.publish(Message("a", "x"))
    assert other.heard == ["a:x"]
    assert hub.subscribers() == {"a": 1}


def test_a_gateway_that_stops_sends_everybody_away(hub: Hub) -> None:
    """Each is told."""
    clients = [Client(hub, ANY) for _ in range(3)]
    hub.go_away()
    assert all(client.is_gone for client in clients)
    assert hub.is_leaving


OPERATIONS = st.tuples(
    st.integers(0, 2), st.sampled_from(["_sub:a", "_sub:b", "_unsub:a", "_unsub:b", "a:x", "b:x"])
)


@given(st.lists(OPERATIONS, max_size=40))
def test_everybody_hears_what_it_subscribed_to(said: list[tuple[int, str]]) -> None:
    """Compared with sets of names."""
    hub = Hub(at_once)
    clients = [Client(hub, ANY) for _ in range(3)]
    subscribed: list[set[str]] = [set(), set(), set()]
    expected: list[list[str]] = [[], [], []]
    for who, text in said:
        clients[who].say(text)
        name = text.split(":")[1] if text.startswith("_") else text[0]
        if text.startswith("_sub"):
            subscribed[who].add(name)
        elif text.startswith("_unsub"):
            subscribed[who].discard(name)
        elif name in subscribed[who]:
            for index, names in enumerate(subscribed):
                if name in names:
                    expected[index].append(text)
    assert [client.heard for client in clients] == expected
    assert hub.counters_of("*").subscriptions == sum(map(len, subscribed))
    for client in clients:
        client.leave()
    assert hub.subscribers() == {}


class TestCrowds:
    """More subscribers than can be told in a row."""

    def crowd(self) -> tuple[Hub, list[Client], list[Callable[[], None]]]:
        later: list[Callable[[], None]] = []
        hub = Hub(later.append)
        clients = [Client(hub, ANY) for _ in range(2 * AT_ONCE + 1)]
        for client in clients:
            client.say("_sub:a")
        return hub, clients, later

    def test_others_have_their_turn_in_between(self) -> None:
        """And nobody hears a message before the one that came first."""
        hub, clients, later = self.crowd()
        lone = Client(hub, ANY)
        lone.say("_sub:b")
        hub.publish(Message("a", "1"))
        hub.publish(Message("a", "2"))
        hub.publish(Message("b", "3"))
        told = [0]
        while later:
            assert len(later) == 1
            later.pop()()
            told.append(sum(len(client.heard) for client in clients))
        assert max(after - before for before, after in pairwise(told)) <= AT_ONCE
        assert all(client.heard == ["a:1", "a:2"] for client in clients)
        assert lone.heard == ["b:3"]
        hub.publish(Message("b", "4"))
        assert lone.heard == ["b:3", "b:4"]

    def test_who_leaves_meanwhile_hears_nothing_more(self) -> None:
        """Nor does who comes meanwhile, of what was said before."""
        hub, clients, later = self.crowd()
        hub.publish(Message("a", "1"))
        clients[-1].say("_unsub:a")
        clients[-2].leave()
        late = Client(hub, ANY)
        late.say("_sub:a")
        clients[-1].say("_sub:a")
        while later:
            later.pop()()
        assert [clients[-3].heard, clients[-2].heard, clients[-1].heard] == [["a:1"], [], []]
        assert late.heard == []

    def test_what_waits_is_bounded(self) -> None:
        """Who publishes more than can be delivered waits for it."""
        hub, clients, later = self.crowd()
        for number in range(MAX_BACKLOG + 10):
            hub.publish(Message("a", str(number)))
        assert len(clients[0].heard) >= 10
        while later:
            later.pop()()
        assert all(len(client.heard) == MAX_BACKLOG + 10 for client in clients)

"""A backend that says nothing on its connection is asked whether it is there."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from a3s_gateway.errors import UpstreamError
from a3s_gateway.protocol.http2 import frames
from a3s_gateway.proxy.http2_connection import PING_AFTER, PING_TIMEOUT, Http2Connection
from a3s_gateway.proxy.http2_stream import UpstreamStream
from a3s_gateway.testing import request
from a3s_gateway.transport.timers import Timers

PING = frames.frame(frames.PING, 0, 0, bytes(8))
SLACK = 0.2  # seconds that a timer may be late


class Home:
    """Whose connection it is."""

    idle_timeout = 300.0
    usual_streams = 100

    def __init__(self) -> None:
        self.forgotten: list[Http2Connection] = []

    def has_room(self, connection: Http2Connection) -> None:
        """Hear that it can take another request."""

    def is_idle(self, connection: Http2Connection) -> None:
        """Hear that its last exchange is over."""

    def forget(self, connection: Http2Connection) -> None:
        self.forgotten.append(connection)


class Wire:
    """A connection on which a request waits for its answer."""

    def __init__(self) -> None:
        self.clock: Any = Clock()
        self.home = Home()
        self.transport = StringTransport()
        self.connection = Http2Connection(self.home, Timers(self.clock), "http")
        self.connection.makeConnection(self.transport)
        self.connection.dataReceived(frames.settings(()))
        self.waiter = UpstreamStream(self.connection).send(request(), "/", "a", 3600.0, 3600.0)
        self.transport.clear()

    def passes(self, seconds: float) -> bytes:
        """Let time pass; returns what the backend is sent meanwhile."""
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)
        sent: bytes = self.transport.value()
        self.transport.clear()
        return sent


def test_a_silent_backend_is_asked_and_given_up() -> None:
    """One PING, and when that is not answered either, whoever waits is told."""
    wire = Wire()
    assert wire.passes(PING_AFTER - 1) == b""
    assert wire.passes(1 + SLACK) == PING
    assert wire.passes(PING_TIMEOUT - 1) == b""
    assert not wire.waiter.is_set
    wire.passes(1 + SLACK)
    assert wire.waiter.is_set
    with pytest.raises(UpstreamError, match="UPSTREAM_TIMEOUT: the connection is dead"):
        next(wire.waiter.__await__())
    assert wire.home.forgotten == [wire.connection]
    assert wire.transport.disconnecting


def test_a_backend_that_answers_the_question_is_asked_again_later() -> None:
    """It is there and takes its time: for that there are other limits."""
    wire = Wire()
    for _ in range(3):
        assert wire.passes(PING_AFTER + SLACK) == PING
        wire.connection.dataReceived(frames.frame(frames.PING, frames.ACK, 0, bytes(8)))
        wire.passes(PING_TIMEOUT + SLACK)
    assert not wire.waiter.is_set
    assert wire.home.forgotten == []

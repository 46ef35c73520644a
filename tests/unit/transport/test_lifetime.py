"""Nothing outlives a connection, and any reactor of Twisted's will do."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import weakref
from typing import Any

import pytest
from twisted.internet.address import UNIXAddress

from a3s_gateway.transport.poller import Poller
from a3s_gateway.transport.tcp import TcpConnection
from a3s_gateway.transport.tls import TlsConnection
from a3s_gateway.transport.tls_client import ClientTls
from tests.unit.transport.peers import Recorder, contexts
from tests.unit.transport.test_poller import FakeReactor


def make_plain(poller: Poller, near: socket.socket, far: socket.socket) -> list[Any]:
    return [TcpConnection(poller, sock, UNIXAddress(None)) for sock in (near, far)]


def make_tls(poller: Poller, near: socket.socket, far: socket.socket) -> list[Any]:
    server, client = contexts()
    accepting = server.open(near)
    connecting = ClientTls(client, "localhost").open(far)
    return [
        TlsConnection(poller, near, UNIXAddress(None), tls=accepting),
        TlsConnection(poller, far, UNIXAddress(None), tls=connecting),
    ]


@pytest.mark.parametrize("make", [make_plain, make_tls])
def test_an_ended_connection_is_freed_at_once(make: Any) -> None:
    """Connections that come and go do not wait in memory for the garbage collector."""
    reactor = FakeReactor()
    poller = Poller(reactor)
    pair = socket.socketpair()
    for sock in pair:
        sock.settimeout(0)
    connections = make(poller, *pair)
    del pair, sock
    protocols = [Recorder(), Recorder()]
    for connection, protocol in zip(connections, protocols, strict=True):
        connection.start(protocol)
    protocols[0].transport.write(b"hello")
    while protocols[1].data != b"hello":
        poller.doRead()
    gone = [weakref.ref(one) for one in (*connections, *protocols)]
    gc.disable()
    try:
        protocols[0].transport.loseConnection()
        reactor.turn()
        poller.doRead()
        assert [len(protocol.losses) for protocol in protocols] == [1, 1]
        del connections, connection, protocols, protocol
        assert [one() for one in gone] == [None] * 4
    finally:
        gc.enable()
    assert poller.watched == 0
    assert reactor.getDelayedCalls() == []


ECHO = """
from twisted.internet import {name}reactor
{name}reactor.install()
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory, Protocol
from a3s_gateway.transport.endpoints import client_endpoint, server_endpoint

class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Asks(Protocol):
    def dataReceived(self, data):
        print(data.decode(), type(reactor).__name__)
        reactor.stop()

async def main():
    port = await server_endpoint(reactor, "127.0.0.1", 0).listen(Factory.forProtocol(Echo))
    endpoint = client_endpoint(reactor, "127.0.0.1", port.getHost().port)
    near = await connectProtocol(endpoint, Asks())
    near.transport.write(b"hello")

reactor.callLater(20, reactor.stop)
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
reactor.run()
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("select", "SelectReactor"),
        ("poll", "PollReactor"),
        ("asyncio", "AsyncioSelectorReactor"),
    ],
)
def test_on_other_reactors(name: str, kind: str) -> None:
    """The transports need a reactor that watches file descriptors, not one of epoll."""
    script = ECHO.format(name=name)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["hello", kind]

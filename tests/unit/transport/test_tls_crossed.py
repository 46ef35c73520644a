"""TLS whose reads wait for output and whose writes wait for input, played by a script."""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from a3s_gateway.transport.poller import Poller
from a3s_gateway.transport.tls import TlsConnection
from tests.unit.transport.peers import HalfCloser, Recorder
from tests.unit.transport.test_poller import FakeReactor


class ScriptedTls:
    """OpenSSL's connection, as far as the transport uses it; each call takes the next answer."""

    def __init__(self) -> None:
        self.reads: list[Any] = []
        self.writes: list[Any] = []
        self.goodbyes: list[Any] = []
        self.shakes: list[Any] = []
        self.calls: list[str] = []

    def answer(self, name: str, script: list[Any]) -> Any:
        self.calls.append(name)
        answer = script.pop(0) if script else SSL.WantReadError()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def do_handshake(self) -> None:
        self.answer("shake", self.shakes)

    def recv(self, size: int) -> bytes:
        return self.answer("read", self.reads)

    def send(self, data: bytes) -> int:
        return self.answer(f"write {bytes(data).decode()}", self.writes)

    def shutdown(self) -> None:
        self.answer("goodbye", self.goodbyes)

    def set_app_data(self, data: object) -> None:
        pass


class CrossedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.poller = Poller(self.reactor)
        self.near, self.far = socket.socketpair()
        for sock in (self.near, self.far):
            sock.settimeout(0)
            self.addCleanup(sock.close)
        self.tls = ScriptedTls()
        self.tls.shakes = [None]
        self.protocol: Any = Recorder()
        self.connection: Any = TlsConnection(
            self.poller, self.near, UNIXAddress(None), tls=self.tls
        )
        self.addCleanup(self.connection.abortConnection)

    def start(self) -> None:
        self.connection.start(self.protocol)
        self.tls.calls.clear()

    def turn(self) -> list[str]:
        """Let the poller go once; gives what was asked of OpenSSL."""
        self.tls.calls.clear()
        self.poller.doRead()
        return self.tls.calls

    def fill(self) -> None:
        """Fill the kernel's buffer, so that the socket is not writable."""
        try:
            while True:
                self.near.send(b"x" * 65536)
        except BlockingIOError:
            pass

    def drain(self) -> None:
        try:
            while self.far.recv(65536):
                pass
        except BlockingIOError:
            pass

    def test_a_handshake_waits_for_output(self) -> None:
        """A handshake that cannot send waits until it can, and does not spin meanwhile."""
        self.tls.shakes = [SSL.WantWriteError(), None]
        self.fill()
        self.start()
        self.assertEqual(self.turn(), [])
        self.drain()
        self.assertEqual(self.turn()[:1], ["shake"])

    def test_a_read_waits_for_output(self) -> None:
        """A read that has to send first is repeated when it can, and not before."""
        self.start()
        self.fill()
        self.far.send(b"?")
        self.tls.reads = [SSL.WantWriteError(), b"after all"]
        self.assertEqual(self.turn(), ["read"])
        self.assertEqual(self.turn(), [])
        self.drain()
        self.turn()
        self.assertEqual(self.protocol.data, b"after all")

    def test_a_read_waits_for_output_while_a_write_waits_too(self) -> None:
        """Both go on when the socket is writable, and both directions are watched again."""
        self.start()
        self.fill()
        self.far.send(b"?")
        self.tls.reads = [SSL.WantWriteError(), b"after all"]
        self.turn()
        self.tls.writes = [SSL.WantWriteError(), 5]
        self.connection.write(b"hello")
        self.assertEqual(self.turn(), [])
        self.drain()
        self.assertEqual(self.turn()[:2], ["write hello", "read"])
        self.assertEqual(self.protocol.data, b"after all")
        self.assertEqual(self.connection.bufferedBytes, 0)

    def test_a_write_waits_for_input(self) -> None:
        """A write that has to receive first is repeated, with the same bytes, after a read."""
        self.start()
        self.tls.writes = [SSL.WantReadError()]
        self.connection.write(b"hello")
        self.connection.write(b" again")
        self.assertEqual(self.tls.calls, ["write hello"])
        self.assertEqual(self.turn(), [])
        self.tls.writes = [11]
        self.far.send(b"?")
        self.assertEqual(self.turn()[:2], ["read", "write hello again"])
        self.assertEqual(self.connection.bufferedBytes, 0)

    def test_a_write_that_waits_for_input_goes_on_though_a_read_gives_nothing(self) -> None:
        """The input may have been a handshake without a byte for the protocol."""
        self.start()
        self.tls.writes = [SSL.WantReadError(), SSL.WantReadError(), 5]
        self.connection.write(b"hello")
        self.far.send(b"?")
        self.assertEqual(self.turn()[:4], ["read", "write hello"] * 2)
        self.assertEqual(self.connection.bufferedBytes, 0)

    def test_a_write_that_waited_for_output_waits_for_input(self) -> None:
        """A waiting write whose need changes does not spin on a writable socket."""
        self.start()
        self.tls.writes = [SSL.WantWriteError(), SSL.WantReadError()]
        self.connection.write(b"hello")
        self.assertEqual(self.turn(), ["write hello"])
        self.assertEqual(self.turn(), [])

    def test_part_of_a_write(self) -> None:
        """A write that OpenSSL takes in parts goes on where it stopped."""
        self.start()
        self.tls.writes = [2, 3]
        self.connection.write(b"hello")
        self.assertEqual(self.connection.bufferedBytes, 3)
        self.assertEqual(self.turn(), ["write llo"])
        self.assertEqual(self.connection.bufferedBytes, 0)

    def test_a_goodbye_that_cannot_be_sent_yet(self) -> None:
        """The end waits for its close_notify, so that the peer can tell it from a cut."""
        self.start()
        self.fill()
        self.tls.goodbyes = [SSL.WantWriteError(), None]
        self.connection.loseConnection()
        self.assertEqual(self.turn(), [])
        self.far.send(b"?")
        self.tls.reads = [b"input that nobody wants"] * 4
        self.assertEqual(self.turn(), ["read"] * 4)
        self.assertEqual((self.protocol.data, self.protocol.losses), (b"", []))
        self.drain()
        self.assertEqual(self.turn(), ["goodbye"])
        self.assertIs(self.protocol.losses[0].type, ConnectionDone)

    def test_half_a_goodbye_that_cannot_be_sent_yet(self) -> None:
        """The end of a half waits for its close_notify; reading goes on."""
        self.protocol = HalfCloser()
        self.start()
        self.fill()
        self.tls.goodbyes = [SSL.WantWriteError(), None]
        self.connection.loseWriteConnection()
        self.far.send(b"?")
        self.tls.reads = [b"input"]
        self.turn()
        self.assertEqual(self.protocol.data, b"input")
        self.near.recv(1)
        self.drain()
        self.assertEqual(self.turn(), ["goodbye"])
        self.assertEqual(self.turn(), [])
        self.assertEqual(self.protocol.losses, [])

    def test_a_goodbye_to_a_peer_that_is_gone(self) -> None:
        """A close_notify that cannot be sent at all does not keep the connection."""
        self.start()
        self.tls.goodbyes = [SSL.SysCallError(32, "EPIPE")]
        self.connection.loseConnection()
        self.reactor.turn()
        self.assertIs(self.protocol.losses[0].type, ConnectionDone)

    def test_a_cut_while_nobody_reads(self) -> None:
        """A paused reader whose peer is gone without close_notify is told that it is lost."""
        self.start()
        self.connection.pauseProducing()
        self.far.close()
        self.turn()
        self.assertIs(self.protocol.losses[0].type, ConnectionLost)

    def test_a_write_that_fails(self) -> None:
        """What OpenSSL can still read after a failed write is handed on before the end."""
        self.start()
        self.tls.writes = [SSL.SysCallError(32, "EPIPE")]
        self.tls.reads = [b"the answer", SSL.ZeroReturnError()]
        self.connection.write(b"hello")
        self.reactor.turn()
        self.assertEqual(self.protocol.data, b"the answer")
        self.assertIs(self.protocol.losses[0].type, ConnectionLost)

    def test_a_waiting_write_that_fails(self) -> None:
        """A write that fails when it is repeated ends the connection, too."""
        self.start()
        self.tls.writes = [SSL.WantWriteError(), SSL.SysCallError(32, "EPIPE")]
        self.connection.write(b"hello")
        self.turn()
        self.assertIs(self.protocol.losses[0].type, ConnectionLost)

    def test_an_error_of_tls(self) -> None:
        """What OpenSSL has against the peer is told as it is."""
        self.start()
        self.far.send(b"?")
        self.tls.reads = [SSL.Error([("SSL routines", "", "bad record mac")])]
        self.turn()
        self.assertIs(self.protocol.losses[0].type, SSL.Error)

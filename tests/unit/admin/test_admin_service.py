"""The listener of the admin API where sockets cannot be had, or are too many."""

from __future__ import annotations

import errno
import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from a3s_gateway.admin.admin_service import MAX_CONNECTIONS, AdminService
from a3s_gateway.admin.answers import Answer, Asked
from a3s_gateway.admin.resources import Api
from a3s_gateway.config.admin import AdminConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.entrypoint.entrypoints_service import BindError
from tests.unit.admin.test_resources import Shown, done

WEB = 'entrypoints "web" {\n  address = "127.0.0.1:8080"\n}\n'


class Full(MemoryReactorClock):
    """Every port is taken."""

    def listenTCP(self, port: int, *more: Any, **options: Any) -> Any:
        raise CannotListenError("127.0.0.1", port, OSError(errno.EADDRINUSE, "Address in use"))


class AdminServiceTests(SynchronousTestCase):
    """The service by itself."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        observer = self.note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def note(self, event: Any) -> None:
        if event.get("log_namespace", "").startswith("a3s_gateway"):
            self.lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    def service(self, reactor: MemoryReactorClock, api: Any = None) -> AdminService:
        return AdminService(reactor, api or Api(Shown(), done, lambda: 0.0, done))

    def opened(self, service: AdminService, config: GatewayConfig) -> Deferred[None]:
        return Deferred.fromCoroutine(service.open(config))

    def test_the_default_address_is_not_worth_a_start(self) -> None:
        """Nobody asked for it: the gateway runs without, and a warning says what to do."""
        service = self.service(Full())
        config = GatewayConfig.from_text(WEB, "gateway.hcl", {})
        self.assertIsNone(self.successResultOf(self.opened(service, config)))
        self.assertIsNone(service.address)
        (line,) = self.lines
        assert line.startswith(
            "warn: there is no admin API: the admin API cannot listen on 127.0.0.1:9900: "
        )
        assert "admin { address = ... }" in line

    def test_what_was_written_is_insisted_on(self) -> None:
        """Also if it says no more than the default does."""
        config = GatewayConfig.from_text(f"{WEB}admin {{\n}}\n", "gateway.hcl", {})
        error = self.failureResultOf(self.opened(self.service(Full()), config), BindError).value
        assert str(error.diagnostics[0].span) == "gateway.hcl:4:1"

    def test_what_a_program_sets_is_insisted_on(self) -> None:
        """A configuration that was never text says by its values that they are wanted."""
        config = GatewayConfig(admin=AdminConfig(token="t"))
        self.failureResultOf(self.opened(self.service(Full()), config), BindError)

    def test_it_says_where_it_answers(self) -> None:
        """Once, when it does."""
        memory = MemoryReactorClock()
        config = GatewayConfig.from_text(WEB, environ={})
        self.successResultOf(self.opened(self.service(memory), config))
        assert [each[0] for each in memory.tcpServers] == [9900]
        assert memory.tcpServers[0][3] == "127.0.0.1"
        assert len(self.lines) == 1
        assert self.lines[0].endswith("/api/gateway")

    def test_connections_are_bounded(self) -> None:
        """One more than there may be is closed at once."""
        memory = MemoryReactorClock()
        config = GatewayConfig.from_text(WEB, environ={})
        self.successResultOf(self.opened(self.service(memory), config))
        factory = memory.tcpServers[0][1]
        peer = IPv4Address("TCP", "127.0.0.1", 5)
        for _ in range(MAX_CONNECTIONS):
            factory.buildProtocol(peer).makeConnection(StringTransport())
        assert factory.buildProtocol(peer) is None

    def test_a_fault_of_ours_is_an_answer_like_any_other(self) -> None:
        """With its details in the log, and none in the answer."""

        class Broken:
            async def answer(self, asked: Asked) -> Answer:
                raise ZeroDivisionError("of our own making")

        memory = MemoryReactorClock()
        config = GatewayConfig.from_text(WEB, environ={})
        self.successResultOf(self.opened(self.service(memory, Broken()), config))
        transport = StringTransport()
        protocol = memory.tcpServers[0][1].buildProtocol(IPv4Address("TCP", "127.0.0.1", 5))
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, body = transport.value().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert json.loads(body) == {"error": "Internal Server Error"}
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        assert "critical: the admin API failed at /metrics" in "\n".join(self.lines)

    def test_a_change_that_is_undone_leaves_nothing_open(self) -> None:
        """Another part of the reload failed: what was in force still is."""
        memory = MemoryReactorClock()
        service = self.service(memory)
        config = GatewayConfig.from_text(f'{WEB}admin {{\n address = "127.0.0.1:1"\n}}', environ={})
        other = GatewayConfig.from_text(f'{WEB}admin {{\n address = "127.0.0.1:2"\n}}', environ={})
        self.successResultOf(self.opened(service, config))
        before = service.address
        change: Any = self.successResultOf(Deferred.fromCoroutine(service.prepare(other)))
        assert service.address is before
        change.undo()
        assert service.address is before
        same: Any = self.successResultOf(Deferred.fromCoroutine(service.prepare(config)))
        assert [each[0] for each in memory.tcpServers] == [1, 2]  # no third was opened
        same.commit()
        assert service.address is before

"""Sockets that another process opened: found by name, listened on, and left as they were."""

# ruff: noqa: ASYNC240 - looking at a file on a local disk holds nobody up
from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import IListeningPort
from zope.interface.verify import verifyObject

from a3s_gateway.transport.endpoints import (
    client_endpoint,
    retune,
    systemd_server_endpoint,
    unix_client_endpoint,
)
from a3s_gateway.transport.inherited import (
    InheritedEndpoint,
    NotPassedError,
    Ports,
    passed_sockets,
)
from a3s_gateway.transport.tls_client import ClientTls
from tests.unit.transport.peers import HOST, ConnectionCase, Listening, Recorder, contexts


def environment(count: str, names: str | None = None, pid: str = "7") -> dict[str, str]:
    given = {"LISTEN_PID": pid, "LISTEN_FDS": count}
    return given if names is None else given | {"LISTEN_FDNAMES": names}


@pytest.mark.parametrize(
    ("variables", "passed"),
    [
        (environment("1", "web"), {"web": (3,)}),
        (environment("3", "web:api:web"), {"web": (3, 5), "api": (4,)}),
        (environment("2"), {"unknown": (3, 4)}),
        (environment("2", "web"), {"web": (3,), "unknown": (4,)}),
        (environment("1", "web", pid="8"), {}),
        (environment("0", ""), {}),
        (environment("", "web"), {}),
        (environment("-1", "web"), {}),
        (environment("9" * 5000, "web"), {}),
        (environment("\N{SUPERSCRIPT TWO}", "web"), {}),
        ({"LISTEN_FDS": "1"}, {}),
        ({}, {}),
    ],
)
def test_descriptors_by_name(variables: dict[str, str], passed: dict[str, tuple[int, ...]]) -> None:
    """From 3 on, in the order in which they are named, and only for the process that is meant."""
    assert passed_sockets(variables, 7) == passed


@given(st.text(), st.integers(0, 20).map(str) | st.text(max_size=2), st.text())
def test_any_environment_is_read(names: str, count: str, pid: str) -> None:
    """Each descriptor has one name, whatever stands there."""
    for passed in (passed_sockets(environment(count, names, p), 7) for p in ("7", pid)):
        fds = [fd for each in passed.values() for fd in each]
        assert sorted(fds) == list(range(3, 3 + len(fds)))


def open_sockets() -> int:
    """Count what this process holds."""
    files = [os.path.realpath(each) for each in Path("/proc/self/fd").iterdir()]
    return len([file for file in files if "socket:" in file])


class InheritedCase(ConnectionCase):
    stock = False

    def opened(self, *addresses: Any) -> list[socket.socket]:
        """Open sockets as systemd does; the test holds them to its end."""
        made = []
        for address in addresses or ((HOST, 0),):
            sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
            self.addCleanup(sock.close)
            sock.bind(address)
            sock.listen()
            made.append(sock)
        return made

    def endpoint(self, *sockets: socket.socket, **passed: Any) -> InheritedEndpoint:
        """Make an endpoint to which those were passed as "web"."""
        tls = passed.pop("tls", None)
        by_name = {"web": [each.fileno() for each in sockets], **passed}
        named = {name: fds for name, fds in by_name.items() if fds}
        return InheritedEndpoint(reactor, "web", None, tls, 10.0, self.stock, named)

    async def talk(self, factory: Listening, address: Any, tls: ClientTls | None = None) -> None:
        """Connect, and send a byte each way."""
        if isinstance(address, str):
            endpoint = unix_client_endpoint(reactor, address)
        else:
            endpoint = client_endpoint(reactor, *address, tls=tls)
        near: Any = await connectProtocol(endpoint, Recorder())
        self.addCleanup(self.end, near)
        near.transport.write(b"a")
        far = factory.built[-1] if factory.built else await factory.accepted()
        self.addCleanup(self.end, far)
        assert await far.received(1) == b"a"
        far.transport.write(b"b")
        assert await near.received(1) == b"b"


class InheritedTests(InheritedCase):
    async def test_one_socket(self) -> None:
        """It is served where it was opened, and is still there when it is served no more."""
        (sock,) = self.opened()
        port, factory = await self.listen(endpoint=self.endpoint(sock))
        assert port.getHost().port == sock.getsockname()[1]
        await self.talk(factory, sock.getsockname())
        await port.stopListening()
        with socket.create_connection(sock.getsockname(), 10):
            sock.setblocking(True)  # noqa: FBT003 - the standard library's
            sock.accept()[0].close()

    async def test_several_sockets_of_one_name(self) -> None:
        """They are one port, which shows the address of the first."""
        sockets = self.opened((HOST, 0), (HOST, 0))
        port, factory = await self.listen(endpoint=self.endpoint(*sockets))
        assert verifyObject(IListeningPort, port)
        assert port.getHost().port == sockets[0].getsockname()[1]
        for sock in sockets:
            await self.talk(factory, sock.getsockname())
            factory.built.clear()

    async def test_with_tls(self) -> None:
        """What is spoken there is the configuration's to say."""
        (sock,) = self.opened()
        port, factory = await self.listen(endpoint=self.endpoint(sock, tls=contexts()[0]))
        await self.talk(factory, sock.getsockname(), ClientTls(contexts()[1], "localhost"))
        await port.stopListening()

    async def test_a_reload_changes_the_terms_of_each(self) -> None:
        """Who connects from then on meets the other factory, by whatever socket."""
        sockets = self.opened((HOST, 0), (HOST, 0))
        port, _ = await self.listen(endpoint=self.endpoint(*sockets))
        assert isinstance(port, Ports)
        other = Listening(Recorder)
        retune(reactor, port, other)
        for sock in sockets:
            await self.talk(other, sock.getsockname())
            other.built.clear()

    async def test_it_can_be_left_and_taken_again(self) -> None:
        """A port works with a duplicate."""
        (sock,) = self.opened()
        endpoint = self.endpoint(sock)
        for _ in range(2):
            port, factory = await self.listen(endpoint=endpoint)
            await self.talk(factory, sock.getsockname())
            await port.stopListening()

    async def refused(self, endpoint: InheritedEndpoint) -> NotPassedError:
        before = open_sockets()
        with self.assertRaises(NotPassedError) as caught:
            await endpoint.listen(Listening(Recorder))
        assert open_sockets() == before
        return caught.exception

    async def test_a_name_that_is_not_there(self) -> None:
        """The fault says what to write where, and which names there are."""
        (sock,) = self.opened()
        error = await self.refused(self.endpoint(b=[sock.fileno()], a=[sock.fileno()]))
        assert error.socketError == "no socket of that name was passed"
        assert error.remedy.startswith("put FileDescriptorName=web into a .socket unit")
        assert error.remedy.endswith("passed were: a, b")

    async def test_no_names_at_all(self) -> None:
        """As in a process that systemd did not start by a socket."""
        error = await self.refused(self.endpoint())
        assert error.socketError == "no socket was passed to this process"

    async def test_what_cannot_be_accepted_on(self) -> None:
        """Datagrams, a socket that does not listen, none at all; then none of a name is served."""
        (sock,) = self.opened()
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        idle = socket.socket()
        for each in (datagrams, idle):
            self.addCleanup(each.close)
            error = await self.refused(self.endpoint(sock, each))
            assert error.socketError == "what was passed is no listening stream socket"
        number = 1_000_000  # more than a process may have
        error = await self.refused(self.endpoint(web=[sock.fileno(), number]))
        assert error.socketError == f"file descriptor {number}: Bad file descriptor"

    async def test_a_process_to_which_nothing_was_passed(self) -> None:
        """This one: the endpoint reads the environment."""
        with self.assertRaises(NotPassedError):
            await systemd_server_endpoint(reactor, "web", stock=self.stock).listen(
                Listening(Recorder)
            )

    async def test_children_do_not_get_it(self) -> None:
        """It would stay open in them."""
        (sock,) = self.opened()
        sock.set_inheritable(True)
        await self.listen(endpoint=self.endpoint(sock))
        assert not sock.get_inheritable()


class InheritedByTwistedsTransportsTests(InheritedTests):
    """The same on Twisted's own transports."""

    stock = True


class InheritedUnixTests(InheritedCase):
    async def test_a_unix_socket(self) -> None:
        """Its file is of who opened it, and stays."""
        path = self.socket_path()
        (sock,) = self.opened(path)
        port, factory = await self.listen(endpoint=self.endpoint(sock))
        await self.talk(factory, path)
        await port.stopListening()
        assert Path(path).exists()

    async def test_a_unix_socket_on_twisteds_transports(self) -> None:
        """They would remove its file at the end, so that is refused."""
        self.stock = True
        path = self.socket_path()
        (sock,) = self.opened(path)
        with self.assertRaises(NotPassedError):
            await self.endpoint(sock).listen(Listening(Recorder))
        assert Path(path).exists()

# ruff: noqa: SLF001 - looks at what a listener and a connection hold
"""Another configuration put in force while traffic flows, on real sockets."""

from __future__ import annotations

import gc
import json
import shutil
import socket
import ssl
import weakref
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutput
from twisted.logger import capturedLogs, formatEvent

from a3s_gateway import ConfigError, Gateway, GatewayConfig
from a3s_gateway.transport.endpoints import client_endpoint
from a3s_gateway.transport.tls_client import ClientTls
from a3s_gateway.transport.tls_context import client_context
from tests.certificates import Authority, issue, make_ca
from tests.support import (
    GET,
    OK,
    Backend,
    GatewayTestCase,
    Peer,
    eventually,
    gather,
    passed,
    reactor,
)

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


def write(path: str, text: str) -> str:
    Path(path).write_text(text)
    return path


class ReloadTestCase(GatewayTestCase):
    """Starts a gateway from parts, and puts others in their place."""

    def config(
        self,
        *urls: str,
        entrypoints: str = "",
        web: str = "",
        address: str = "127.0.0.1:0",
        router: str = "",
        rule: str = "PathPrefix(`/`)",
        service: str = "backend",
        balancing: str = "",
        log: str = "enabled = false",
        more: str = "",
        timeout: str = "10s",
    ) -> GatewayConfig:
        servers = "\n".join(f'servers {{ url = "{url}" }}' for url in urls)
        return GatewayConfig.from_text(f"""
            entrypoints "web" {{ address = "{address}"
              {web} }}
            {entrypoints}
            routers "all" {{ rule = "{rule}"
              service = "{service}"
              {router} }}
            services "backend" {{ load_balancer {{ {balancing}
              {servers} }} }}
            {more}
            access_log {{ {log} }}
            admin {{ enabled = false }}
            shutdown_timeout_secs = "{timeout}"
        """)

    async def begin(self, *urls: str, **parts: Any) -> Gateway:
        gateway = Gateway(self.config(*urls, **parts), reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        return gateway

    async def reload(self, *urls: str, **parts: Any) -> None:
        await self.gateways[-1].reload(self.config(*urls, **parts))

    async def connect(self, name: str) -> Peer:
        """Connect to an entrypoint by name."""

        class Named:
            addresses = staticmethod(lambda: {"web": self.gateways[-1].addresses()[name]})

        named: Any = Named()
        return await self.client(named)

    async def text_from(self, client: Peer, request: bytes = GET) -> bytes:
        client.send(request)
        return (await client.response()).body


class GenerationTests(ReloadTestCase):
    """What of the old configuration lives on, and for how long."""

    async def test_an_exchange_sees_one_generation(self) -> None:
        """A request that has begun is answered as the configuration was when it began."""
        old, new = await self.backend(), await self.backend(answer(b"new"))
        await self.begin(old.url, log=f'path = "{self.log}"')
        client, other = await gather(self.client(), self.client())
        client.send(GET)
        peer = await old.accept()
        await peer.head()
        await self.reload(new.url, rule="PathPrefix(`/x`)", log=f'path = "{self.log}"')
        self.assertEqual((await self.exchange(GET)).status, 404)
        self.assertEqual(await self.text_from(other, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"), b"new")
        peer.send(answer(b"old"))
        self.assertEqual((await client.response()).body, b"old")
        lines = await self.logged()
        self.assertEqual([line["backend"] for line in lines], [None, new.url, old.url])

    async def test_an_idle_connection_uses_the_new_generation_on_its_next_request(self) -> None:
        """Nobody has to connect again to see a change."""
        old, new = await self.backend(answer(b"old")), await self.backend(answer(b"new"))
        await self.begin(old.url)
        client = await self.client()
        self.assertEqual(await self.text_from(client), b"old")
        await self.reload(new.url)
        self.assertEqual(await self.text_from(client), b"new")
        self.assertEqual(client.end, "")

    async def test_whom_to_believe_changes_on_an_idle_connection_too(self) -> None:
        """What the connection remembers of its last request does not outlive the trust."""
        await self.begin("http://127.0.0.1:1", service="whoami@internal")
        client = await self.client()
        request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"
        self.assertIn(b"Client: 127.0.0.1\n", await self.text_from(client, request))
        trusting = 'trusted_proxies = ["127.0.0.0/8"]'
        await self.reload("http://127.0.0.1:1", service="whoami@internal", web=trusting)
        self.assertIn(b"Client: 192.0.2.7\n", await self.text_from(client, request))
        await self.reload("http://127.0.0.1:1", service="whoami@internal")
        self.assertIn(b"Client: 127.0.0.1\n", await self.text_from(client, request))

    async def test_limits_and_timeouts_change_on_an_idle_connection_too(self) -> None:
        """A head that was small enough before is refused after; patience ends as is said now."""
        backend = await self.backend(OK)
        await self.begin(backend.url)
        client, idle = await gather(self.client(), self.client())
        request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Filler: " + b"x" * 600 + b"\r\n\r\n"
        self.assertEqual(await self.text_from(client, request), b"ok")
        await self.reload(
            backend.url,
            web='limits { max_head_bytes = 512 }\n timeouts { keep_alive_idle = "200ms" }',
        )
        client.send(request)
        self.assertEqual((await client.response()).status, 431)
        self.assertEqual(await self.text_from(idle), b"ok")
        self.assertEqual(await idle.ended(), "closed")

    async def test_nothing_of_an_old_generation_is_reachable_after_it_has_drained(self) -> None:
        """A thousand reloads cost what one does; not even the garbage collector is needed."""
        old, new = await self.backend(), await self.backend(OK)
        gateway = await self.begin(old.url, more='routers "more" { rule = "Path(`/more`)"\n'
                                   ' service = "backend" }')  # fmt: skip
        client = await self.client()
        snapshot = gateway.snapshot()
        gone = [
            weakref.ref(each)
            for each in (
                snapshot.generation,
                snapshot.resources["web"],
                *snapshot.routes.values(),
                *snapshot.services["backend"],
                gateway.config(),
            )
        ]
        del snapshot
        client.send(GET)
        peer = await old.accept()
        await peer.head()
        gc.collect()
        gc.disable()
        try:
            await self.reload(new.url)
            self.assertIsNotNone(gone[0]())
            peer.send(OK)
            await client.response()
            await eventually(lambda: peer.end, "the old pool to be closed")
            await eventually(lambda: not any(ref() for ref in gone), "the end of the generation")
        finally:
            gc.enable()
        self.assertEqual(await self.text_from(client), b"ok")

    async def test_state_whose_key_is_in_both_survives(self) -> None:
        """Counters, connections, the turn of the balancer: a reload does not reset them."""
        one, two = await self.backend(answer(b"1")), await self.backend(answer(b"2"))
        gateway = await self.begin(one.url, two.url)
        client = await self.client()
        self.assertEqual(await self.text_from(client), b"1")
        before = gateway.snapshot()
        await self.reload(one.url, two.url, more='services "more" { load_balancer {\n'
                          ' servers { url = "http://127.0.0.1:1" } } }')  # fmt: skip
        after = gateway.snapshot()
        self.assertIsNot(before, after)
        self.assertEqual(after.services["backend"], before.services["backend"])
        self.assertIs(after.routes["all"].counters, before.routes["all"].counters)
        self.assertEqual([await self.text_from(client) for _ in range(3)], [b"2", b"1", b"2"])
        self.assertEqual((len(one.peers), len(two.peers)), (1, 1))
        self.assertEqual([each.requests for each in after.services["backend"]], [2, 2])
        self.assertEqual(gateway.health().total_requests, 4)

    async def test_what_is_counted_is_not_lost_with_its_router(self) -> None:
        """The number of requests never goes back."""
        backend = await self.backend(OK)
        gateway = await self.begin(backend.url)
        await self.exchange(GET)
        await self.reload(backend.url, more='routers "other" { rule = "Path(`/o`)"\n'
                          ' service = "backend" }', service="ping@internal")  # fmt: skip
        self.assertEqual(gateway.health().total_requests, 1)


class ListenerTests(ReloadTestCase):
    """Sockets are kept, opened and closed as the entrypoints are."""

    def sockets(self) -> dict[str, Any]:
        return {each.factory.name: each.port for each in self.gateways[-1]._listeners()}

    async def test_a_listener_in_both_is_never_closed(self) -> None:
        """It is the same socket whatever else changes, even its name."""
        backend = await self.backend(OK)
        gateway = await self.begin(backend.url)
        port = self.sockets()["web"]
        number = gateway.addresses()["web"].port
        queued = socket.create_connection(("127.0.0.1", number))
        self.addCleanup(queued.close)
        await self.reload(
            backend.url,
            web="max_connections = 1000" if not self.stock else "",
            address="127.0.0.1:0",
        )
        self.assertIs(self.sockets()["web"], port)
        self.assertEqual(await self.text_from(await self.client()), b"ok")

    async def test_an_entrypoint_may_be_renamed_where_it_listens(self) -> None:
        """Connections stay, and are told of by the new name."""
        backend = await self.backend(OK)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = f"127.0.0.1:{free.getsockname()[1]}"
        extra = f'entrypoints "extra" {{ address = "{place}" }}'
        gateway = await self.begin(backend.url, entrypoints=extra)
        client = await self.connect("extra")
        self.assertEqual(await self.text_from(client), b"ok")
        port = self.sockets()["extra"]
        await self.reload(backend.url, entrypoints=extra.replace('"extra"', '"renamed"'))
        self.assertIs(self.sockets()["renamed"], port)
        self.assertEqual(set(gateway.addresses()), {"web", "renamed"})
        self.assertEqual(await self.text_from(client), b"ok")

    async def test_a_new_listener_serves_and_a_removed_one_drains(self) -> None:
        """Running exchanges of an entrypoint that goes are finished; nobody new gets in."""
        backend = await self.backend()
        extra = 'entrypoints "extra" { address = "127.0.0.1:0" }'
        gateway = await self.begin(backend.url, entrypoints=extra)
        busy, idle = await gather(self.connect("extra"), self.connect("extra"))
        number = gateway.addresses()["extra"].port
        busy.send(GET)
        peer = await backend.accept()
        await peer.head()
        await self.reload(backend.url, entrypoints=extra.replace("extra", "fresh"))
        self.assertEqual(set(gateway.addresses()), {"web", "fresh"})
        self.assertEqual(await idle.ended(), "closed")
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", number)).close()
        peer.send(OK)
        response = await busy.response()
        self.assertEqual(response.head.find("connection"), "close")
        self.assertEqual(await busy.ended(), "closed")
        fresh = await self.connect("fresh")
        fresh.send(GET)
        await peer.head()
        peer.send(OK)
        self.assertEqual((await fresh.response()).status, 200)

    async def test_what_does_not_end_in_time_is_cut_off(self) -> None:
        """An entrypoint that goes is gone within `shutdown_timeout_secs`."""
        backend = await self.backend()
        extra = 'entrypoints "extra" { address = "127.0.0.1:0" }'
        gateway = await self.begin(backend.url, entrypoints=extra)
        client = await self.connect("extra")
        client.send(GET)
        await (await backend.accept()).head()
        await self.reload(backend.url, timeout="200ms")
        self.assertEqual(gateway.health().active_connections, 1)
        await client.ended()
        await eventually(lambda: gateway.health().active_connections == 0, "nobody to be left")

    async def test_a_shutdown_waits_for_a_listener_that_drains(self) -> None:
        """What was removed just before the end is finished like the rest."""
        backend = await self.backend()
        extra = 'entrypoints "extra" { address = "127.0.0.1:0" }'
        gateway = await self.begin(backend.url, entrypoints=extra)
        client = await self.connect("extra")
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        await self.reload(backend.url)
        done = gateway.shutdown()
        await passed(0.05)
        self.assertFalse(done.called)
        peer.send(OK)
        self.assertEqual((await client.response()).status, 200)
        await done

    async def test_tls_may_be_turned_on_and_its_certificate_exchanged(self) -> None:
        """The socket stays; who connects from now on meets what is wanted now."""
        authority = make_ca()
        backend = await self.backend(OK)
        await self.begin(backend.url)
        plain = await self.client()
        self.assertEqual(await self.text_from(plain), b"ok")
        port = self.sockets()["web"]
        for name in ("a.test", "b.test"):
            cert, key = issue(authority, [name])
            web = f'tls {{ cert_file = "{cert}"\n key_file = "{key}" }}'
            await self.reload(backend.url, web=web)
            client = await self.tls_client(authority, name)
            self.assertEqual(await self.text_from(client), b"ok")
        self.assertIs(self.sockets()["web"], port)
        self.assertEqual(await plain.ended(), "closed")
        head = backend.requests[-1]
        self.assertEqual(head.find("x-forwarded-proto"), "https")
        await self.reload(backend.url)
        self.assertEqual(await self.text_from(await self.client()), b"ok")
        client.close()
        await client.ended()

    async def test_tls_sessions_are_resumed_over_a_reload(self) -> None:
        """A client that comes back need not prove anything anew, with old and new certificates."""
        authority = make_ca()
        backend = await self.backend(OK)
        pairs = [issue(authority, ["a.test"]) for _ in range(2)]
        tls = [f'tls {{ cert_file = "{cert}"\n key_file = "{key}" }}' for cert, key in pairs]
        await self.begin(backend.url, web=tls[0])
        session, is_resumed = await self.visit(authority, None)
        self.assertFalse(is_resumed)
        for block in (tls[0], tls[0], tls[1]):
            await self.reload(backend.url, web=block)
            session, is_resumed = await self.visit(authority, session)
            self.assertTrue(is_resumed)

    async def visit(self, authority: Authority, session: Any) -> tuple[Any, bool]:
        """Ask as a client of its own; tell its session, and whether it was the former one."""
        number = self.gateways[-1].addresses()["web"].port
        context = self.context = getattr(self, "context", None) or ssl.create_default_context(
            cafile=authority.cert_path
        )

        def ask() -> tuple[Any, bool]:
            with socket.create_connection(("127.0.0.1", number), 10) as plain:
                wrapped = context.wrap_socket(plain, server_hostname="a.test", session=session)
                with wrapped as sock:
                    sock.sendall(GET)
                    assert sock.recv(100).startswith(b"HTTP/1.1 200")
                    return sock.session, bool(sock.session_reused)

        told: tuple[Any, bool] = await deferToThread(ask)
        return told

    async def tls_client(self, authority: Authority, name: str) -> Peer:
        """Connect by TLS to a server that must be `name`."""
        number = self.gateways[-1].addresses()["web"].port
        tls = ClientTls(client_context(ca_file=authority.cert_path), name)
        endpoint = client_endpoint(reactor, "127.0.0.1", number, tls=tls, stock=True)
        peer = await connectProtocol(endpoint, Peer())
        self.everyone.append(peer)
        return peer


class FailureTests(ReloadTestCase):
    """A reload that fails changes nothing but what is told of it."""

    async def fails(self, backend: Backend, *texts: str, **parts: Any) -> None:
        """Reload, in vain; all is as it was."""
        gateway = self.gateways[-1]
        config, snapshot, addresses = gateway.config(), gateway.snapshot(), gateway.addresses()
        before = gateway.facts().reloads
        with self.assertRaises(ConfigError) as caught:
            await self.reload(backend.url, **parts)
        for text in texts:
            self.assertIn(text, str(caught.exception))
            self.assertIn(text, gateway.state().last_error)
        self.assertEqual(gateway.state().state, "running")
        self.assertIs(gateway.config(), config)
        self.assertIs(gateway.snapshot(), snapshot)
        self.assertEqual(gateway.addresses(), addresses)
        after = gateway.facts().reloads
        self.assertEqual((after.failed, after.succeeded), (before.failed + 1, before.succeeded))
        self.assertFalse(after.is_last_successful)
        self.assertEqual((await self.exchange(GET)).body, b"ok")
        self.assertEqual([each.in_flight for each in snapshot.services["backend"]], [0])

    async def start(self) -> Backend:
        backend = await self.backend(OK)
        await self.begin(backend.url)
        return backend

    async def test_a_taken_port(self) -> None:
        """New listeners that were opened before are closed again; the fault names the place."""
        backend = await self.start()
        with socket.socket() as taken, socket.socket() as free:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            free.bind(("127.0.0.1", 0))
            number = free.getsockname()[1]
            free.close()
            await self.fails(
                backend,
                'entrypoint "late" cannot listen on',
                entrypoints=f'entrypoints "early" {{ address = "127.0.0.1:{number}" }}\n'
                f'entrypoints "late" {{ address = "127.0.0.1:{taken.getsockname()[1]}" }}',
            )
            with self.assertRaises(OSError):
                socket.create_connection(("127.0.0.1", number)).close()

    async def test_an_address_that_overlaps_one_of_ours(self) -> None:
        """The hint says that it is the gateway itself that listens there."""
        backend = await self.start()
        number = self.gateways[-1].addresses()["web"].port
        await self.fails(backend, "the gateway itself", address=f"127.0.0.1:{number}")

    async def test_a_bad_certificate(self) -> None:
        """A file that is no certificate is found before anything changes."""
        backend = await self.start()
        bad = write(self.mktemp(), "no certificate")
        await self.fails(backend, "cert", web=f'tls {{ cert_file = "{bad}"\n key_file = "{bad}" }}')

    async def test_what_is_not_available(self) -> None:
        """It is refused as at the start."""
        backend = await self.start()
        await self.fails(backend, "not yet available", more="providers { docker { } }")

    async def test_an_access_log_that_cannot_be_opened(self) -> None:
        """The one that is written goes on."""
        backend = await self.start()
        await self.fails(backend, "cannot write the access log", log='path = "/nowhere/a.log"')

    async def test_a_success_afterwards_clears_the_error(self) -> None:
        """`state` tells of the last reload."""
        backend = await self.start()
        await self.fails(backend, "not yet available", more="providers { docker { } }")
        await self.reload(backend.url)
        self.assertEqual(self.gateways[-1].state().last_error, "")
        self.assertTrue(self.gateways[-1].facts().reloads.is_last_successful)

    async def test_a_gateway_that_does_not_run_is_not_reloaded(self) -> None:
        """Neither before the start nor after the end."""
        gateway = Gateway(self.config("http://127.0.0.1:1"), reactor, stock_transports=self.stock)
        with self.assertRaises(RuntimeError):
            await gateway.reload()


class TellingTests(ReloadTestCase):
    """What the application log says."""

    async def test_warnings_are_told_once_the_configuration_is_in_force(self) -> None:
        """As at the start."""
        await self.begin("http://127.0.0.1:1")
        with capturedLogs() as events:
            await self.reload("http://127.0.0.1:1", rule="PathPrefix(`/`) && PathPrefix(`/`)",
                              more='providers { file { directory = "/nowhere" } }')  # fmt: skip
        said = [formatEvent(each) for each in events]
        self.assertIn("reloaded the configuration; 1 reloads since the start", said)
        self.assertIn('cannot read directory "/nowhere"', said[-1])

    async def test_a_fault_is_told_with_its_place_and_without_a_traceback(self) -> None:
        """It is the user's, not ours."""
        await self.begin("http://127.0.0.1:1")
        with capturedLogs() as events, self.assertRaises(ConfigError):
            await self.reload("http://127.0.0.1:1", more="providers { docker { } }")
        (event,) = events
        self.assertIn("not yet available: the docker provider", formatEvent(event))
        self.assertIn("<text>:", formatEvent(event))
        self.assertNotIn("log_failure", event)


class OneAtATimeTests(ReloadTestCase):
    """Many who ask for a reload at once."""

    async def from_file(self) -> Gateway:
        path = write(
            self.mktemp(),
            'entrypoints "web" { address = "127.0.0.1:0" }\n'
            "admin { enabled = false }\naccess_log { enabled = false }",
        )
        gateway = Gateway(GatewayConfig.from_file(path), reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        return gateway

    async def test_of_several_waiting_only_the_newest_is_done(self) -> None:
        """Those in between are never in force; who asked for them waits for the newest."""
        backends = [await self.backend(answer(b"%d" % number)) for number in range(4)]
        gateway = await self.from_file()
        asked = [gateway.reload()]  # it takes a process, so the others have to wait
        asked += [gateway.reload(self.config(each.url)) for each in backends]
        await gather(*asked)
        self.assertEqual((await self.exchange(GET)).body, b"3")
        self.assertEqual(gateway.facts().reloads.succeeded, 2)

    async def test_a_shutdown_gives_a_reload_up(self) -> None:
        """It does not wait for a configuration that nobody will need."""
        gateway = await self.from_file()
        asked = [gateway.reload(), gateway.reload()]
        await gateway.shutdown()
        for each in asked:
            with self.assertRaises(RuntimeError):
                await each


class FromFilesTests(ReloadTestCase):
    """The files of the configuration, while the gateway runs."""

    MAIN = """
        entrypoints "web" { address = "127.0.0.1:0" }
        providers {
          file {
            directory = "conf.d"
          }
        }
        admin { enabled = false }
        access_log { enabled = false }
    """

    def put(self, name: str, text: str) -> None:
        """Put a file in the place of the one there was, as a deployment does."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)

    def router(self, path: str, service: str = "ping@internal") -> str:
        name = path.strip("/")
        return f'routers "{name}" {{\n rule = "Path(`{path}`)"\n service = "{service}"\n}}\n'

    async def status(self, path: str) -> int:
        return (await self.exchange(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())).status

    async def reloaded(self, succeeded: int, failed: int = 0) -> None:
        def is_so() -> bool:
            now = self.gateways[-1].facts().reloads
            return (now.succeeded, now.failed) == (succeeded, failed)

        await eventually(is_so, f"{succeeded} reloads, and {failed} that fail")

    async def test_changes_on_disk_are_taken_over_and_faults_do_no_harm(self) -> None:
        """Good files count at once; a bad fragment stays as it was, a bad main file all of them."""
        self.folder = Path(self.mktemp())
        self.put("gateway.hcl", self.MAIN)
        self.put("conf.d/a.hcl", self.router("/a1"))
        config = GatewayConfig.from_file(self.folder / "gateway.hcl")
        gateway = Gateway(config, reactor, stock_transports=self.stock)
        self.gateways.append(gateway)
        await gateway.start()
        self.assertEqual(await self.status("/a1"), 200)

        self.put("conf.d/a.hcl", self.router("/a2"))
        await self.reloaded(1)
        self.assertEqual([await self.status(p) for p in ("/a1", "/a2")], [404, 200])

        self.put("conf.d/a.hcl", self.router("/a3", "nobody"))
        await self.reloaded(2)
        self.assertEqual(await self.status("/a2"), 200)
        self.assertIn("nobody", gateway.state().last_error)
        self.assertFalse(gateway.facts().reloads.is_last_successful)

        self.put("conf.d/b.hcl", self.router("/b1"))
        await self.reloaded(3)
        self.assertEqual([await self.status(p) for p in ("/a2", "/b1")], [200, 200])
        self.assertIn("nobody", gateway.state().last_error)

        self.put("gateway.hcl", self.MAIN + "nonsense = 1\n")
        await self.reloaded(3, failed=1)
        self.assertIn("nonsense", gateway.state().last_error)
        self.assertEqual([await self.status(p) for p in ("/a2", "/b1")], [200, 200])

        self.put("gateway.hcl", self.MAIN)
        self.put("conf.d/a.hcl", self.router("/a3"))
        await eventually(lambda: gateway.facts().reloads.is_last_successful, "all to be well")
        self.assertEqual(gateway.state().last_error, "")
        self.assertEqual([await self.status(p) for p in ("/a3", "/b1")], [200, 200])


class AccessLogTests(ReloadTestCase):
    """The access log changes, and no line is lost."""

    async def test_path_and_format_change_between_two_lines(self) -> None:
        """What ended before is in the old file in the old format, what ends after in the new."""
        backend = await self.backend(OK)
        old, new = self.log, self.log.with_suffix(".new")
        await self.begin(backend.url, log=f'path = "{old}"')
        client = await self.client()
        for _ in range(3):
            await self.text_from(client)
        await self.reload(backend.url, log=f'path = "{new}"\n format = "common"')
        for _ in range(4):
            await self.text_from(client)
        await self.reload(backend.url, log=f'path = "{new}"\n fields = ["status"]')
        for _ in range(5):
            await self.text_from(client)
        await self.reload(backend.url)
        await self.text_from(client)
        await self.gateways[-1].shutdown()
        lines = new.read_text().splitlines()
        self.assertEqual([json.loads(x)["status"] for x in old.read_text().splitlines()], [200] * 3)
        self.assertEqual([line.startswith("127.0.0.1 - ") for line in lines[:4]], [True] * 4)
        self.assertEqual(lines[4:], ['{"status":200}'] * 5)


class UnderLoadTests(ReloadTestCase):
    """A hundred reloads while everything happens at once."""

    timeout = 120  # type: ignore[assignment]

    async def test_no_request_fails_and_nothing_is_cut_off(self) -> None:
        """Clients without pause, streams, a WebSocket and slow bodies do not notice any of it."""
        fast, slow = await self.backend(OK), await self.backend()
        more = (
            'routers "slow" { rule = "PathPrefix(`/slow`)"\n service = "slow" }\n'
            f'services "slow" {{ load_balancer {{ servers {{ url = "{slow.url}" }} }} }}\n'
        )
        await self.begin(fast.url, more=more)
        stream, upload, download = await gather(*(self.client() for _ in range(3)))
        stream.send(b"GET /slow/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        events = await slow.accept()
        await events.head()
        events.send(STREAM)
        await stream.head()
        upload.send(b"POST /slow/up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        taker = await slow.accept()
        await taker.head()
        download.send(b"GET /slow/down HTTP/1.1\r\nHost: a\r\n\r\n")
        giver = await slow.accept()
        await giver.head()
        giver.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        await download.head()
        talk, talker = await self.websocket(slow, b"/slow/chat")

        load = [Load(await self.client()) for _ in range(8)]
        runs = [Deferred.fromCoroutine(each.run()) for each in load]
        for number in range(100):
            balancing = f'strategy = "{"random" if number % 2 else "round-robin"}"'
            extra = 'entrypoints "extra" { address = "127.0.0.1:0" }' if number % 3 else ""
            web = f'trusted_proxies = ["10.0.0.{number}/32"]'
            limits = f"limits {{ max_head_bytes = {4096 + number} }}"
            await self.reload(
                fast.url,
                balancing=balancing,
                entrypoints=extra,
                web=f"{web}\n{limits}",
                more=more if number % 2 else more + "# again",
            )
            events.send(b"3\r\nabc\r\n")
            upload.send(b"0123456789")
            giver.send(bytes(10000))
            self.assertEqual(await stream.chunk(), b"abc")
            talk.send(b"\x82\x82\0\0\0\0hi")
            self.assertEqual(await talker.bytes(8), b"\x82\x82\0\0\0\0hi")
            talker.send(b"\x82\x03you")
            self.assertEqual(await talk.bytes(5), b"\x82\x03you")
        for each in load:
            each.is_over = True
        for run in runs:
            await run
        self.assertEqual((talk.end, talker.end), ("", ""))
        events.send(b"0\r\n\r\n")
        self.assertEqual(await stream.chunked(), (b"", []))
        self.assertEqual(await taker.bytes(1000), b"0123456789" * 100)
        taker.send(OK)
        self.assertEqual((await upload.response()).status, 200)
        self.assertEqual(await download.bytes(1000000), bytes(1000000))
        self.assertEqual([each.failed for each in load], [0] * 8)
        self.assertTrue(all(each.done > 20 for each in load))
        self.assertEqual(self.gateways[-1].facts().reloads.succeeded, 100)
        self.assertEqual(self.gateways[-1].facts().reloads.failed, 0)

    async def test_a_load_generator_sees_no_error_either(self) -> None:
        """Nor do a WebSocket, a stream of events and a slow upload that last all the while."""
        wrk = shutil.which("wrk")
        if wrk is None:
            raise SkipTest("wrk is not installed")
        backend, slow = await self.backend(OK), await self.backend()
        more = (
            'routers "slow" { rule = "PathPrefix(`/slow`)"\n service = "slow" }\n'
            f'services "slow" {{ load_balancer {{ servers {{ url = "{slow.url}" }} }} }}\n'
        )
        gateway = await self.begin(backend.url, more=more)
        number = gateway.addresses()["web"].port
        url = f"http://127.0.0.1:{number}/"
        stream, upload = await gather(self.client(), self.client())
        talk, talker = await self.websocket(slow, b"/slow/chat")
        stream.send(b"GET /slow/stream HTTP/1.1\r\nHost: a\r\n\r\n")
        events = await slow.accept()
        await events.head()
        events.send(STREAM)
        await stream.head()
        upload.send(b"POST /slow/up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        taker = await slow.accept()
        await taker.head()
        said = getProcessOutput(wrk, ["-t1", "-c16", "-d5s", url], reactor=reactor)
        for number in range(100):
            balancing = f'request_timeout = "{10 + number % 2}s"'
            await self.reload(backend.url, balancing=balancing, more=more)
            talk.send(b"\x82\x82\0\0\0\0hi")
            self.assertEqual(await talker.bytes(8), b"\x82\x82\0\0\0\0hi")
            talker.send(b"\x82\x03you")
            self.assertEqual(await talk.bytes(5), b"\x82\x03you")
            events.send(b"3\r\nabc\r\n")
            self.assertEqual(await stream.chunk(), b"abc")
            upload.send(b"0123456789")
            await passed(0.02)
        words = (await said).decode()
        self.assertIn("requests in", words)
        self.assertNotIn("Socket errors", words)
        self.assertNotIn("Non-2xx", words)
        self.assertEqual(await taker.bytes(1000), b"0123456789" * 100)
        taker.send(OK)
        self.assertEqual((await upload.response()).status, 200)
        self.assertEqual([each.end for each in (talk, talker, stream, events)], [""] * 4)
        self.assertEqual(gateway.facts().reloads.succeeded, 100)


class Load:
    """A client that asks again as soon as it has an answer; every other time it connects anew."""

    def __init__(self, client: Peer) -> None:
        self.client = client
        self.done = self.failed = 0
        self.is_over = False

    async def run(self) -> None:
        while not self.is_over:
            self.client.send(GET)
            response = await self.client.response()
            self.done += 1
            self.failed += response.status != 200 or response.body != b"ok"


class OnTwistedsTransportsTests(ListenerTests):
    """The same listeners over Twisted's own transports."""

    stock = True


class GenerationOnTwistedsTransportsTests(GenerationTests):
    """The same generations over Twisted's own transports."""

    stock = True

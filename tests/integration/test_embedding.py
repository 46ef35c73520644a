"""The gateway as a part of somebody else's program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

from twisted.application.service import Application, IServiceCollection, MultiService
from twisted.internet import reactor as global_reactor

from a3s_gateway import Gateway, GatewayConfig
from a3s_gateway import gateway as module
from a3s_gateway.gateway import BindError, State
from tests.support import GET, GatewayTestCase

reactor: Any = global_reactor

ROOT = Path(__file__).parents[2]
LIMIT = 30  # seconds
TEXT = """
entrypoints "web" {
  address = "127.0.0.1:0"
}
routers "all" {
  rule    = "PathPrefix(`/`)"
  service = "ping@internal"
}
access_log {
  enabled = false
}
admin {
  enabled = false
}
"""


class ServiceTests(GatewayTestCase):
    """As a service among services."""

    def made(self, text: str = TEXT) -> Gateway:
        gateway = Gateway(GatewayConfig.from_text(text), reactor)
        self.gateways.append(gateway)
        return gateway

    async def test_it_starts_and_stops_with_its_parent(self) -> None:
        """The parent waits for the drain."""
        parent, gateway = MultiService(), self.made()
        gateway.setServiceParent(parent)
        assert gateway.state().state is State.CREATED
        parent.privilegedStartService()
        parent.startService()
        assert gateway.state().state is State.RUNNING
        assert (await self.exchange(GET)).body == b"OK\n"
        await parent.stopService()
        assert gateway.state().state is State.STOPPED

    async def test_a_parent_that_runs_starts_it(self) -> None:
        """And one that lets it go stops it."""
        parent, gateway = MultiService(), self.made()
        parent.startService()
        gateway.setServiceParent(parent)
        assert gateway.state().state is State.RUNNING
        await gateway.disownServiceParent()
        assert gateway.state().state is State.STOPPED

    async def test_one_that_runs_may_get_a_parent(self) -> None:
        """It goes on as it is."""
        parent, gateway = MultiService(), self.made()
        await gateway.start()
        parent.startService()
        gateway.setServiceParent(parent)
        assert (await self.exchange(GET)).status == 200
        await parent.stopService()

    async def test_a_parent_may_start_again(self) -> None:
        """As with every service of Twisted."""
        parent, gateway = MultiService(), self.made()
        gateway.setServiceParent(parent)
        for _ in range(2):
            parent.startService()
            assert (await self.exchange(GET)).status == 200
            await parent.stopService()

    async def test_a_start_that_fails_is_the_parents_to_see(self) -> None:
        """It raises at once, before any reactor has to run."""
        first = self.made()
        await first.start()
        port = first.addresses()["web"].port
        second = self.made(TEXT.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        parent = MultiService()
        second.setServiceParent(parent)
        with self.assertRaises(BindError):
            parent.privilegedStartService()

    async def test_an_application_takes_it(self) -> None:
        """For a .tac file."""
        application: Any = Application("mine")
        self.made().setServiceParent(application)
        services: Any = IServiceCollection(application)
        services.startService()
        assert (await self.exchange(GET)).status == 200
        await services.stopService()

    async def test_several_in_one_process(self) -> None:
        """Each has its own listeners and counts; one stops, the others go on."""
        one, two = self.made(), self.made()
        await one.start()
        await two.start()
        assert one.addresses()["web"].port != two.addresses()["web"].port
        assert [(await self.exchange(GET)).status for _ in range(2)] == [200, 200]
        await one.shutdown()
        assert (await self.exchange(GET)).status == 200
        assert (one.health().total_requests, two.health().total_requests) == (0, 3)

    async def test_a_file_and_a_reactor_are_all_it_takes(self) -> None:
        """The global reactor is used where none is given."""
        file = Path(self.mktemp())
        file.write_text(TEXT)  # noqa: ASYNC240 - a few bytes
        gateway = Gateway(GatewayConfig.from_file(file))
        self.gateways.append(gateway)
        await gateway.start()
        assert (await self.exchange(GET)).status == 200


def run(program: str, folder: Path) -> str:
    """Run a Python program beside a `gateway.hcl`; returns what it printed."""
    (folder / "gateway.hcl").write_text(TEXT)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", dedent(program)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_under_asyncio(tmp_path: Path) -> None:
    """A coroutine of asyncio awaits futures made of the Deferreds, on one loop with the gateway."""
    program = """
        import asyncio
        from twisted.internet import asyncioreactor
        loop = asyncio.new_event_loop()
        asyncioreactor.install(loop)
        from twisted.internet import reactor
        from a3s_gateway import Gateway, GatewayConfig

        async def main():
            gateway = Gateway(GatewayConfig.from_file("gateway.hcl"))
            await gateway.start().asFuture(loop)
            port = gateway.addresses()["web"].port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
            print((await reader.read()).decode().splitlines()[0])
            writer.close()
            await gateway.shutdown().asFuture(loop)
            print(gateway.state().state)

        def over(task):
            reactor.stop()
            task.result()

        reactor.callWhenRunning(lambda: loop.create_task(main()).add_done_callback(over))
        reactor.run()
        loop.close()
    """
    assert run(program, tmp_path).splitlines() == ["HTTP/1.1 200 OK", "stopped"]


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    """The docstring's program runs as it stands, but for somebody who ends it."""
    assert module.__doc__ is not None
    (example,) = re.findall(r"\n\n((?:    .*\n|\n)+)", module.__doc__)
    ends = dedent(example).replace(
        "    await gateway.wait_for_shutdown()",
        "    reactor.callLater(0, gateway.shutdown)\n    await gateway.wait_for_shutdown()",
    )
    assert ends != dedent(example)
    assert "Health(state=<State.RUNNING: 'running'>" in run(ends, tmp_path)

"""Changes of the configuration's files, as editors and deployments make them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from a3s_gateway import GatewayConfig
from a3s_gateway.provider import file_service
from a3s_gateway.provider.file_service import FileProvider
from tests.support import eventually, passed

reactor: Any = global_reactor
WEB = 'entrypoints "web" { address = ":80" }\n'
MAIN = WEB + 'providers { file { directory = "conf.d" } }\n'


def router(name: str) -> str:
    return f'routers "{name}" {{ rule = "Path(`/{name}`)"\n service = "ping@internal" }}\n'


class ByInotifyTests(TestCase):
    """Each way to change a file is noticed, once."""

    has_inotify: ClassVar[bool] = True

    def setUp(self) -> None:
        self.patch(file_service, "QUIET", 0.03)
        self.patch(file_service, "POLL", 0.02)
        if self.has_inotify:
            self.patch(file_service, "POLL_BESIDE", 3600.0)
        self.folder = Path(self.mktemp())
        self.main = self.folder / "gateway.hcl"
        self.fragments = self.folder / "conf.d"
        self.folder.mkdir()
        self.changes = 0

    def tearDown(self) -> None:
        self.provider.stopService()

    async def watch(self, main: Path | None = None) -> None:
        """Watch what is there now; returns when that has begun."""
        self.provider = FileProvider(reactor, self.changed, self.has_inotify)
        self.provider.startService()
        self.provider.watch(GatewayConfig.from_file(main or self.main))
        await self.settled()

    def changed(self) -> None:
        self.changes += 1

    async def settled(self) -> None:
        await passed(0.25)

    async def once(self, change: Callable[[], object]) -> None:
        """Make a change; it is noticed exactly once."""
        before = self.changes
        change()
        await eventually(lambda: self.changes > before, "the change to be noticed")
        await self.settled()
        self.assertEqual(self.changes, before + 1)

    async def test_a_file_that_is_written_in_place(self) -> None:
        """As `echo >` does it."""
        self.main.write_text(MAIN)
        await self.watch()
        self.assertEqual(self.changes, 0)
        await self.once(lambda: self.main.write_text(MAIN + "shutdown_timeout_secs = 1\n"))
        await self.once(lambda: self.main.write_text(MAIN + "shutdown_timeout_secs = 2\n"))

    async def test_a_file_that_is_replaced(self) -> None:
        """As editors do it: by a rename, with or without a moment in which it is not there."""
        self.main.write_text(MAIN)
        await self.watch()
        new, old = self.folder / "new", self.folder / "gateway.hcl~"

        def replace(text: str) -> None:
            new.write_text(text)
            new.replace(self.main)

        def rename_and_write(text: str) -> None:
            self.main.rename(old)
            self.main.write_text(text)

        for number in range(2):
            await self.once(lambda n=number: replace(MAIN + router(f"a{n}")))
            await self.once(lambda n=number: rename_and_write(MAIN + router(f"b{n}")))

    async def test_a_config_map(self) -> None:
        """As Kubernetes does it: a link to a folder is replaced, and the folder removed."""
        versions = [self.folder / f"..{number}" for number in range(3)]
        for number, version in enumerate(versions):
            version.mkdir()
            (version / "gateway.hcl").write_text(
                WEB + "providers { file { } }\n" + router(f"r{number}")
            )
        data = self.folder / "..data"
        data.symlink_to("..0")
        self.main.symlink_to("..data/gateway.hcl")
        await self.watch()

        def swap(number: int) -> None:
            (self.folder / "..tmp").symlink_to(f"..{number}")
            (self.folder / "..tmp").replace(data)
            before = versions[number - 1]
            (before / "gateway.hcl").unlink()
            before.rmdir()

        for number in (1, 2):
            await self.once(lambda n=number: swap(n))

    async def test_a_fragment_that_comes_changes_and_goes(self) -> None:
        """Each is a change of the configuration."""
        self.main.write_text(MAIN)
        self.fragments.mkdir()
        await self.watch()
        fragment = self.fragments / "a.hcl"
        await self.once(lambda: fragment.write_text(router("a")))
        await self.once(lambda: fragment.write_text(router("b")))
        await self.once(fragment.unlink)

    async def test_a_folder_that_comes_later_or_is_replaced(self) -> None:
        """It is watched from then on, and so is another of its name."""
        self.main.write_text(MAIN)
        await self.watch()

        def come() -> None:
            self.fragments.mkdir()
            (self.fragments / "a.hcl").write_text(router("a"))

        def be_replaced() -> None:
            (self.folder / "next").mkdir()
            (self.folder / "next" / "a.hcl").write_text(router("b"))
            self.fragments.rename(self.folder / "former")
            (self.folder / "next").rename(self.fragments)

        def go() -> None:
            (self.fragments / "a.hcl").unlink()
            self.fragments.rmdir()

        await self.once(come)
        await self.once(be_replaced)
        await self.once(lambda: (self.fragments / "a.hcl").write_text(router("c")))
        await self.once(go)
        await self.once(come)

    async def test_nothing_happens_without_a_change_of_contents(self) -> None:
        """Neither for a touch, nor for the same text again, nor for other files."""
        self.main.write_text(MAIN)
        self.fragments.mkdir()
        await self.watch()
        os.utime(self.main)
        self.main.write_text(MAIN)
        (self.fragments / "notes.txt").write_text("nothing")
        (self.fragments / ".a.hcl.swp").write_text("nothing")
        await self.settled()
        self.assertEqual(self.changes, 0)

    async def test_what_changed_between_the_reading_and_the_watch_is_noticed(self) -> None:
        """A change at the wrong moment is not lost."""
        self.main.write_text(MAIN)
        config = GatewayConfig.from_file(self.main)
        self.main.write_text(MAIN + router("a"))
        self.provider = FileProvider(reactor, self.changed, self.has_inotify)
        self.provider.startService()
        self.provider.watch(config)
        await eventually(lambda: self.changes == 1, "the change to be noticed")

    async def test_a_configuration_that_does_not_want_it_is_not_watched(self) -> None:
        """`watch = false`, also after a reload from one that wanted it."""
        self.main.write_text(MAIN)
        await self.watch()
        self.main.write_text(MAIN.replace("file {", "file { watch = false\n"))
        await eventually(lambda: self.changes == 1, "the change to be noticed")
        self.provider.watch(GatewayConfig.from_file(self.main))
        self.main.write_text(MAIN)
        await self.settled()
        self.assertEqual(self.changes, 1)

    async def test_a_configuration_that_is_in_no_file_is_not_watched(self) -> None:
        """There is nothing that it could be read from again."""
        self.provider = FileProvider(reactor, self.changed, self.has_inotify)
        self.provider.startService()
        self.provider.watch(GatewayConfig.from_text(WEB + "providers { file { } }"))
        await self.settled()
        self.assertEqual(self.changes, 0)

    async def test_many_writes_are_one_change(self) -> None:
        """It waits until the copying is over."""
        self.main.write_text(MAIN)
        self.fragments.mkdir()
        await self.watch()

        def copy() -> None:
            for number in range(50):
                (self.fragments / f"{number}.hcl").write_text(router(f"r{number}"))

        await self.once(copy)


class ByPollingTests(ByInotifyTests):
    """Where there is no inotify, the same is noticed by looking now and then."""

    has_inotify = False

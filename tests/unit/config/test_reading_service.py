"""Reading in a child process, while the reactor goes on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from a3s_gateway import ConfigError, GatewayConfig
from a3s_gateway.config import reading_service
from a3s_gateway.config.faults import ReadingError
from a3s_gateway.config.reading_service import read_apart

reactor: Any = global_reactor
TEXT = 'entrypoints "web" { address = ":80" }\nproviders { file { directory = "conf.d" } }\n'
ROUTER = 'routers "a" { rule = "Path(`/`)"\n service = "ping@internal" }\n'


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class ReadApartTests(TestCase):
    """Whatever becomes of the child, whoever asked hears of it."""

    def setUp(self) -> None:
        self.main = Path(self.mktemp()) / "gateway.hcl"
        self.fragment = self.main.parent / "conf.d" / "a.hcl"
        write(self.main, TEXT)
        write(self.fragment, ROUTER)
        self.config = GatewayConfig.from_file(self.main)

    async def test_it_reads_what_is_on_disk_now(self) -> None:
        """It is what reading it here would give."""
        write(self.main, TEXT + "shutdown_timeout_secs = 7\n")
        reading = await read_apart(reactor, self.config)
        self.assertEqual(reading.config, GatewayConfig.from_file(self.main))
        self.assertIsNone(reading.held_back)

    async def test_it_knows_what_is_in_force(self) -> None:
        """So a bad fragment keeps its last good version."""
        write(self.fragment, "routers {{{")
        reading = await read_apart(reactor, self.config)
        self.assertEqual(reading.config, self.config)
        self.assertIn("conf.d", str(reading.held_back))

    async def test_it_has_the_environment_of_this_process(self) -> None:
        """What `env` means is what it would mean here, now."""
        self.patch(os, "environ", {**os.environ, "PATIENCE_OF_OURS": "9"})
        write(self.main, TEXT + 'shutdown_timeout_secs = "${PATIENCE_OF_OURS}"\n')
        reading = await read_apart(reactor, self.config)
        self.assertEqual(reading.config.shutdown_timeout_secs, 9.0)

    async def test_faults_are_raised_here(self) -> None:
        """As if the file had been read in this process."""
        write(self.main, TEXT + "nonsense = 1\n")
        with self.assertRaises(ConfigError) as caught:
            await read_apart(reactor, self.config)
        self.assertIn("nonsense", str(caught.exception))

    async def test_a_child_that_fails_says_why(self) -> None:
        """Its last words are in the error."""
        self.patch(reading_service.child, "__name__", "a3s_gateway.config.no_such_module")
        with self.assertRaises(ReadingError) as caught:
            await read_apart(reactor, self.config)
        self.assertIn("no_such_module", str(caught.exception))

    async def test_a_child_that_takes_too_long_is_ended(self) -> None:
        """A reload cannot hang."""
        self.patch(reading_service, "TIME_LIMIT", 0.0)
        with self.assertRaises(ReadingError) as caught:
            await read_apart(reactor, self.config)
        self.assertIn("signal 9", str(caught.exception))

    async def test_an_answer_that_is_too_large_is_not_taken(self) -> None:
        """A gateway does not run out of memory over it."""
        self.patch(reading_service, "MAX_ANSWER", 100)
        with self.assertRaises(ReadingError):
            await read_apart(reactor, self.config)

    async def test_who_no_longer_wants_it_leaves_no_child(self) -> None:
        """To cancel it ends the process."""
        reading = Deferred.fromCoroutine(read_apart(reactor, self.config))
        reading.cancel()
        with self.assertRaises(CancelledError):
            await reading

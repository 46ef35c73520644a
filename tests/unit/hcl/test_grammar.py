from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from a3s_gateway.hcl import grammar


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Put the cache elsewhere, and forget the parser that this process has."""
    found = [tmp_path / "package" / "grammar.bin", tmp_path / "user" / "grammar.bin"]
    monkeypatch.setattr(grammar, "_places", lambda: found)
    grammar.parser.cache_clear()
    yield found
    grammar.parser.cache_clear()


def test_the_first_use_writes_the_cache_and_the_next_reads_it(places: list[Path]) -> None:
    """Only the first start is slow, also without any preparation."""
    assert grammar.parser().parse("a = 1\n").data == "start"
    written = places[0].stat().st_mtime_ns
    grammar.parser.cache_clear()
    assert grammar.parser().parse("a = 1\n").data == "start"
    assert places[0].stat().st_mtime_ns == written
    assert [each.name for each in places[0].parent.iterdir()] == ["grammar.bin"]


def test_where_the_package_is_read_only_the_users_folder_serves(places: list[Path]) -> None:
    """A gateway that runs under its own account starts fast, too."""
    places[0].parent.write_text("a file where a folder should be")
    assert grammar.warm() == places[1]


def test_without_any_writable_place_the_gateway_still_starts(places: list[Path]) -> None:
    """Slowly, and without a complaint."""
    for place in places:
        place.parent.write_text("a file where a folder should be")
    assert grammar.warm() is None
    assert grammar.parser().parse("a = 1\n").data == "start"


def test_a_cache_that_others_could_write_is_not_read(places: list[Path]) -> None:
    """It is unpickled: whoever writes it decides what runs."""
    places[0].parent.mkdir()
    places[0].touch(0o644)
    places[0].chmod(0o666)
    assert not grammar.is_trusted(places[0])
    places[0].chmod(0o644)
    assert grammar.is_trusted(places[0])


def test_a_broken_cache_is_made_anew(places: list[Path]) -> None:
    """A half-written file costs time, not the start."""
    places[0].parent.mkdir()
    places[0].write_bytes(b"broken")
    assert grammar.parser().parse("a = 1\n").data == "start"


def test_the_command_says_where_it_wrote() -> None:
    """`python -m a3s_gateway.hcl.grammar`, for installations and images."""
    command = [sys.executable, "-m", "a3s_gateway.hcl.grammar"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert Path(done.stdout.strip()).is_file()
    assert done.stderr == ""

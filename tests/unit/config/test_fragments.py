"""A configuration read again while another is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.fragments import Reading, read_again, texts_of
from a3s_gateway.config.model import GatewayConfig

MAIN = """
entrypoints "web" { address = ":80" }
providers {
  file {
    directory = "conf.d"
  }
}
"""


def router(name: str, rule: str, service: str = "ping@internal") -> str:
    return f'routers "{name}" {{\n  rule = "{rule}"\n  service = "{service}"\n}}\n'


class Site:
    """A main file, and fragments, some of which change while a configuration is in force."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = folder / "gateway.hcl"
        self.main.write_text(MAIN)
        (folder / "conf.d").mkdir()

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.folder / "conf.d" / f"{name}.hcl").write_text(text)

    def start(self) -> None:
        self.texts = texts_of(GatewayConfig.from_file(self.main))

    def read(self) -> Reading:
        return read_again(str(self.main), self.texts)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.write(a=router("a", "Path(`/a1`)"), b=router("b", "Path(`/b1`)"))
    site.start()
    return site


def rules(reading: Reading) -> dict[str, str]:
    return {name: each.rule for name, each in reading.config.routers.items()}


def test_without_a_fault_everything_is_as_on_disk(site: Site) -> None:
    """Nothing is held back, and the order is that of the names."""
    site.write(a=router("a", "Path(`/a2`)"), c=router("c", "Path(`/c1`)"))
    reading = site.read()
    assert rules(reading) == {"a": "Path(`/a2`)", "b": "Path(`/b1`)", "c": "Path(`/c1`)"}
    assert reading.held_back is None


@pytest.mark.parametrize(
    "bad",
    [
        "routers {{{",
        router("a", "Pth(`/a`)"),
        router("a", "Path(`/a`)", "nobody"),
        router("b", "Path(`/b`)"),
        "admin { enabled = false }",
    ],
    ids=["syntax", "rule", "reference", "name twice", "not for a fragment"],
)
def test_a_bad_fragment_keeps_its_last_good_version(site: Site, bad: str) -> None:
    """The others are taken over all the same, and the fault is told with its place."""
    site.write(a=bad, c=router("c", "Path(`/c1`)"))
    reading = site.read()
    assert rules(reading) == {"a": "Path(`/a1`)", "b": "Path(`/b1`)", "c": "Path(`/c1`)"}
    assert reading.held_back is not None
    assert "conf.d" in reading.held_back.render()


def test_a_fragment_that_cannot_be_read_keeps_its_last_good_version(site: Site) -> None:
    """Bytes that are no text are a fault like any other."""
    (site.folder / "conf.d" / "a.hcl").write_bytes(b"\xff\xfe")
    reading = site.read()
    assert rules(reading) == {"a": "Path(`/a1`)", "b": "Path(`/b1`)"}
    assert "not UTF-8" in str(reading.held_back)


def test_a_bad_fragment_that_is_new_is_left_out(site: Site) -> None:
    """There is no good version of it."""
    site.write(c="routers {{{")
    reading = site.read()
    assert rules(reading) == {"a": "Path(`/a1`)", "b": "Path(`/b1`)"}
    assert reading.held_back is not None


def test_the_last_good_version_of_a_held_back_one_is_kept_for_the_next_time(site: Site) -> None:
    """It may be bad for as many reloads as it takes."""
    site.write(a="routers {{{")
    site.texts = texts_of(site.read().config)
    site.write(b=router("b", "Path(`/b2`)"))
    assert rules(site.read()) == {"a": "Path(`/a1`)", "b": "Path(`/b2`)"}


def test_who_changes_is_to_blame(site: Site) -> None:
    """Of two that declare a name, that one is held back which has not done so before."""
    site.write(a=router("a", "Path(`/a1`)") + router("b", "Path(`/b`)"))
    reading = site.read()
    assert rules(reading) == {"a": "Path(`/a1`)", "b": "Path(`/b1`)"}
    assert reading.held_back is not None


def test_a_fragment_that_is_gone_is_gone(site: Site) -> None:
    """To delete a file is no fault in it."""
    (site.folder / "conf.d" / "a.hcl").unlink()
    reading = site.read()
    assert rules(reading) == {"b": "Path(`/b1`)"}
    assert reading.held_back is None


def test_a_fault_in_the_main_file_is_not_to_be_mended(site: Site) -> None:
    """All faults are told, those of fragments too."""
    site.main.write_text(MAIN + router("m", "Path(`/m`)", "nobody"))
    site.write(a=router("a", "Pth(`/a`)"))
    with pytest.raises(ConfigError) as caught:
        site.read()
    assert "nobody" in str(caught.value)
    assert "Pth" in str(caught.value)


def test_a_main_file_that_is_gone(site: Site) -> None:
    """It says so."""
    site.main.unlink()
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        site.read()

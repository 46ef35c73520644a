"""The files of a configuration on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from a3s_gateway.config.fragments import texts_of
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.provider.files import ConfigFiles, digest_of

TEXT = 'entrypoints "web" { address = ":80" }\n'


@pytest.fixture
def files(tmp_path: Path) -> ConfigFiles:
    main, fragments = tmp_path / "gateway.hcl", tmp_path / "conf.d"
    main.write_text(TEXT + 'providers { file { directory = "conf.d" } }\n')
    fragments.mkdir()
    (fragments / "a.hcl").write_text(
        'routers "a" { rule = "Path(`/`)"\n service = "ping@internal" }'
    )
    return ConfigFiles(str(main), str(fragments))


def folders(files: ConfigFiles) -> set[str]:
    return {each.path for each in files.look().folders}


def test_what_was_read_looks_like_what_is_on_disk(files: ConfigFiles) -> None:
    """So that a start is not followed by a reload."""
    config = GatewayConfig.from_file(files.main)
    assert config.providers.file is not None
    assert config.providers.file.directory == files.directory
    assert files.look().digest == digest_of(texts_of(config))


def test_only_contents_and_names_matter(files: ConfigFiles, tmp_path: Path) -> None:
    """A file that is touched, or replaced by one like it, has not changed."""
    first = files.look()
    os.utime(files.main, (1, 1))
    touched = files.look(first)
    assert touched.stamp != first.stamp
    assert touched.digest == first.digest
    (tmp_path / "conf.d" / "a.hcl").rename(tmp_path / "conf.d" / "b.hcl")
    assert files.look(touched).digest != first.digest


@pytest.mark.parametrize("name", ["a.txt", ".hidden.hcl", "a.hcl~", "4913"])
def test_other_files_do_not_matter(files: ConfigFiles, tmp_path: Path, name: str) -> None:
    """What editors leave behind is no part of the configuration."""
    first = files.look()
    (tmp_path / "conf.d" / name).write_text("x")
    assert files.look(first).digest == first.digest


def test_what_is_gone_is_a_change(files: ConfigFiles) -> None:
    """And no error: it may come back in a moment."""
    first = files.look()
    Path(files.main).unlink()
    gone = files.look(first)
    assert gone.digest != first.digest
    assert files.look(gone).digest == gone.digest


def test_files_with_a_known_stamp_are_not_read(files: ConfigFiles) -> None:
    """Polling costs a `stat` for each file."""
    first = files.look()
    status = Path(files.main).stat()
    Path(files.main).write_text(Path(files.main).read_text().replace(":80", ":81"))
    os.utime(files.main, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert files.look(first).digest == first.digest
    assert files.look().digest != first.digest


def test_both_folders_are_watched(files: ConfigFiles, tmp_path: Path) -> None:
    """That of the main file, and that of the fragments."""
    assert folders(files) == {str(tmp_path), str(tmp_path / "conf.d")}


def test_a_folder_that_is_not_there_is_awaited_above(tmp_path: Path) -> None:
    """It is noticed when it comes."""
    main = tmp_path / "gateway.hcl"
    main.write_text(TEXT)
    files = ConfigFiles(str(main), str(tmp_path / "a" / "b"))
    assert folders(files) == {str(tmp_path)}
    (tmp_path / "a").mkdir()
    assert folders(files) == {str(tmp_path), str(tmp_path / "a")}


def test_every_link_on_the_way_is_watched(tmp_path: Path) -> None:
    """A ConfigMap changes by a link between folders; so does many a deployment."""
    version, other = tmp_path / "..2024", tmp_path / "elsewhere"
    version.mkdir()
    other.mkdir()
    (version / "gateway.hcl").write_text(TEXT)
    (tmp_path / "..data").symlink_to("..2024")
    (tmp_path / "gateway.hcl").symlink_to("..data/gateway.hcl")
    (other / "link.hcl").symlink_to(tmp_path / "gateway.hcl")
    files = ConfigFiles(str(other / "link.hcl"), None)
    assert folders(files) == {str(other), str(tmp_path), str(version)}


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    """They are as good as a missing file."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert str(tmp_path) in folders(ConfigFiles(str(tmp_path / "a"), None))


def test_a_folder_that_is_replaced_is_another(files: ConfigFiles, tmp_path: Path) -> None:
    """Whoever watches it has to begin anew."""
    first = files.look().folders
    (tmp_path / "conf.d").rename(tmp_path / "old")
    (tmp_path / "conf.d").mkdir()
    assert files.look().folders != first

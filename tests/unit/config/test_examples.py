from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import (
    BlockKind,
    BlocksKind,
    NamedKind,
    PluginKind,
    Section,
    schema,
)
from a3s_gateway.plugin import plugins

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.hcl")), ids=lambda file: file.name)
def test_an_example_is_a_valid_configuration(file: Path, tmp_path: Path) -> None:
    """With what its first lines ask for: a secret, and a folder with a certificate."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    environment = {"JWT_SECRET": "x" * 32, "CERT_DIR": str(tmp_path)}
    config = GatewayConfig.from_file(file, environment)
    absent = 'cannot read directory "/etc/gateway/conf.d/": No such file or directory'
    assert {each.message for each in config.warnings} <= {absent}


def test_the_full_example_shows_every_block() -> None:
    """Whoever looks for a block finds it in use."""
    text = (EXAMPLES / "full.hcl").read_text(encoding="utf-8")
    names = set(blocks(GatewayConfig))
    assert {"entrypoints", "client_auth", "rollout", "ws_mux", "tracing"} <= names
    assert [name for name in sorted(names) if not re.search(rf"(?m)^ *{name} ", text)] == []


def blocks(section: type[Section]) -> Iterator[str]:
    """Yield the name of each kind of block, however deep."""
    for key in schema(section).values():
        if isinstance(key.kind, BlockKind | BlocksKind | NamedKind | PluginKind):
            yield key.name
        if isinstance(key.kind, BlockKind | BlocksKind | NamedKind):
            yield from blocks(key.kind.section)


def test_there_is_an_example_of_every_middleware() -> None:
    """Those of HTTP in one file; `tcp-filter` is beside its entrypoint."""
    text = "".join(file.read_text(encoding="utf-8") for file in EXAMPLES.glob("*.hcl"))
    for name in plugins("middleware"):
        assert re.search(rf'type +=  *"{name}"', text), name

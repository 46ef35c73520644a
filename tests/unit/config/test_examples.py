from __future__ import annotations

from pathlib import Path

import pytest

from a3s_gateway.config.model import GatewayConfig

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
    for name in ("entrypoints", "routers", "services", "middlewares", "providers", "admin"):
        assert f"\n{name} " in text
    for name in ("mirror", "failover", "scaling", "revisions", "rollout", "sticky"):
        assert f"  {name} " in text

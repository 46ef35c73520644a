from __future__ import annotations

import re
from pathlib import Path

import pytest

from a3s_gateway.config import reference
from a3s_gateway.config.decode import Decoder
from a3s_gateway.config.middleware import MiddlewareConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.config.schema import ListKind, ScalarKind, schema
from a3s_gateway.config.values import Values
from a3s_gateway.hcl.evaluate import Scope
from a3s_gateway.hcl.parse import parse
from a3s_gateway.hcl.secrets import SECRET_NAMES

PAGE = Path(__file__).parents[3] / "docs" / "config-reference.md"
ENVIRONMENT = dict.fromkeys(("ADMIN_TOKEN", "API_KEY", "JWT_SECRET", "PASSWORD"), "x" * 32)
CHAPTERS = [each for each in reference.chapters() if each.path]


def test_the_page_is_fresh() -> None:
    """After a change of the model: python -m a3s_gateway.config.reference FILE."""
    assert PAGE.read_text(encoding="utf-8") == reference.reference()


def test_every_link_of_the_page_leads_somewhere() -> None:
    """A reader who follows a block arrives at it."""
    text = PAGE.read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    anchors = {chapter.anchor for chapter in CHAPTERS}
    assert links <= anchors


def test_the_smallest_configuration_of_the_page_works() -> None:
    """It can be copied into a file and started."""
    (first, *_) = re.findall(r"```hcl\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    config = GatewayConfig.from_text(first, environ={})
    assert config.warnings == ()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.heading)
def test_every_example_of_the_page_is_read(chapter: reference.Chapter) -> None:
    """The keys of the example belong there, and have values of the right kind."""
    parsed = parse("\n".join(reference.example(chapter)), "example.hcl")
    assert parsed.faults == ()
    body = parsed.body
    if len(chapter.path) == 1:
        values = decode(GatewayConfig, body)
    else:
        for _ in chapter.path:
            (body,) = (entry.body for entry in body.entries)
        values = decode(chapter.section, body)
    assert [fault.render({}) for fault in values.faults if fault.severity == "error"] == []


def decode(section: type, body: object) -> Values:
    values = Values(Scope(ENVIRONMENT, lambda path, origin: ""))
    Decoder(values).root(section, body)
    return values


@pytest.mark.parametrize("chapter", reference.chapters(), ids=lambda c: ".".join(c.path) or "top")
def test_every_key_is_documented(chapter: reference.Chapter) -> None:
    """One sentence each, and an example where the key is required."""
    for key in schema(chapter.section).values():
        assert key.doc.endswith((".", ":")), key.name
        if key.is_required and isinstance(key.kind, ScalarKind | ListKind):
            assert key.example, key.name


def test_secret_keys_are_hidden_even_where_a_text_does_not_parse() -> None:
    """The names that are masked in any source line cover those of the model."""
    secret = {
        key.name
        for chapter in reference.chapters()
        for key in schema(chapter.section).values()
        if key.is_secret
    }
    assert secret
    assert secret <= SECRET_NAMES


def test_no_type_of_middleware_has_a_key_called_type() -> None:
    """It selects the type, so no type could ever see it."""
    types = [each for each in CHAPTERS if each.type_name]
    assert len(types) == 18
    assert not any("type" in schema(each.section) for each in types)
    assert list(schema(MiddlewareConfig)) == ["type"]


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a file, or to standard output."""
    target = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["reference", str(target)])
    reference.main()
    assert target.read_text(encoding="utf-8") == reference.reference()


def test_the_command_prints_the_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an argument it can be piped."""
    monkeypatch.setattr("sys.argv", ["reference"])
    reference.main()
    assert capsys.readouterr().out == reference.reference()

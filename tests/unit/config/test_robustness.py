"""Whatever a file holds, a user gets a configuration or an explanation."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from a3s_gateway.config.dump import dump
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig

GOLDEN = Path(__file__).parents[2] / "golden"
TEXTS = [file.read_text(encoding="utf-8") for file in sorted(GOLDEN.glob("models/*.hcl"))]
LINES = sorted({line for text in TEXTS for line in text.split("\n") if line.strip()})
VALUES = [
    "null",
    "true",
    "-1",
    "0",
    "1.5",
    "1e999",
    "9" * 40,
    '""',
    '"text"',
    '"${X}"',
    '"${NUMBER}"',
    '"\\u0000"',
    '"9999999999999999999999MB"',
    "[]",
    "[null]",
    "[[1]]",
    "{}",
    "{ a = 1 }",
    "word",
    'env("NUMBER")',
    'file("x")',
    "<<E\nx\nE\n",
]
ENVIRONMENT = {"X": "x", "NUMBER": "9" * 30}


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Take a good file; drop, double, move and change some of its lines."""
    lines = draw(st.sampled_from(TEXTS)).split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        name, equals, _ = lines[at].partition("=")
        match draw(st.integers(0, 4)):
            case 0:
                del lines[at : at + draw(st.integers(1, 3))]
                lines = lines or [""]
            case 1:
                lines.insert(at, draw(st.sampled_from(LINES)))
            case 2:
                lines[at] = draw(st.text(max_size=10)) + lines[at]
            case _ if equals:
                lines[at] = f"{name}= {draw(st.sampled_from(VALUES))}"
    return "\n".join(lines)


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_spoilt_file_is_read_or_explained(text: str) -> None:
    """No slip of an editor ends in a traceback, and each fault can be shown."""
    try:
        shown = dump(GatewayConfig.from_text(text, environ=ENVIRONMENT))
    except ConfigError as error:
        shown = error.render(colour=True)
    assert shown

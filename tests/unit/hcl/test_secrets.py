from __future__ import annotations

import pytest

from a3s_gateway.hcl.diagnostics import Source, Span
from a3s_gateway.hcl.secrets import mask


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('password = "hunter2"', 'password = "*******"'),
        ('  token="a\\"b" # x', '  token="****" # x'),
        ("password = hunter2", "password = *******"),
        ("value = 'hunter2' ", "value = ********* "),
        ('keys = ["one", "two"]', 'keys = ["***", "***"]'),
        ('{ name = "x", value = "y", z = "kept" }', '{ name = "x", value = "*", z = "kept" }'),
        ('"password": "hunter2"', '"password": "*******"'),
        ('password = "hunter2', 'password = "*******'),
        ('value = "${NAME}"', 'value = "${NAME}"'),
        ('value = "pre${NAME}post"', 'value = "***${NAME}****"'),
        ('value = env("NAME", "hunter2")', 'value = env("NAME", "*******")'),
        ('value = file("secret.txt")', 'value = file("secret.txt")'),
        ('url = "http://user:hunter2@host/"', 'url = "http://************@host/"'),
    ],
)
def test_secret_values_are_hidden_in_place(line: str, shown: str) -> None:
    """Only names of variables and files are left, and every column stays where it was."""
    assert mask(line) == shown
    assert len(shown) == len(line)


@pytest.mark.parametrize(
    "line", ['cookie = "token"', 'tokens = "a"', 'my-value = "a"', 'x = "a=b"']
)
def test_other_values_are_shown(line: str) -> None:
    """A name that merely contains one of a secret hides nothing."""
    assert mask(line) == line


def test_places_known_to_be_secret_are_hidden_whatever_their_key() -> None:
    """The second line of a list has no key on it."""
    source = Source('keys = [\n  "hunter2",\n]', (Span("f", 2, 4, 7),))
    assert source.line(2) == '  "*******",'

from __future__ import annotations

import pytest

from a3s_gateway.hcl.evaluate import EvaluationError, Scope, evaluate
from a3s_gateway.hcl.nodes import Attribute, Scalar
from a3s_gateway.hcl.parse import parse

ENVIRONMENT = {"NAME": "world", "EMPTY": "", "PORT": "8080"}
FILES = {("key.txt", "conf.d/f.hcl"): "\n  secret \n"}


def read(path: str, origin: str) -> str:
    if path == "binary":
        b"\xff".decode()
    try:
        return FILES[path, origin]
    except KeyError:
        raise FileNotFoundError(2, "No such file or directory") from None


def result(written: str) -> Scalar | None:
    (entry,) = parse(f"a = {written}", "conf.d/f.hcl").body.entries
    assert isinstance(entry, Attribute)
    return evaluate(entry.value, Scope(ENVIRONMENT, read))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"${NAME}"', "world"),
        ('"hello, ${NAME}!"', "hello, world!"),
        ('"${ NAME }${EMPTY}$${NAME}"', "world${NAME}"),
        ('env("NAME")', "world"),
        ('env("ABSENT", "default")', "default"),
        ('env("EMPTY", "default")', ""),
        ('"${env("ABSENT", "x")}-${NAME}"', "x-world"),
        ('file("key.txt")', "secret"),
        ('"${file("key.txt")}"', "secret"),
        ('env("ABSENT", "${NAME}")', "world"),
        ("<<E\n${NAME}\n${PORT}\nE", "world\n8080"),
        ("true", True),
        ('"${7} ${true} ${"x"}"', "7 true x"),
    ],
)
def test_variables_functions_and_files_become_values(written: str, meant: object) -> None:
    """In quotes, in heredocs and on their own; a variable that is set to nothing is set."""
    found = result(written)
    assert found is not None
    assert found.value == meant


@pytest.mark.parametrize("written", ["[1]", "{ a = 1 }"])
def test_a_list_or_an_object_is_no_scalar(written: str) -> None:
    """The caller says what it wanted instead."""
    assert result(written) is None


@pytest.mark.parametrize(
    ("written", "message", "column"),
    [
        ('"${ABSENT}"', 'environment variable "ABSENT" is not set', 8),
        ('"x${name}"', 'environment variable "name" is not set', 9),
        ('env("ABSENT")', 'environment variable "ABSENT" is not set', 10),
        ("word", "a bare word is not a value", 5),
        ("upper(1)", 'there is no function "upper"', 5),
        ("env(1)", "wrong arguments for env()", 5),
        ('file("a", "b")', "wrong arguments for file()", 5),
        ('file("absent.txt")', 'cannot read file "absent.txt": No such file or directory', 11),
        ('file("binary")', 'file "binary" is not UTF-8 text', 11),
        ("1 + 1", "a calculation is not supported in a configuration", 5),
        ('"${[1]}"', "a list or an object cannot be part of a string", 8),
        ('"${null}"', "null inside a text is not supported in a configuration", 8),
    ],
)
def test_what_has_no_value_is_a_fault_at_its_place(written: str, message: str, column: int) -> None:
    """The place is that of the word that is wrong, not of the whole value."""
    with pytest.raises(EvaluationError) as caught:
        result(written)
    assert caught.value.fault.message == message
    assert caught.value.fault.span.column == column


def test_a_heredoc_takes_names_only() -> None:
    """Anything else in ${...} there is refused rather than kept as text."""
    with pytest.raises(EvaluationError, match=r"anything but a \$\{NAME\} in a heredoc"):
        result('<<E\n${env("X")}\nE')


def test_the_value_of_a_variable_leads_back_to_its_name() -> None:
    """A fault inside an interpolated text is shown at the interpolation, after it at its place."""
    found = result('"a${NAME}b"')
    assert found is not None
    assert found.value == "aworldb"
    assert [found.place(i, i + 1).column for i in (0, 1, 5, 6)] == [6, 9, 9, 14]


@pytest.mark.parametrize(
    ("written", "is_borrowed"),
    [
        ('"${PORT}"', True),
        ('env("PORT")', True),
        ('env("X", "1")', True),
        ('"1"', False),
        ('"${PORT}0"', False),
    ],
)
def test_what_the_environment_says_is_marked(written: str, *, is_borrowed: bool) -> None:
    """Only a text that comes whole from there may later stand for a number."""
    found = result(written)
    assert found is not None
    assert found.is_borrowed is is_borrowed

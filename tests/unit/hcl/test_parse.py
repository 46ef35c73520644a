from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.hcl.diagnostics import Source, Span
from a3s_gateway.hcl.nodes import (
    Attribute,
    Block,
    Body,
    Call,
    Expression,
    Fields,
    Items,
    Plain,
    Reference,
    Scalar,
    Template,
    Unsupported,
)
from a3s_gateway.hcl.parse import parse


def value(text: str) -> Expression:
    """Return the only attribute's value."""
    parsed = parse(text, "f")
    assert parsed.faults == ()
    (entry,) = parsed.body.entries
    assert isinstance(entry, Attribute)
    return entry.value


def covered(text: str, span: Span) -> str:
    return text.split("\n")[span.line - 1][span.column - 1 : span.column - 1 + span.width]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1", 1),
        ("-1", -1),
        ("- 1", -1),
        ("012", 12),
        ("1.5", 1.5),
        ("-2.5e3", -2500.0),
        ("2E2", 200.0),
        ("true", True),
        ("!true", False),
        ("null", None),
        ('""', ""),
        ('"a b"', "a b"),
        ("(7)", 7),
        (r'"\n\r\t\"\\\/\b\f"', '\n\r\t"\\/\b\f'),
        (r'"\u00e9\U0001F600"', "é😀"),
        ('"$${a}"', "${a}"),
        ('"%%{a}"', "%{a}"),
        ('"$5 100%"', "$5 100%"),
        ("<<E\na\n  b\nE", "a\n  b"),
        ("<<-E\n    a\n      b\n  E", "a\n  b"),
        ("<<E\nE", ""),
        ("<<E\n\\n $${x} %%{y}\nE", "\\n ${x} %{y}"),
    ],
)
def test_a_value_means_what_hcl_says(written: str, meant: Plain) -> None:
    """Numbers, truth values, null, escapes, and texts of several lines."""
    found = value(f"a = {written}\n")
    assert isinstance(found, Scalar)
    assert found.value == meant
    assert type(found.value) is type(meant)


def test_line_ends_of_windows_change_nothing() -> None:
    """A file saved on Windows means the same, also in a heredoc and after a byte order mark."""
    text = '\ufeffa = "x"\nb {\n  c = <<E\none\ntwo\nE\n}\n'
    unix, windows = parse(text, "f"), parse(text.replace("\n", "\r\n"), "f")
    assert unix == windows
    assert unix.faults == ()
    assert Source(text.replace("\n", "\r\n")).line(1) == 'a = "x"'


def test_blocks_keep_labels_order_and_places() -> None:
    """Quoted and bare labels are the same; comments and blank lines are nothing."""
    text = '# c\nrouters "api" {\n\n  rule = "x" // c\n  tls {}\n}\nservices backend { }\n'
    parsed = parse(text, "f")
    routers, services = parsed.body.entries
    assert isinstance(routers, Block)
    assert isinstance(services, Block)
    assert [label.name for label in routers.labels + services.labels] == ["api", "backend"]
    assert [covered(text, label.span) for label in routers.labels] == ["api"]
    assert [entry.name for entry in routers.body.entries] == ["rule", "tls"]
    assert services.body.entries == ()


def test_lists_and_objects_nest_with_any_separator() -> None:
    """Commas may trail; an object's pairs may stand on lines of their own; `:` is `=`."""
    found = value('a = [{ x = 1, "y" : [2, 3,], if = 4\n z = 5 }, ]')
    assert isinstance(found, Items)
    (fields,) = found.values
    assert isinstance(fields, Fields)
    assert [entry.name for entry in fields.entries] == ["x", "y", "if", "z"]


def test_every_place_is_that_of_the_words() -> None:
    """Of a string the text without its quotes, of brackets all of them, of a call its whole."""
    text = 'a = ["one", [1, 2], { k = true }, env("X", "y"), word, "${NAME}!", -3]'
    found = value(text)
    assert isinstance(found, Items)
    assert covered(text, found.span) == text[4:]
    assert [covered(text, each.span) for each in found.values] == [
        "one",
        "[1, 2]",
        "{ k = true }",
        'env("X", "y")',
        "word",
        "${NAME}!",
        "-3",
    ]
    assert [type(each) for each in found.values[3:6]] == [Call, Reference, Template]


def test_a_character_of_a_string_leads_back_to_where_it_was_written() -> None:
    """A fault inside a rule is shown inside the rule, also beyond escapes and line breaks."""
    text = r'a = "x\"\u0041yz"'
    found = value(text)
    assert isinstance(found, Scalar)
    assert found.value == 'x"Ayz'
    places = [covered(text, found.place(i, i + 1)) for i in range(5)]
    assert places == ["x", r"\"", r"\u0041", "y", "z"]
    assert covered(text, found.place(3, 5)) == "yz"
    text = "a = <<-E\n    one\n    two\n  E\n"
    found = value(text)
    assert isinstance(found, Scalar)
    assert covered(text, found.place(4, 7)) == "two"


@pytest.mark.parametrize(
    "written",
    [
        "1 + 2",
        "a.b",
        "a[0]",
        "a.*.b",
        "x ? 1 : 2",
        "[for x in y : x]",
        "-x",
        '"%{ if x }y%{ endif }"',
    ],
)
def test_what_a_configuration_has_no_use_for_is_kept_as_such(written: str) -> None:
    """Whoever reads the value reports it, with its place."""
    found = value(f"a = {written}")
    part = found.parts[0] if isinstance(found, Template) else found
    assert isinstance(part, Unsupported)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('a = "one\ntwo"', (1, 5)),
        (r'a = "\q"', (1, 6)),
        (r'a = "\ud800"', (1, 6)),
        ("a = 1 b = 2", (1, 7)),
        ("a { b = 1 c = 2 }", (1, 11)),
        ('a "${B}" {}', (1, 4)),
        ("a = { (1 + 1) = 2 }", (1, 8)),
    ],
)
def test_what_the_grammar_allows_and_hcl_does_not_is_a_fault(
    text: str, place: tuple[int, int]
) -> None:
    """Reported at its place, and the rest of the file is still read."""
    parsed = parse(text, "f")
    assert [(f.span.line, f.span.column) for f in parsed.faults] == [place]
    assert parsed.body.entries != ()


def test_absurd_nesting_is_refused() -> None:
    """A file made to exhaust the parser is an ordinary fault."""
    parsed = parse("a = " + "[" * 3000 + "]" * 3000, "f")
    assert [fault.message for fault in parsed.faults] == ["braces are nested too deeply"]


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(*, is_enabled: bool) -> None:
    """Reading a configuration does not change the process around it."""
    try:
        (gc.enable if is_enabled else gc.disable)()
        parse("a = 1", "f")
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()


WORDS = st.sampled_from(
    [
        "a",
        "env",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        '"',
        "=",
        ",",
        "\n",
        " ",
        "${",
        "1",
        "1.5",
        "-",
        ":",
        "<<E\n",
        "E\n",
        "#",
        "/*",
        "*/",
        "\\",
        "'",
        "`",
        "?",
        "true",
        "for",
        "%{",
        "é",
        ".",
        "!",
        "\t",
    ]
)


@given(st.lists(WORDS, max_size=25).map("".join) | st.text(max_size=40))
def test_any_text_is_read_or_explained(text: str) -> None:
    """No input crashes the reader; each fault has a place in the text, and words of HCL only."""
    parsed = parse(text, "f")
    assert isinstance(parsed.body, Body)
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    for fault in parsed.faults:
        assert 1 <= fault.span.line <= len(lines)
        assert 1 <= fault.span.column <= len(lines[fault.span.line - 1]) + 1
        for jargon in ("Token", "terminal", "NL_OR_COMMENT", "LBRACE", "STRING_CHARS", "$END"):
            assert jargon not in fault.message + fault.hint

from __future__ import annotations

import pytest

from a3s_gateway.hcl.diagnostics import (
    SHOWN_WIDTH,
    Diagnostic,
    Note,
    Source,
    Span,
    in_order,
    nearest,
    render,
    suggest,
)

SOURCES = {"gateway.hcl": Source('routers "api" {\n  middlewares = ["rate-limt"]\n}\n')}


def test_a_fault_shows_its_place_its_line_and_a_hint() -> None:
    """The reader finds the word without counting columns."""
    fault = Diagnostic(
        Span("gateway.hcl", 2, 19, 9),
        'router "api" uses middleware "rate-limt", which is not declared',
        'did you mean "rate-limit"?',
        notes=(Note(Span("other.hcl", 7, 1), "declared here"),),
    )
    assert fault.render(SOURCES) == (
        'gateway.hcl:2:19: error: router "api" uses middleware "rate-limt", which is not declared\n'
        "  |\n"
        '2 |   middlewares = ["rate-limt"]\n'
        "  |                   ^^^^^^^^^\n"
        "  = note: other.hcl:7:1: declared here\n"
        '  = hint: did you mean "rate-limit"?'
    )


def test_colour_changes_nothing_but_the_colour() -> None:
    """On a terminal the words are the same."""
    fault = Diagnostic(Span("gateway.hcl", 1, 1, 7), "wrong", "try again", "warning")
    coloured = fault.render(SOURCES, colour=True)
    assert "\x1b[1;33mwarning\x1b[0m" in coloured
    for code in ("\x1b[1;33m", "\x1b[1;36m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == fault.render(SOURCES)


def test_a_file_that_was_never_read_has_no_line_to_show() -> None:
    """A missing file is named without a made-up line number."""
    fault = Diagnostic(Span("absent.hcl", 0, 0), "cannot read the configuration")
    assert fault.render({}) == "absent.hcl: error: cannot read the configuration"


def test_the_caret_stands_under_its_word_after_tabs() -> None:
    """However wide the terminal shows a tab, line and caret are indented alike."""
    source = Source('\ta\t= "x"')
    shown = Diagnostic(Span("f", 1, 7, 1), "wrong").render({"f": source}).split("\n")
    assert shown[2:] == ['1 | \ta\t= "x"', "  | \t \t   ^"]


@pytest.mark.parametrize("column", [1, 200, 395])
def test_of_a_very_long_line_the_part_around_the_caret_is_shown(column: int) -> None:
    """The caret is on the screen, and under the right character."""
    text = "".join(chr(ord("a") + i % 26) for i in range(400))
    shown = Diagnostic(Span("f", 1, column, 4), "wrong").render({"f": Source(text)}).split("\n")
    assert len(shown[2]) < SHOWN_WIDTH + 12
    start = shown[3].index("^")
    assert shown[2][start : start + 4] == text[column - 1 : column + 3]


def test_a_span_beyond_the_text_is_still_shown() -> None:
    """A fault at the end of a file points just after its last character."""
    shown = Diagnostic(Span("f", 1, 6, 3), "unfinished").render({"f": Source("a = [")})
    assert shown.endswith("1 | a = [\n  |      ^")


def test_faults_come_in_the_order_of_the_file_and_once() -> None:
    """Reading them is one walk through the file, whatever order they were found in."""
    late, early = (Diagnostic(Span("f", line, 1), "x") for line in (9, 2))
    assert in_order([late, early, late]) == (early, late)
    assert render([early, late], {}) == "f:2:1: error: x\n\nf:9:1: error: x"


@pytest.mark.parametrize(
    ("name", "found"),
    [("rate_limit", "rate-limit"), ("Cors", "cors"), ("rate-limt", "rate-limit"), ("xyz", "")],
)
def test_the_nearest_name_ignores_case_and_underscores(name: str, found: str) -> None:
    """The usual slips lead to the name that was meant, far ones to none."""
    assert nearest(name, ["cors", "rate-limit"]) == found


def test_without_a_near_name_the_known_ones_are_listed() -> None:
    """A user who guessed wildly sees what there is; of nothing, nothing is said."""
    assert suggest("xyz", ["cors", "jwt"], what="types") == "types: cors, jwt"
    assert suggest("xyz", []) == ""

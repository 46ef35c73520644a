"""The language of rules: what parses, and what a fault says and where."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from a3s_gateway.router.expression import (
    And,
    Expression,
    Match,
    Not,
    Or,
    all_of,
    any_of,
    rule_length,
)
from a3s_gateway.router.rule import MAX_DEPTH, RuleError, parse
from a3s_gateway.router.signatures import SIGNATURES, Protocol


def leaf(name: str, *args: str) -> Match:
    return Match(name, args)


A, B, C = leaf("Host", "a"), leaf("Path", "/b"), leaf("Method", "GET")
TEXTS = {A: "Host(`a`)", B: "Path(`/b`)", C: "Method(`GET`)"}


def fault(text: str, protocol: Protocol = "http") -> tuple[str, str, str]:
    """The stretch that is marked, the message, the hint."""
    with pytest.raises(RuleError) as caught:
        parse(text, protocol)
    error = caught.value
    return text[error.start : error.end], error.message, error.hint


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("A && B", And((A, B))),
        ("A || B", Or((A, B))),
        ("A || B && C", Or((A, And((B, C))))),
        ("A && B || C", Or((And((A, B)), C))),
        ("(A || B) && C", And((Or((A, B)), C))),
        ("!A && B", And((Not(A), B))),
        ("!(A && B)", Not(And((A, B)))),
        ("!!A", Not(Not(A))),
        ("((A))", A),
        ("(A && B) && C", And((A, B, C))),
        ("A || (B || C)", Or((A, B, C))),
        ("A&&B", And((A, B))),
        ("\n\tA\n  && B ", And((A, B))),
    ],
)
def test_not_binds_before_and_and_before_or(text: str, tree: Expression) -> None:
    """Operators have the usual precedence, parentheses change it, white space does not count."""
    for match, written in TEXTS.items():
        text = text.replace({"a": "A", "/b": "B", "GET": "C"}[match.args[0]], written)
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ('Header(`x`, `a"b\\c`)', ("x", 'a"b\\c')),
        ('Header("x", "a`b")', ("x", "a`b")),
        (r'Header("x", "a\"b\\c")', ("x", 'a"b\\c')),
        ("Header(`x`, ``)", ("x", "")),
        ("Header (\n`x`\n,\n`(&& ||)`\n)", ("x", "(&& ||)")),
    ],
)
def test_arguments_stand_in_backticks_or_double_quotes(text: str, args: tuple[str, ...]) -> None:
    """In backticks everything stands for itself; in double quotes a backslash escapes."""
    assert parse(text) == leaf("Header", *args)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("host(`a`)", "Host"),
        ("PATHPREFIX(`/`)", "PathPrefix"),
        ("Pathprefix(`/`)", "PathPrefix"),
        ("Headers(`a`, `b`)", "Header"),
        ("HeadersRegexp(`a`, `b`)", "HeaderRegexp"),
    ],
)
def test_the_spelling_of_names_is_forgiving(written: str, name: str) -> None:
    """Case does not count, and the names of Traefik 2 are known."""
    tree = parse(written)
    assert isinstance(tree, Match)
    assert tree.name == name


def test_a_match_knows_where_it_stands() -> None:
    """What is found out later about a matcher can be shown in the rule."""
    text = "Host(`a`) && !Path(`/b`)"
    tree = parse(text)
    assert isinstance(tree, And)
    assert isinstance(tree.terms[1], Not)
    assert isinstance(tree.terms[1].term, Match)
    start, end = tree.terms[1].term.span
    assert text[start:end] == "Path(`/b`)"


@pytest.mark.parametrize(
    ("text", "marked", "message", "hint"),
    [
        ("", "", "the rule is empty", "PathPrefix(`/`)"),
        (" \n", " \n", "the rule is empty", "PathPrefix(`/`)"),
        ("Host", "Host", "no argument in parentheses", "Host(`...`)"),
        ("Host `a`", "Host", "no argument in parentheses", "Host(`...`)"),
        ("Host:a.com;Path:/x", "Host:", "in parentheses", "write Host(`a.com`)"),
        ("host : a.com", "host :", "in parentheses", "write Host(`a.com`)"),
        ("Host(a.com)", "a.com", "backticks", "write Host(`a.com`)"),
        ("Host('a.com')", "'a.com'", "backticks", "write Host(`a.com`)"),
        ("Host(\u2018a.com\u2019)", "\u2018a.com\u2019", "backticks", "write Host(`a.com`)"),
        ("Host('a.com", "'a.com", "backticks", "write Host(`a.com`)"),
        ("'a'", "'a'", "backticks", "write `a`"),
        ("Host(", "(", "never closed", "write )"),
        ("Host(`a`", "(", "never closed", "write )"),
        ("Host(`a`,", "(", "never closed", "write )"),
        ("(", "(", "never closed", "write )"),
        ("(Host(`a`) && (Path(`/`))", "(", "never closed", "write )"),
        ("Host(`a`))", ")", "never opened", ""),
        (")", ")", "never opened", ""),
        ("Host(`a", "`", "this backtick is never closed", ""),
        ('Host("a\\")', '"', "this quote is never closed", ""),
        ("Host(`a`) &&", "&&", "a matcher is missing after &&", ""),
        ("Host(`a`) || && Path(`/`)", "||", "a matcher is missing after ||", ""),
        ("(Host(`a`) ||)", "||", "a matcher is missing after ||", ""),
        ("!", "!", "a matcher is missing after !", ""),
        ("&& Host(`a`)", "&&", "a matcher is missing before &&", ""),
        ("(|| Host(`a`))", "||", "a matcher is missing before ||", ""),
        ("()", "()", "empty", ""),
        ("Host(`a`) & Path(`/`)", "&", "not an operator", "write &&"),
        ("Host(`a`) | Path(`/`)", "|", "not an operator", "write ||"),
        ("Host(`a`) AND Path(`/`)", "AND", "not an operator", "write &&"),
        ("Host(`a`) or Path(`/`)", "or", "not an operator", "write ||"),
        ("Host(`a`), Path(`/`)", ",", "not an operator", "write ||"),
        ("Host(`a`); Path(`/`)", ";", "not an operator", "write &&"),
        ("NOT Path(`/`)", "NOT", "not an operator", "write !"),
        ("not(Path(`/`))", "not", "not an operator", "write !"),
        ("Host(`a`) Path(`/`)", "Path", "no operator", "&&"),
        ("Host(`a`) (Path(`/`))", "(", "no operator", "&&"),
        ("Host(`a`) !Path(`/`)", "!", "no operator", "&&"),
        ("Host(`a`) `b`", "`b`", "without a matcher", ""),
        ("`b`", "`b`", "without a matcher", ""),
        ("Host(`a`) § ", "§", "means nothing", ""),
        ("Host()", "Host()", "Host takes at least 1 argument, not none", ""),
        ("Header(`a`)", "Header(`a`)", "Header takes 2 arguments, not 1", ""),
        ("Query(`a`, `b`, `c`)", "Query(`a`, `b`, `c`)", "Query takes 1 or 2 arguments, not 3", ""),
        ("Host(`a`,)", ",", "missing after the comma", ""),
        ("Host(,`a`)", ",", "missing before the comma", ""),
        ("Host(`a` `b`)", "`b`", "comma", ""),
        ("Hots(`a`)", "Hots", 'unknown matcher "Hots"', 'did you mean "Host"?'),
        ("PathPrefixes(`a`)", "PathPrefixes", "unknown", 'did you mean "PathPrefix"?'),
        ("Gizmo(`a`)", "Gizmo", "unknown", "there are: Host, HostRegexp, Path,"),
        ("HostSNI(`a`)", "HostSNI", "HTTP", "use Host"),
        ("ALPN(`a`)", "ALPN", "HTTP", "there are: Host, HostRegexp, Path,"),
        (r'PathRegexp("\d")', r"\d", "double quotes", "in backticks"),
    ],
)
def test_a_fault_of_grammar_is_marked_and_explained(
    text: str, marked: str, message: str, hint: str
) -> None:
    """Somebody who writes a rule sees which characters are wrong, why, and what to write."""
    stretch, said, proposed = fault(text)
    assert stretch == marked
    assert message in said
    assert hint in proposed if hint else not proposed


@pytest.mark.parametrize(
    ("text", "marked", "message", "hint"),
    [
        ("Host(`a.com:80`)", ":80", "a host has no port", "write Host(`a.com`)"),
        ("Host(`https://a.com/x`)", "https://", "a host has no scheme", "write Host(`a.com`)"),
        ("Host(`a.com/x`)", "/x", "a host has no path", "Host(`a.com`) && PathPrefix(`/x`)"),
        ("Host(`[::1]:80`)", ":80", "a host has no port", "write Host(`[::1]`)"),
        ("Host(`10.0.0.1:80/x`)", "/x", "a host has no path", "PathPrefix(`/x`)"),
        ("Host(`a:b`)", "a:b", "is not a host name", ""),
        ("Host(`::g:`)", "::g:", "is not a host name", ""),
        ("Host(`1::2::3`)", "1::2::3", "is not an IP address", ""),
        ("Host(``)", "`", "the host is empty", "leave Host out"),
        ("Host(`*`)", "*", "first labels", "leave Host out"),
        ("Host(`a.*.com`)", "*", "first labels", "HostRegexp"),
        ("Host(`*a.com`)", "*", "first labels", "HostRegexp"),
        ("Host(`{sub:[a-z]+}.com`)", "{sub:[a-z]+}", "placeholder", "HostRegexp"),
        ("Host(`a b`)", "a b", '"a b" is not a host name', ""),
        ("Host(`a..b`)", "a..b", "is not a host name", ""),
        ("Host(`-a`)", "-a", "is not a host name", ""),
        ("Host(`ok`, `a b`)", "a b", "is not a host name", ""),
        ("Host(`☃☃☃.\u0600`)", "☃☃☃.\u0600", "is not a host name", ""),
        ("HostRegexp(`{sub:[a-z]+}.com`)", "{sub:[a-z]+}", "placeholder", "a regular expression"),
        ("HostRegexp(`büch`)", "ü", "no host", "punycode"),
        ("Path(`x`)", "x", "a path begins with /", "write `/x`"),
        ("PathPrefix(``)", "`", "a path begins with /", "write `/`"),
        ("Path(`/x?a=b`)", "?a=b", "a path has no query", "Query"),
        ("Path(`/x#y`)", "#y", "a path has no fragment", ""),
        ("Path(`/{id}`)", "{id}", "placeholder", "PathRegexp"),
        ("Path(`/a/../b`)", "/a/../b", "has . or ..", ""),
        ("Path(`/50%`)", "%", "two hexadecimal digits", "%25"),
        ("Path(`/%00`)", "%00", "a path has no NUL", ""),
        ("Path(`/a\\b`)", "\\b", "a path has no backslash", ""),
        ("Path(`/a/%2E`)", "/a/%2E", "has . or ..", ""),
        ("Method(`GE T`)", " ", "method", ""),
        ("Method(``)", "`", "the method is empty", ""),
        ("Header(`X Y`, `a`)", " ", "header name", ""),
        ("Header(`X:`, `a`)", ":", "header name", ""),
        ("PathRegexp(`/a(b`)", "(", "missing )", ""),
        (r'PathRegexp("/\\d(b")', "(", "missing )", ""),
        ("HeaderRegexp(`a`, `x**`)", "*", "multiple repeat", ""),
        ("PathRegexp(`[a-z`)", "[", "never closed", "]"),
        ("Query(``)", "`", "empty", ""),
        ("Query(`=x`)", "=x", "empty", ""),
        ("Query(`a=b`, `c=d`)", "a=b", "both", "`a`, `b`"),
        ("ClientIP(`10.0.0.0/33`)", "10.0.0.0/33", "not an IP address or a CIDR", "10.0.0.0/8"),
        ("ClientIP(`10.0.0`)", "10.0.0", "not an IP address or a CIDR", "10.0.0.0/8"),
    ],
)
def test_a_fault_in_an_argument_is_marked_inside_it(
    text: str, marked: str, message: str, hint: str
) -> None:
    """What cannot match any request is refused when the rule is loaded."""
    stretch, said, proposed = fault(text)
    assert stretch == marked
    assert message in said
    assert hint in proposed


@pytest.mark.parametrize(
    ("text", "marked", "hint"),
    [
        ("Host(`a`)", "Host", "use HostSNI"),
        ("HostRegexp(`a`)", "HostRegexp", "use HostSNIRegexp"),
        ("PathPrefix(`/`)", "PathPrefix", "there are: HostSNI, HostSNIRegexp, ALPN, ClientIP"),
        ("HostSni(`*`) && Headers(`a`, `b`)", "Headers", "there are: HostSNI"),
        ("HostSNI(`a.*`)", "*", ""),
        ("HostSNI(`a:443`)", ":443", "write HostSNI(`a`)"),
        ("HostSNI(`a/b`)", "/b", "write HostSNI(`a`)"),
        ("HostSNI(``)", "`", "HostSNI(`*`)"),
        ("HostSNI(`192.0.2.1`)", "192.0.2.1", "HostSNI(`*`)"),
        ("HostSNI(`::1`)", "::1", "HostSNI(`*`)"),
    ],
)
def test_a_tcp_rule_has_matchers_of_its_own(text: str, marked: str, hint: str) -> None:
    """Before a connection's bytes are understood there is no path and no header."""
    stretch, _, proposed = fault(text, "tcp")
    assert stretch == marked
    assert hint in proposed


@pytest.mark.parametrize(
    "text",
    ["HostSNI(`*`)", "HostSNI(`*.a.b`)", "HostSNI(`a`) && !ALPN(`h2`) && ClientIP(`::1`)"],
)
def test_a_tcp_rule_parses(text: str) -> None:
    """Server name, application protocol and address can be combined like anything else."""
    assert str(parse(text, "tcp")) == text


@pytest.mark.parametrize("opening", ["(", "!", "!("])
def test_nesting_has_a_limit(opening: str) -> None:
    """A rule that no one could have meant is refused in words, however deep it goes."""
    levels = MAX_DEPTH // len(opening)
    closing = ")" * (opening.count("(") * levels)
    assert parse(opening * levels + "Host(`a`)" + closing)
    assert "nests deeper than" in fault(opening * (levels + 1) + "Host(`a`)" + closing)[1]
    assert "nests deeper than" in fault(opening * 100_000)[1]


def test_groups_beside_each_other_do_not_nest() -> None:
    """The limit is for depth, not for the number of parentheses."""
    assert parse(" && ".join(["!(Host(`a`))"] * (2 * MAX_DEPTH)))


def test_a_long_rule_is_not_a_deep_one() -> None:
    """A list of ten thousand alternatives is long, and that is all."""
    tree = parse(" || ".join(["Host(`a`)"] * 10_000))
    assert isinstance(tree, Or)
    assert len(tree.terms) == 10_000


def test_the_length_of_a_rule_is_its_priority_but_for_double_stars() -> None:
    """`*.a.b` goes before `**.a.b`, which matches more, although it is shorter."""
    one, many = "Host(`*.a.b`)", "Host(`**.a.b`)"
    assert rule_length(one, parse(one)) == len(one)
    assert rule_length(many, parse(many)) == len(many) - 2
    text = f"!({one} || {many} && Path(`/**.`))"
    assert rule_length(text, parse(text)) == len(text) - 2


# -- properties

TREES = st.recursive(
    st.sampled_from([A, B, C]) | st.text().map(lambda text: leaf("Header", "x-a", text)),
    lambda terms: st.one_of(
        terms.map(Not),
        st.lists(terms, min_size=2, max_size=4).map(all_of),
        st.lists(terms, min_size=2, max_size=4).map(any_of),
    ),
    max_leaves=30,
)


@given(TREES)
def test_a_tree_written_out_parses_to_itself(tree: Expression) -> None:
    """The rule that the admin API shows means what the one in the file means."""
    assert parse(str(tree)) == tree


TEXT = st.text(st.characters())  # lone surrogates too: what comes as JSON may hold them
PIECES = st.sampled_from(
    [
        *("&&", "||", "!", "(", ")", ",", "`", '"', "'", "\\", " ", "\n", ":", "&", "and", "/"),
        *("[", "]", "{", "}", "?", "*", "+", "(?i)", "\\Q", "[[:alpha:]]", "\\x{41}", "$", "|"),
        *(name + "(`" for signatures in SIGNATURES.values() for name in signatures),
        *("`)", "a.example", "10.0.0.0/8", "::1", "%2f", "é", "k=v", "`, `"),
    ]
)
GARBAGE = TEXT | st.lists(PIECES | TEXT).map("".join)


@given(GARBAGE, st.sampled_from(["http", "tcp"]))
@example("PathRegexp(`a{99999999999}`)", "http")
@example("PathRegexp(`a{" + "9" * 5000 + "}`)", "http")
@example("PathRegexp(`" + "(" * 5000 + ")" * 5000 + "`)", "http")
@example('Host("\\', "http")
@example("Host(`", "http")
def test_garbage_is_refused_with_a_place_in_the_text(text: str, protocol: Protocol) -> None:
    """Whatever is written, the answer is a tree or a fault that can be shown."""
    try:
        tree = parse(text, protocol)
    except RuleError as fault:
        error = fault
    else:
        assert parse(str(tree), protocol) == tree
        return
    assert 0 <= error.start <= error.end <= len(text)
    assert error.end > error.start or not text
    assert error.message

"""The decoder on small sections of its own; the real ones are in tests/golden."""

# ruff: noqa: RUF009  # block() declares a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import Factory, field, frozen

from a3s_gateway.config.decode import Decoder
from a3s_gateway.config.kinds import FLAG, HEADER_NAME, PATH, TEXT, WORD, integer
from a3s_gateway.config.schema import Mistake, Section, block, blocks, key, keys, mapping, named
from a3s_gateway.config.values import Values
from a3s_gateway.hcl.diagnostics import Span
from a3s_gateway.hcl.evaluate import Scope
from a3s_gateway.hcl.parse import parse

ENVIRONMENT = {"NUMBER": "7", "YES": "true", "WORD": "text"}


@frozen(kw_only=True)
class Leaf(Section):
    name: str = field()
    size: int = key(integer(1, 10), "", example="3")
    twice: int = key(integer(), "", default=Factory(lambda self: 2 * self.size, takes_self=True))

    def mistakes(self) -> Iterator[Mistake]:
        if self.size == 10:
            yield Mistake("size", "ten is too much", "take nine")


@frozen(kw_only=True)
class Twig(Section):
    is_green: bool = key(FLAG, "", default=False)
    words: tuple[str, ...] = keys(WORD, "", default=("a",))


@frozen(kw_only=True)
class Tree(Section):
    leaves: Mapping[str, Leaf] = named(Leaf, "")
    twig: Twig = block(Twig, "", always=True)
    perhaps: Twig | None = block(Twig, "", default=None)
    rings: tuple[Twig, ...] = blocks(Twig, "")
    marks: Mapping[str, str] = mapping(HEADER_NAME, TEXT, "")
    file: str = key(PATH, "", default="roots")
    from_: str = key(TEXT, "", default="seed")
    secret: str = key(TEXT, "", default="", secret=True)


def read(text: str, path: str = "etc/tree.hcl") -> tuple[Tree, Values]:
    parsed = parse(text, path)
    values = Values(Scope(ENVIRONMENT, lambda path, origin: f"{origin}:{path}"))
    values.faults += parsed.faults
    return Decoder(values).root(Tree, parsed.body), values


def tree(text: str) -> Tree:
    found, values = read(text)
    assert values.faults == []
    return found


def faults(text: str) -> list[str]:
    return [
        f"{fault.span.line}:{fault.span.column} {fault.message}" for fault in read(text)[1].faults
    ]


def test_an_empty_file_has_every_default() -> None:
    """Nothing is required at the top, and absent blocks have their own defaults."""
    found = tree("")
    assert found == Tree()
    assert found.twig.words == ("a",)
    assert found.perhaps is None


def test_a_name_is_the_label_and_defaults_may_follow_other_keys() -> None:
    """The section knows what it is called; a default is made when the other values are known."""
    found = tree('leaves "oak" {\n  size = 4\n}\n')
    assert found.leaves == {"oak": Leaf(name="oak", size=4, twice=8)}


def test_three_spellings_of_a_named_block() -> None:
    """With a label, inside a block, inside an object: the same model."""
    meant = tree('leaves "oak" {\n  size = 4\n}\n')
    assert tree("leaves {\n  oak {\n    size = 4\n  }\n}\n") == meant
    assert tree("leaves = { oak = { size = 4 } }\n") == meant


def test_two_spellings_of_a_nested_block_and_four_of_a_list() -> None:
    """A block or an object; repeated blocks, a list, and each of one only."""
    assert tree("twig {\n  is_green = true\n}\n") == tree("twig = { is_green = true }\n")
    green = Twig(is_green=True)
    for text in (
        "rings {\n  is_green = true\n}\n",
        "rings = [{ is_green = true }]\n",
        "rings = { is_green = true }\n",
    ):
        assert tree(text).rings == (green,)
    assert tree("rings {}\nrings {\n  is_green = true\n}\n").rings == (Twig(), green)


def test_null_is_as_good_as_nothing() -> None:
    """An optional key may be switched off; a required one stays required."""
    assert tree("perhaps = null\nfile = null\n") == Tree()
    assert faults('leaves "a" {\n  size = null\n}\n') == ['1:9 leave "a" needs "size"']


def test_text_of_the_environment_stands_for_what_is_wanted() -> None:
    """A variable has no type, so "7" may be a number; a text in the file is a text."""
    found = tree('leaves "a" {\n  size = "${NUMBER}"\n}\ntwig {\n  is_green = env("YES")\n}\n')
    assert found.leaves["a"].size == 7
    assert found.twig.is_green is True
    assert faults('leaves "a" {\n  size = "7"\n}\n') == [
        '2:11 "size" must be a whole number from 1 to 10, not "7"'
    ]
    assert faults('leaves "a" {\n  size = env("WORD")\n}\n') == [
        '2:15 "size" must be a whole number from 1 to 10, not this text'
    ]


def test_a_path_is_relative_to_the_file_that_says_it() -> None:
    """The gateway may be started from anywhere."""
    assert tree('file = "a/b"\n').file == "etc/a/b"
    assert tree('file = "/a/b"\n').file == "/a/b"
    assert read('file = "a/b"\n', "tree.hcl")[0].file == "a/b"


def test_a_key_may_be_a_word_of_python() -> None:
    """HCL does not know which words Python keeps for itself."""
    assert tree('from = "x"\n').from_ == "x"


def test_every_fault_is_found_and_the_rest_is_read() -> None:
    """One run is enough to learn everything that is wrong."""
    found, values = read(
        'leaves "a" {\n  size = 11\n  sise = 1\n}\nleaves "b" {\n  size = 1\n}\n'
        'twig {\n  is_green = "yes"\n  words = ["x", "", 3]\n}\nmarks = { "a b" = "x", c = 1 }\n'
    )
    assert list(found.leaves) == ["b"]
    assert found.twig == Twig()
    assert sorted(fault.span.line for fault in values.faults) == [2, 3, 9, 10, 10, 12, 12]


def test_a_missing_key_is_not_reported_beside_its_misspelling() -> None:
    """One slip is one fault."""
    assert faults('leaves "a" {\n  sise = 3\n}\n') == ['2:3 unknown key "sise" in leave "a"']


def test_a_section_speaks_up_only_when_its_keys_are_fine() -> None:
    """What follows from another fault is not reported beside it."""
    assert faults('leaves "a" {\n  size = 10\n}\n') == ["2:10 ten is too much"]
    assert faults('leaves "a" {\n  size  = 10\n  twice = "x"\n}\n') == [
        '3:12 "twice" must be a whole number of at least 0, not "x"'
    ]


def test_names_of_faulty_blocks_are_declared_all_the_same() -> None:
    """A reference to one is not a second fault."""
    parsed = parse('leaves "a" {\n}\n', "f")
    decoder = Decoder(Values(Scope({}, lambda path, origin: "")))
    decoder.root(Tree, parsed.body)
    assert decoder.declared == {"leaves": {"a": Span("f", 1, 9, 1)}}


def test_secrets_are_noted_and_kept_out_of_the_model_that_is_shown() -> None:
    """Neither the representation nor the kept nodes hold one; its place is known for masking."""
    found, values = read('secret = "a${WORD}b"\n')
    assert found.secret == "atextb"
    assert "atextb" not in repr(found)
    assert found.place.nodes["secret"] == Span("etc/tree.hcl", 1, 11, 9)
    assert [(span.column, span.width) for span in values.secrets] == [(11, 1), (19, 1)]


def test_every_key_leads_back_to_its_place() -> None:
    """Later layers can point at a value, an element of a list, a stretch of a text."""
    found = tree('twig {\n  words = ["ab", "cdef"]\n}\nfrom = "x\\"yz"\n')
    assert found.twig.span == Span("etc/tree.hcl", 1, 1, 4)
    assert found.twig.span_of("words", 1) == Span("etc/tree.hcl", 2, 19, 4)
    assert found.twig.span_of("words", 1, start=1, end=3) == Span("etc/tree.hcl", 2, 20, 2)
    assert found.twig.span_of("words", 9).column == 11
    assert found.twig.span_of("is_green") == found.twig.span
    assert found.span_of("twig") == found.twig.span
    assert found.span_of("from", start=2, end=4) == Span("etc/tree.hcl", 4, 12, 2)


def test_places_do_not_make_a_difference() -> None:
    """Two files that say the same are the same configuration."""
    assert tree('from = "x"\n') == tree('\n\n   from   =  "x"  # comment\n')

"""HPACK: the RFC's examples, agreement with the `hpack` library, limits, secrets."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from a3s_gateway.protocol.http2.hpack import (
    Decoder,
    Encoder,
    Field,
    HeaderListTooLargeError,
    HpackError,
    NeverIndexed,
    literal,
)

GET = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"www.example.com"),
]
GET_2 = [*GET, (b"cache-control", b"no-cache")]
GET_3 = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/index.html"),
    (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]
REDIRECT = [
    (b":status", b"302"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    (b"location", b"https://www.example.com"),
]
OK = [
    (b":status", b"200"),
    (b"cache-control", b"private"),
    (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT"),
    (b"location", b"https://www.example.com"),
    (b"content-encoding", b"gzip"),
    (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
]


def _decoder() -> Decoder:
    return Decoder(max_list_size=64 * 1024)


EXAMPLES = {
    "C.3": (
        4096,
        [
            ("828684410f7777772e6578616d706c652e636f6d", GET),
            ("828684be58086e6f2d6361636865", GET_2),
            ("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", GET_3),
        ],
    ),
    "C.4": (
        4096,
        [
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", GET),
            ("828684be5886a8eb10649cbf", GET_2),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", GET_3),
        ],
    ),
    "C.5": (
        256,
        [
            (
                (
                    "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a"
                    "323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d"
                ),
                REDIRECT,
            ),
            ("4803333037c1c0bf", [(b":status", b"307"), *REDIRECT[1:]]),
            (
                (
                    "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69"
                    "707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d6178"
                    "2d6167653d333630303b2076657273696f6e3d31"
                ),
                OK,
            ),
        ],
    ),
    "C.6": (
        256,
        [
            (
                (
                    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29"
                    "ad171863c78f0b97c8e9ae82ae43d3"
                ),
                REDIRECT,
            ),
            ("4883640effc1c0bf", [(b":status", b"307"), *REDIRECT[1:]]),
            (
                (
                    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7"
                    "f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d50"
                    "07"
                ),
                OK,
            ),
        ],
    ),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_rfc_are_decoded(example: str) -> None:
    """Appendix C: requests and responses, without and with Huffman, evicting what is old."""
    table_size, blocks = EXAMPLES[example]
    decoder = _decoder()
    decoder.allow(table_size)
    if table_size != 4096:  # the appendix has it so from the start
        decoder.decode(b"\x3f\xe1\x01")
    for block, fields in blocks:
        assert decoder.decode(bytes.fromhex(block)) == fields


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header")),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path")),
        ("100870617373776f726406736563726574", NeverIndexed((b"password", b"secret"))),
        ("82", (b":method", b"GET")),
    ],
)
def test_every_representation_is_decoded(block: str, field: Field) -> None:
    """Appendix C.2."""
    [decoded] = _decoder().decode(bytes.fromhex(block))
    assert decoded == field
    assert type(decoded) is type(field)


NAMES = st.sampled_from(
    [b":path", b":authority", b"accept", b"cookie", b"x-id", b"date", b"x" * 70, b"authorization"]
) | st.binary(min_size=1, max_size=12)
VALUES = st.sampled_from([b"", b"a", b"/", b"gzip, deflate", b"v" * 300]) | st.binary(max_size=40)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
SIZES = st.integers(0, 5000)


class OurEncoder(RuleBasedStateMachine):
    """A connection on which we encode, and both decoders decode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.theirs = hpack.Decoder()
        self.ours = _decoder()

    @rule(fields=FIELDS, times=st.integers(1, 3))
    def send(self, fields: list[Field], times: int) -> None:
        """Whatever repeats or not comes out as it went in."""
        for _ in range(times):
            block = self.encoder.encode(fields)
            assert [tuple(field) for field in self.theirs.decode(block, raw=True)] == fields
            assert [tuple(field) for field in self.ours.decode(block)] == fields

    @rule(size=SIZES)
    def change_the_size(self, size: int) -> None:
        """The peer's settings hold from the next block on."""
        self.encoder.allow(size)
        self.theirs.max_allowed_table_size = size
        self.ours.allow(size)


class OurDecoder(RuleBasedStateMachine):
    """A connection on which the library encodes and we decode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = hpack.Encoder()
        self.decoder = _decoder()

    @rule(fields=FIELDS, huffman=st.booleans(), sensitive=st.booleans(), times=st.integers(1, 3))
    def send(self, fields: list[Field], huffman: bool, sensitive: bool, times: int) -> None:  # noqa: FBT001
        """Whatever it writes is read."""
        for _ in range(times):
            triples = [(*field, sensitive) for field in fields]
            block = self.encoder.encode(triples, huffman=huffman)
            decoded = self.decoder.decode(block)
            assert [tuple(field) for field in decoded] == fields

    @rule(size=SIZES)
    def change_the_size(self, size: int) -> None:
        """Its table follows our settings."""
        if size != self.encoder.header_table_size:  # which it would take for no change at all
            self.decoder.allow(size)
            self.encoder.header_table_size = size
            self.decoder.decode(self.encoder.encode([]))  # of two changes it would tell all


TestOurEncoder = OurEncoder.TestCase
TestOurDecoder = OurDecoder.TestCase


@given(st.lists(st.binary(max_size=20), max_size=3))
def test_any_bytes_are_decoded_as_the_library_does_or_refused(blocks: list[bytes]) -> None:
    """And never raise anything but what the connection expects."""
    ours, theirs = _decoder(), hpack.Decoder()
    for block in blocks:
        try:
            decoded = ours.decode(block)
        except HpackError:
            with pytest.raises(hpack.HPACKError):
                theirs.decode(block, raw=True)
            return
        assert [tuple(field) for field in decoded] == [
            tuple(field) for field in theirs.decode(block, raw=True)
        ]


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("80", "the index 0"),
        ("be", "unknown index"),
        ("7f00", "unknown index"),
        ("7e0161", "unknown index"),
        ("ff", "ends in the middle"),
        ("41", "ends in the middle"),
        ("4105616263", "longer than its block"),
        ("ffffffffffff0f", "integer is too large"),
        ("ff80808080808000", "integer is too large"),
        ("417fffffffffff7f61", "integer is too large"),
        ("823f01", "in the middle of a block"),
        ("3fe2ffffff0f", "integer is too large"),
        ("3fe21f", "larger than we have allowed"),
        ("418118", "padding"),
    ],
)
def test_a_malformed_block_is_refused(block: str, reason: str) -> None:
    """The reason ends up in the log: which of the peer's encoders is broken."""
    with pytest.raises(HpackError, match=reason):
        _decoder().decode(bytes.fromhex(block))


def test_a_table_that_must_shrink_and_does_not_is_refused() -> None:
    """RFC 7541 §4.2: the first block after the setting says so."""
    decoder = _decoder()
    decoder.allow(100)
    with pytest.raises(HpackError, match="should have become smaller"):
        decoder.decode(b"\x82")


def test_a_list_that_is_too_large_costs_no_connection() -> None:
    """The table has followed, so the blocks after it mean what they should."""
    decoder = Decoder(max_list_size=200)
    bomb = b"\x40\x01a\x7f\x01" + b"v" * 128 + b"\xbe" * 1000
    with pytest.raises(HeaderListTooLargeError):
        decoder.decode(bomb)
    assert decoder.decode(b"\xbe") == [(b"a", b"v" * 128)]


def test_a_block_that_repeats_is_not_decoded_again() -> None:
    """Its fields are the same list, until the table changes and they may be others."""
    decoder = _decoder()
    decoder.decode(b"\x40\x01a\x01b")
    first = decoder.decode(b"\x82\xbe")
    assert decoder.decode(b"\x82\xbe") is first
    decoder.decode(b"\x40\x01c\x01d")
    assert decoder.decode(b"\x82\xbe") == [(b":method", b"GET"), (b"c", b"d")]
    assert decoder.decode(b"\x20") == []
    with pytest.raises(HpackError):
        decoder.decode(b"\x82\xbe")


def test_what_is_remembered_is_bounded() -> None:
    """A peer that never repeats itself cannot fill our memory."""
    decoder = _decoder()
    first = decoder.decode(b"\x82")
    for number in range(16):
        decoder.decode(b"\x00\x01a\x02" + number.to_bytes(2))
    assert decoder.decode(b"\x82") is not first
    large = b"\x82" * 1000
    assert decoder.decode(large) is not decoder.decode(large)


def test_a_field_is_indexed_when_it_comes_again() -> None:
    """Then it is one byte; an id that never comes again stays out of the table."""
    encoder = Encoder()
    repeated = (b"x-service", b"checkout")
    sizes = [
        len(encoder.encode([repeated, (b"x-request-id", b"%032d" % number)])) for number in range(4)
    ]
    identity = 2 + len(b"x-request-id") + 1 + 32
    assert sizes[2:] == [identity + 1, identity + 1]


@pytest.mark.parametrize("name", [b"authorization", b"cookie", b"set-cookie", b"x-api-key"])
def test_credentials_are_never_indexed(name: bytes) -> None:
    """RFC 7541 §7.1.3: nobody may find one out by trying which values compress well."""
    encoder = Encoder()
    for _ in range(3):
        block = encoder.encode([(name, b"secret")])
        assert block[0] & 0xF0 == 0x10
        [field] = _decoder().decode(block)
        assert type(field) is NeverIndexed


def test_what_came_as_never_indexed_goes_on_as_such() -> None:
    """RFC 7541 §6.2.3, even where the same field is in the table."""
    encoder = Encoder()
    for _ in range(3):
        encoder.encode([(b"x-name", b"value")])
    [field] = _decoder().decode(encoder.encode([NeverIndexed((b"x-name", b"value"))]))
    assert type(field) is NeverIndexed


def test_the_authority_is_no_credential() -> None:
    """Whatever its name contains: it repeats in every request."""
    encoder = Encoder()
    for _ in range(2):
        encoder.encode([(b":authority", b"example.com")])
    assert encoder.encode([(b":authority", b"example.com")]) == b"\xbe"


def test_a_block_of_indexes_is_known_until_the_table_changes() -> None:
    """What is remembered says the same as what would be encoded anew."""
    encoder, decoder = Encoder(), hpack.Decoder()
    fields = [(b":status", b"200"), (b"server", b"nginx")]
    for _ in range(4):  # seen, inserted, found, and remembered
        assert encoder.known("key") is None
        decoder.decode(encoder.encode(fields, "key"))
    block = encoder.known("key")
    assert block is not None
    assert decoder.decode(block, raw=True) == fields
    for _ in range(2):
        decoder.decode(encoder.encode([(b"date", b"today")]))
    assert encoder.known("key") is None
    for _ in range(2):
        decoder.decode(encoder.encode(fields, "key"))
    assert encoder.known("key") is not None
    encoder.allow(0)
    assert encoder.known("key") is None


def test_a_literal_leaves_the_table_as_it_is() -> None:
    """However often it comes."""
    decoder = hpack.Decoder()
    for _ in range(3):
        block = literal(b"x-request-id", b"abc")
        assert decoder.decode(block, raw=True) == [(b"x-request-id", b"abc")]
    assert len(decoder.header_table.dynamic_entries) == 0

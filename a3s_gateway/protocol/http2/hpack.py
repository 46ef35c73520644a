"""
HPACK: header fields, compressed by what a connection has sent before (RFC 7541).

Both sides are made for connections that repeat themselves. Only what the table holds can be
answered from memory, so a change of the table forgets it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from a3s_gateway.headers import SECRET_NAME
from a3s_gateway.protocol.cache import TwoGenerations

from . import huffman
from .huffman import HuffmanError
from .static_table import STATIC_TABLE

Field = tuple[bytes, bytes]

DEFAULT_TABLE_SIZE: Final = 4096  # bytes (RFC 9113 §6.5.2)
ENTRY_OVERHEAD: Final = 32  # bytes that an entry counts beside its name and value (§4.1)
_STATIC: Final = len(STATIC_TABLE)
_MAX_INTEGER: Final = 2**31  # more than any block, and any table, that we take
_MEMO: Final = 16  # blocks that a decoder remembers ...
_MEMO_BLOCK: Final = 256  # ... of so many bytes at the most
_BLOCKS: Final = 16  # that an encoder remembers
_SEEN: Final = 128  # fields that an encoder waits for to come again; as many fit in its table


class NeverIndexed(tuple[bytes, bytes]):
    """
    A field that no hop may put into a table: the peer said so (§7.1.3).

    It is not equal to a field that may be, so no cache mistakes one for the other.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is NeverIndexed and tuple.__eq__(self, other)

    def __hash__(self) -> int:
        return hash((NeverIndexed, *self))


class HpackError(Exception):
    """A block cannot be decoded, and no later one could: the end of the connection."""


class HeaderListTooLargeError(Exception):
    """A block holds more than may be in one; the ones that follow can be decoded."""


class Decoder:
    """
    Blocks in, fields out.

    Attributes:
        max_list_size: Bytes of fields in a block, each with `ENTRY_OVERHEAD`, that may be.

    """

    __slots__ = (
        "_entries", "_limit", "_memo", "_must_shrink", "_size", "_table_size", "max_list_size",
    )  # fmt: skip

    def __init__(self, max_list_size: int) -> None:
        self.max_list_size = max_list_size
        # By index, so that nothing is added when one is looked up; the newest is at 62.
        self._entries: list[Field | None] = [None, *STATIC_TABLE]
        self._size = 0
        self._table_size = DEFAULT_TABLE_SIZE  # what the peer's encoder uses ...
        self._limit = DEFAULT_TABLE_SIZE  # ... of what we allow
        self._must_shrink = False
        self._memo: dict[bytes, list[Field]] = {}

    def allow(self, table_size: int) -> None:
        """Set how large the peer may make the table; once it has acknowledged the setting."""
        self._limit = table_size
        self._must_shrink = self._table_size > table_size
        self._memo = {}

    def decode(self, block: bytes) -> list[Field]:
        """
        Return the fields of `block`, in order.

        The same list, not to be changed, comes back for the same block while the table stays as
        it is; what is derived from it can be kept with it.

        Raises:
            HpackError: The block is malformed; the connection is lost.
            HeaderListTooLargeError: It is well formed and too large.

        """
        fields = self._memo.get(block)
        if fields is not None:
            return fields
        try:
            return self._decode(block)
        except IndexError:
            raise HpackError("a block ends in the middle, or uses an unknown index") from None
        except HuffmanError as error:
            raise HpackError(str(error)) from None

    def _decode(self, block: bytes) -> list[Field]:
        memo = self._memo
        entries = self._entries
        fields: list[Field] = []
        position = self._resize(block)
        size = 0
        end = len(block)
        while position < end:
            byte = block[position]
            position += 1
            if byte & 0x80:
                index = byte & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, 0x7F)
                field = entries[index]
                if field is None:
                    raise HpackError("a field has the index 0")
            else:
                field, position = self._literal(block, byte, position)
            fields.append(field)
            size += len(field[0]) + len(field[1])
        if size + ENTRY_OVERHEAD * len(fields) > self.max_list_size:
            raise HeaderListTooLargeError
        if memo is self._memo and end <= _MEMO_BLOCK:  # nothing has changed the table meanwhile
            if len(memo) >= _MEMO:
                memo.clear()
            memo[block] = fields
        return fields

    def _literal(self, block: bytes, byte: int, position: int) -> tuple[Field, int]:
        if byte & 0xE0 == 0x20:
            raise HpackError("the table changes its size in the middle of a block")
        mask = 0x3F if byte & 0x40 else 0x0F
        index = byte & mask
        if index == 0:
            name, position = _string(block, position)
        else:
            if index == mask:
                index, position = _integer(block, position, mask)
            entry = self._entries[index]
            assert entry is not None  # an index of 0 never gets here
            name = entry[0]
        value, position = _string(block, position)
        if byte & 0x10 and not byte & 0x40:
            return NeverIndexed((name, value)), position
        field = (name, value)
        if byte & 0x40:
            self._insert(field)
        return field, position

    def _insert(self, field: Field) -> None:
        self._memo = {}
        size = len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
        self._evict(self._table_size - size)
        if size <= self._table_size:  # §4.4: one that is too large empties the table, no more
            self._entries.insert(_STATIC + 1, field)
            self._size += size

    def _evict(self, room: int) -> None:
        """Let the oldest go until what stays is no more than `room`."""
        entries = self._entries
        while self._size > room and len(entries) > _STATIC + 1:
            name, value = entries.pop()  # type: ignore[misc]  # None is at 0 only
            self._size -= len(name) + len(value) + ENTRY_OVERHEAD

    def _resize(self, block: bytes) -> int:
        """Follow the changes of the table's size that a block begins with; return their length."""
        position = 0
        while position < len(block) and block[position] & 0xE0 == 0x20:
            size = block[position] & 0x1F
            position += 1
            if size == 0x1F:
                size, position = _integer(block, position, 0x1F)
            if size > self._limit:
                raise HpackError("the table would be larger than we have allowed")
            self._table_size = size
            self._must_shrink = False
            self._memo = {}
            self._evict(size)
        if self._must_shrink:  # §4.2
            raise HpackError("the table should have become smaller")
        return position


def _integer(block: bytes, position: int, value: int) -> tuple[int, int]:
    """Read what an integer has beyond its prefix, which is full (§5.1)."""
    shift = 0
    while True:
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if value >= _MAX_INTEGER or shift > 28:
            raise HpackError("an integer is too large")
        if not byte & 0x80:
            return value, position
        shift += 7


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    first = block[position]
    position += 1
    length = first & 0x7F
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HpackError("a string is longer than its block")
    data = block[position:end]
    return (huffman.decode(data) if first & 0x80 else data), end


class Encoder:
    """
    Fields in, blocks out.

    A field goes into the table when it is seen for the second time: what never repeats (an id)
    pushes nothing out. Credentials never do, and neither does what comes as `NeverIndexed`.
    """

    __slots__ = (
        "_blocks", "_inserted", "_known", "_numbers", "_pending", "_seen", "_size", "_table_size",
    )  # fmt: skip

    def __init__(self) -> None:
        self._table_size = DEFAULT_TABLE_SIZE
        self._pending: list[int] = []  # changes of the size, to be told in the next block
        self._size = 0
        self._inserted = 0
        self._numbers: dict[Field, int] = {}  # the table, oldest first: by number of insertion
        self._known: dict[Field, bytes] = {}  # how fields of both tables stand in a block now
        self._blocks: dict[Hashable, bytes] = {}  # those that were indexes and nothing else
        self._seen: set[int] = set()  # hashes of fields; that two have one does no harm

    def allow(self, table_size: int) -> None:
        """Take note of how large the peer lets the table be; we use no more than the default."""
        size = min(table_size, DEFAULT_TABLE_SIZE)
        if size == self._table_size:
            return
        # §4.2: of several changes the smallest is told, and the last.
        smallest = min([size, *self._pending])
        self._pending = [size] if smallest == size else [smallest, size]
        self._table_size = size
        self._evict(size)

    def known(self, key: Hashable) -> bytes | None:
        """Return the block that was encoded with this key, if it would be the same again."""
        return None if self._pending else self._blocks.get(key)

    def encode(self, fields: Iterable[Field], key: Hashable = None) -> bytes:
        """
        Return the block that says `fields`.

        Args:
            fields: With their names in lower case.
            key: Stands for all of them; see `known`.

        """
        if self._pending:
            key = None
        parts = [_prefixed(size, 0x20, 0x1F) for size in self._pending] if self._pending else []
        self._pending = []
        for field in fields:
            part = self._known.get(field)
            if part is None:
                key = None
                part = self._represent(field)
            parts.append(part)
        block = b"".join(parts)
        if key is not None:
            if len(self._blocks) >= _BLOCKS:
                self._blocks.clear()
            self._blocks[key] = block
        return block

    def _represent(self, field: Field) -> bytes:
        """Return a part of a block, and remember it when it would be the same in the next one."""
        index = _STATIC_INDEX.get(field)
        if index is None:
            number = self._numbers.get(field)
            if number is None:
                return self._literal(field)
            index = _STATIC + 1 + self._inserted - number
        part = self._known[field] = _prefixed(index, 0x80, 0x7F)
        return part

    def _literal(self, field: Field) -> bytes:
        name, value = field
        form = _forms.get(name) or _learn(name)
        if form.is_secret or type(field) is NeverIndexed:
            return form.never_indexed + _raw(value)
        size = len(name) + len(value) + ENTRY_OVERHEAD
        if size <= self._table_size:
            seen = self._seen
            key = hash(field)
            if key in seen:
                self._insert(field, size)
                return form.inserting + _compressed(value)
            if len(seen) >= _SEEN:
                seen.clear()
            seen.add(key)
        return form.not_indexed + _raw(value)

    def _insert(self, field: Field, size: int) -> None:
        self._evict(self._table_size - size)
        self._known = {}  # every index has changed
        self._blocks = {}
        self._inserted += 1
        self._numbers[field] = self._inserted
        self._size += size

    def _evict(self, room: int) -> None:
        while self._size > room:
            field = next(iter(self._numbers))
            del self._numbers[field]
            self._known.pop(field, None)
            self._blocks = {}
            self._size -= len(field[0]) + len(field[1]) + ENTRY_OVERHEAD


def literal(name: bytes, value: bytes) -> bytes:
    """Return the part of a block that says a field, and leaves the table as it is."""
    return (_forms.get(name) or _learn(name)).not_indexed + _raw(value)


class _Form:
    """How the literal fields of one name begin."""

    __slots__ = ("inserting", "is_secret", "never_indexed", "not_indexed")

    def __init__(self, name: bytes) -> None:
        index = _STATIC_NAMES.get(name, 0)
        spelled = b"" if index else _raw(name)
        self.not_indexed = _prefixed(index, 0x00, 0x0F) + spelled
        self.never_indexed = _prefixed(index, 0x10, 0x0F) + spelled
        self.inserting = _prefixed(index, 0x40, 0x3F) + (b"" if index else _compressed(name))
        is_pseudo = name.startswith(b":")  # `:authority` is none, whatever its name contains
        self.is_secret = not is_pseudo and SECRET_NAME.search(name.decode("latin-1")) is not None


def _prefixed(value: int, pattern: int, mask: int) -> bytes:
    """Write an integer after the bits of `pattern` (§5.1)."""
    if value < mask:
        return bytes((pattern | value,))
    out = bytearray((pattern | mask,))
    value -= mask
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _raw(data: bytes) -> bytes:
    """Write a string as it is: cheap, for what is sent once."""
    size = len(data)
    return (_LENGTHS[size] if size < 0x7F else _prefixed(size, 0x00, 0x7F)) + data


def _compressed(data: bytes) -> bytes:
    """Write a string in as few bytes as can be."""
    code = huffman.encode(data)
    return _prefixed(len(code), 0x80, 0x7F) + code if len(code) < len(data) else _raw(data)


def _learn(name: bytes) -> _Form:
    form = _Form(name)
    if len(name) <= _FORM_SIZE:
        _forms.put(name, form)
    return form


_LENGTHS: Final = [bytes((size,)) for size in range(0x7F)]
_STATIC_INDEX: Final = {field: index for index, field in enumerate(STATIC_TABLE, 1)}
_STATIC_NAMES: Final = {
    field[0]: index for index, field in reversed(list(enumerate(STATIC_TABLE, 1)))
}
_FORM_SIZE: Final = 64  # bytes of a name that is remembered
_forms: Final[TwoGenerations[bytes, _Form]] = TwoGenerations(512)

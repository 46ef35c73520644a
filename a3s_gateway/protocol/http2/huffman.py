"""The Huffman code of HPACK's strings (RFC 7541 §5.2, Appendix B)."""

from __future__ import annotations

from typing import Final

EOS: Final = 256
# Bits of each symbol's code. The code is canonical: a shorter one, and among those of one length
# that of the lower symbol, comes first, so the lengths say it all.
_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
    "1e"
)


class HuffmanError(Exception):
    """A string is not one that an encoder could have written."""


class _Node(dict[int, "tuple[_Node, bytes]"]):
    """
    What of a symbol's code has been read; `node[byte]` is (the next node, whole symbols).

    A cell is made when it is first asked for: text in ASCII needs a small part of them.

    Attributes:
        children: By the next bit: a node, or the symbol whose code is complete.
        may_end: What has been read can be the padding of the last byte.

    """

    __slots__ = ("children", "may_end")

    def __init__(self, *, may_end: bool) -> None:
        super().__init__()
        self.children: list[_Node | int | None] = [None, None]
        self.may_end = may_end

    def __missing__(self, byte: int) -> tuple[_Node, bytes]:
        node = self
        symbols = bytearray()
        for shift in range(7, -1, -1):
            child = node.children[byte >> shift & 1]
            if isinstance(child, _Node):
                node = child
            elif child is None or child == EOS:
                raise HuffmanError("a string contains the symbol that ends strings")
            else:
                symbols.append(child)
                node = _ROOT
        cell = self[byte] = (node, bytes(symbols))
        return cell


def _codes() -> dict[int, str]:
    """Return the code of each symbol as text of `0` and `1`."""
    codes = {}
    code = length = 0
    for symbol in sorted(range(len(_LENGTHS)), key=_LENGTHS.__getitem__):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        codes[symbol] = f"{code:0{length}b}"
        code += 1
    return codes


def _tree(codes: dict[int, str]) -> _Node:
    root = _Node(may_end=True)
    for symbol, code in codes.items():
        node = root
        for depth, bit in enumerate(code[:-1], 1):
            child = node.children[int(bit)]
            if not isinstance(child, _Node):
                # Padding is less than a byte of the most significant bits of EOS: ones.
                may_end = depth < 8 and "0" not in code[:depth]
                child = node.children[int(bit)] = _Node(may_end=may_end)
            node = child
        node.children[int(code[-1])] = symbol
    return root


_CODES: Final = _codes()
_ROOT: Final = _tree(_CODES)


def decode(data: bytes) -> bytes:
    """
    Return the string that `data` is the code of.

    Raises:
        HuffmanError: The padding is wrong or a byte too long, or EOS is in it.

    """
    node = _ROOT
    parts = []
    for byte in data:
        node, symbols = node[byte]
        parts.append(symbols)
    if not node.may_end:
        raise HuffmanError("the padding of a string is wrong")
    return b"".join(parts)


def encode(data: bytes) -> bytes:
    """Return the code of `data`, padded to whole bytes."""
    bits = data.decode("latin-1").translate(_CODES)
    size = (len(bits) + 7) // 8
    return int(bits.ljust(size * 8, "1"), 2).to_bytes(size) if size else b""

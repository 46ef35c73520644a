"""
The PROXY protocol, versions 1 and 2: whom a proxy speaks for, said before all else.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from attrs import frozen

MAX_V1: Final = 107  # bytes, with the line's end; the specification's
MAX_V2: Final = 4 * 1024  # bytes; the addresses are 52, the rest is for extensions
_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD: Final = 16  # bytes: signature, version and command, family, length
_LOCAL, _PROXY = 0x20, 0x21
_FAMILIES: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6; bytes of an address
_LINE: Final = re.compile(
    rb"PROXY (?:UNKNOWN[ -~]*|TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (\d{1,5}) (\d{1,5}))\r\n"
)

Place = tuple[str, int]  # an IP address and a port


class ProxyHeaderError(ValueError):
    """What came is no header, or not one that can be understood."""


@frozen
class ProxyHeader:
    """
    What a proxy says of a connection.

    Attributes:
        length: Bytes of the header itself.
        source: The client; None if the proxy speaks for itself, or does not know.
        destination: Where the client connected to.

    """

    length: int
    source: Place | None = None
    destination: Place | None = None


def read_proxy_header(data: bytes) -> ProxyHeader | int:
    """
    Read a header of either version.

    Args:
        data: All that has come, from the first byte on.

    Returns:
        How many bytes there must at least be to tell more, if it is not complete.

    Raises:
        ProxyHeaderError: It cannot become one.

    """
    if not data:
        return 1
    if data.startswith(_SIGNATURE[: len(data)]):
        return _read_v2(data)
    if data.startswith(b"PROXY "[: len(data)]):
        return _read_v1(data)
    raise ProxyHeaderError("no PROXY header")


def _read_v1(data: bytes) -> ProxyHeader | int:
    end = data.find(b"\n", 0, MAX_V1) + 1
    if not end:
        if len(data) >= MAX_V1:
            raise ProxyHeaderError("the line of version 1 does not end")
        return len(data) + 1
    match = _LINE.fullmatch(data[:end])
    if match is None:
        raise ProxyHeaderError("the line of version 1 is malformed")
    if match[1] is None:
        return ProxyHeader(end)
    version = int(match[1])
    source = _place(match[2], match[4], version)
    return ProxyHeader(end, source, _place(match[3], match[5], version))


def _place(host: bytes, port: bytes, version: int) -> Place:
    try:
        address = ip_address(host.decode("ascii"))
    except ValueError:
        raise ProxyHeaderError("an address that is none") from None
    if address.version != version or int(port) > 0xFFFF:
        raise ProxyHeaderError("an address of another family, or a port that is none")
    return str(address), int(port)


def _read_v2(data: bytes) -> ProxyHeader | int:
    if len(data) < _V2_HEAD:
        return _V2_HEAD
    command, family = data[12], data[13]
    length = _V2_HEAD + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("an unknown version or command")
    if length > MAX_V2:
        raise ProxyHeaderError(f"a header of {length} bytes")
    if len(data) < length:
        return length
    size = _FAMILIES.get(family)
    if command == _LOCAL or size is None:
        return ProxyHeader(length)  # of a Unix socket there is nothing that we could use
    if length < _V2_HEAD + 2 * size + 4:
        raise ProxyHeaderError("addresses are missing")
    addresses = data[_V2_HEAD : _V2_HEAD + 2 * size]
    ports = data[_V2_HEAD + 2 * size : _V2_HEAD + 2 * size + 4]
    return ProxyHeader(
        length,
        (str(ip_address(addresses[:size])), int.from_bytes(ports[:2], "big")),
        (str(ip_address(addresses[size:])), int.from_bytes(ports[2:], "big")),
    )


def write_proxy_header(version: int, source: Place | None, destination: Place | None) -> bytes:
    """
    Say whom we speak for.

    Args:
        version: 1 or 2.
        source: The client; None where it has no IP address.
        destination: Where it connected to.

    """
    write = _write_v1 if version == 1 else _write_v2
    if source is None or destination is None:
        return write(None)
    ours, theirs = ip_address(source[0]), ip_address(destination[0])
    if ours.version != theirs.version:
        return write(None)
    return write((ours.version, ours.packed, theirs.packed, source, destination))


_Known = tuple[int, bytes, bytes, Place, Place]


def _write_v1(known: _Known | None) -> bytes:
    if known is None:
        return b"PROXY UNKNOWN\r\n"
    version, _, _, source, destination = known
    hosts, ports = f"{source[0]} {destination[0]}", f"{source[1]} {destination[1]}"
    return f"PROXY TCP{version} {hosts} {ports}\r\n".encode("ascii")


def _write_v2(known: _Known | None) -> bytes:
    if known is None:
        return _SIGNATURE + bytes((_LOCAL, 0, 0, 0))
    version, ours, theirs, source, destination = known
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    body = ours + theirs + ports
    family = 0x11 if version == 4 else 0x21
    return _SIGNATURE + bytes((_PROXY, family)) + len(body).to_bytes(2, "big") + body

"""Addresses: where an entrypoint listens, and where a backend is."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Literal

from attrs import frozen

from a3s_gateway.config.schema import RejectedError, ScalarKind
from a3s_gateway.hcl.nodes import Plain

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_IPV4_LIKE = re.compile(r"[\d.]+")
_LAST_PORT = 65535
DNS_PORT = 53
_UNIX_PATH_LIMIT = 107  # bytes; sun_path of Linux, without the closing zero
_SOCKET_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]{1,255}")  # systemd's, but for the blank
_DEFAULT_PORTS = {"http": 80, "ws": 80, "h2c": 80, "https": 443, "wss": 443}
TLS_SCHEMES = ("https", "wss", "tls")
SCHEMES = ("http", "https", "h2c", "tcp", "tls", "udp", "ws", "wss", "unix")

_WANTED = (
    'an address such as "0.0.0.0:8080", ":8080", "[::]:443", "unix:/run/gateway.sock" '
    'or "systemd:NAME"'
)
_WANTED_URL = 'the URL of a server such as "http://127.0.0.1:8001"'


@frozen
class Address:
    """
    Where to listen.

    Attributes:
        host: An IP address without brackets or a name; empty for every interface.
        port: 0 lets the system choose one.
        path: Of a "unix" socket.
        name: By which systemd passes sockets that listen already (`FileDescriptorName=`).

    """

    kind: Literal["tcp", "unix", "systemd"]
    host: str = ""
    port: int = 0
    path: str = ""
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address; raises `RejectedError`."""
        if text.startswith("unix:"):
            return cls("unix", path=_socket(text.removeprefix("unix:"), _WANTED))
        if text.startswith("systemd:"):
            return cls("systemd", name=_socket_name(text.removeprefix("systemd:")))
        host, port = _host_and_port(text, _WANTED)
        if port is None:
            hint = f'add a port, such as "{text}:8080"' if text else ""
            raise RejectedError(_WANTED, hint)
        return cls("tcp", host, port)

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        if self.kind == "unix" or self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "systemd":
            return f"systemd:{self.name}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class Nameserver:
    """Whom to ask for addresses of names: an IP address without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class ServerUrl:
    """
    Where a backend is.

    Attributes:
        text: As written.
        scheme: Empty for a bare `host:port`: the protocol of the entrypoint.
        host: A name in lower case or an IP address without brackets; empty for "unix".
        port: With the default of the scheme filled in.
        path: Of an HTTP URL what stands before the path of every request, without a slash at the
            end; of "unix" the socket.

    """

    text: str
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str, *, with_query: bool = False) -> ServerUrl:
        """Read a URL; raises `RejectedError`. A query is refused, or becomes part of `path`."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            path = path.removeprefix("//") if path.startswith("///") else path
            return cls(text, "unix", "", 0, _socket(path, _WANTED_URL))
        scheme, separator, rest = text.partition("://")
        if not separator:
            bare = text.partition("/")[0]
            host, port = _host_and_port(bare, _WANTED_URL)
            if bare != text or not host or not port:
                raise RejectedError(_WANTED_URL, f'try "http://{text}"' if text else "")
            return cls(text, "", host.lower(), port, "")
        return _with_scheme(text, scheme.lower(), rest, with_query=with_query)

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them: without the default port of the scheme."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"

    @property
    def is_http(self) -> bool:
        """Tell whether requests can go there."""
        return self.scheme in _DEFAULT_PORTS or self.scheme == "unix"

    def __str__(self) -> str:
        return self.text


def _with_scheme(text: str, scheme: str, rest: str, *, with_query: bool) -> ServerUrl:
    if scheme not in SCHEMES:
        raise RejectedError(_WANTED_URL, f"schemes: {', '.join(SCHEMES)}")
    # Not urlsplit: it drops line breaks and tabs without a word.
    authority, target = rest[: _end_of_authority(rest)], rest[_end_of_authority(rest) :]
    if "@" in authority:
        hint = 'send credentials with a "headers" middleware'
        raise RejectedError("a URL without user and password", hint, found="one with them")
    if "#" in target or ("?" in target and not with_query):
        raise RejectedError("a URL without query and fragment")
    default = _DEFAULT_PORTS.get(scheme)
    if default is None and target:
        raise RejectedError(f"{scheme}://host:port, without a path")
    host, port = _host_and_port(authority, _WANTED_URL)
    if not host or port == 0 or (port is None and default is None):
        hint = f'add a port: "{scheme}://{host or "host"}:9000"' if default is None else ""
        raise RejectedError(_WANTED_URL, hint)
    if re.search(r"[^\x21-\x7e]|[\\\"<>^`{}|]", target):
        raise RejectedError("a URL whose path is percent-encoded")
    path = target if "?" in target else target.rstrip("/")
    return ServerUrl(text, scheme, host.lower(), port or default or 0, path)


def _end_of_authority(rest: str) -> int:
    return next((at for at, character in enumerate(rest) if character in "/?#"), len(rest))


def _host_and_port(text: str, wanted: str) -> tuple[str, int | None]:
    """Split `host:port`; no port is None. An IPv6 address stands in brackets."""
    if text.startswith("["):
        host, closed, tail = text[1:].partition("]")
        if not closed or not _is_ipv6(host) or (tail and not tail.startswith(":")):
            raise RejectedError(wanted)
    else:
        host, colon, port = text.partition(":")
        tail = colon + port
        if ":" in port:
            raise RejectedError(wanted, _hint_for_colons(text))
        if host and not _is_host(host):
            raise RejectedError(wanted, f'"{host}" is neither a name of a host nor an IP address')
    return host, _port(tail[1:], wanted) if tail else None


def _hint_for_colons(text: str) -> str:
    if "://" in text:
        return f'leave the scheme out: "{text.partition("://")[2]}"'
    host, _, port = text.rpartition(":")
    if _is_ipv6(host):
        return f'an IPv6 address stands in brackets: "[{host}]:{port}"'
    return f'an IPv6 address stands in brackets: "[{text}]:8080"' if _is_ipv6(text) else ""


def _port(text: str, wanted: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise RejectedError(wanted)
    if len(text) > 5 or int(text) > _LAST_PORT:
        raise RejectedError("an address with a port up to 65535")
    return int(text)


def _is_host(text: str) -> bool:
    if _IPV4_LIKE.fullmatch(text):
        octets = text.split(".")
        return len(octets) == 4 and all(o.isdigit() and int(o) <= 255 for o in octets)
    return _HOST.fullmatch(text) is not None


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _socket(path: str, wanted: str) -> str:
    if not path or "\0" in path or path.endswith("/"):
        raise RejectedError(wanted)
    if len(path.encode()) > _UNIX_PATH_LIMIT:
        raise RejectedError(f"a socket path of at most {_UNIX_PATH_LIMIT} bytes")
    return path


def _socket_name(name: str) -> str:
    if not _SOCKET_NAME.fullmatch(name):
        wanted = 'the name of a socket that systemd passes, such as "systemd:web"'
        raise RejectedError(wanted, "it is what FileDescriptorName= of the .socket unit says")
    return name


def _address(value: Plain) -> Address:
    if not isinstance(value, str):
        raise RejectedError(_WANTED, f'write ":{value}"' if isinstance(value, int) else "")
    return Address.parse(value.strip())


def _server_url(value: Plain) -> ServerUrl:
    if not isinstance(value, str):
        raise RejectedError(_WANTED_URL)
    return ServerUrl.parse(value.strip())


def _http_url(value: Plain) -> ServerUrl:
    wanted = 'a URL such as "http://127.0.0.1:9000"'
    text = value.strip() if isinstance(value, str) else ""
    if not text.startswith(("http://", "https://", "unix:")):
        raise RejectedError(wanted)
    return ServerUrl.parse(text, with_query=True)


def _nameserver(value: Plain) -> Nameserver:
    wanted = 'the address of a name server such as "10.0.0.2" or "[::1]:5353"'
    text = value.strip() if isinstance(value, str) else ""
    if _is_ipv6(text):
        return Nameserver(text, DNS_PORT)
    host, port = _host_and_port(text, wanted)
    try:
        ip_address(host)
    except ValueError:
        raise RejectedError(wanted) from None
    return Nameserver(host, DNS_PORT if port is None else port)


ADDRESS = ScalarKind("address", _address, str)
SERVER_URL = ScalarKind("server URL", _server_url, str)
HTTP_URL = ScalarKind("URL", _http_url, str)
NAMESERVER = ScalarKind("address", _nameserver, str)

"""Request targets and authorities: what is refused, and the one form of the rest."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.errors import RemoteProtocolError
from a3s_gateway.protocol import target as targets
from a3s_gateway.protocol.target import canonical_path, host_of, parse_target

PIECES = st.lists(
    st.sampled_from(
        ["/", "/.", "/..", "//", "a", ".", "..", "%2e", "%2E", "%2f", "%61", "~", "%7E", "%20", "é"]
    ),
    max_size=12,
).map(lambda pieces: ("/" + "".join(pieces)).encode())


def without_dot_segments(path: str) -> str:
    """Do what RFC 3986 §5.2.4 says, step by step."""
    output = ""
    while path:
        if path.startswith("../"):
            path = path[3:]
        elif path.startswith(("./", "/./")):
            path = path[2:]
        elif path == "/.":
            path = "/"
        elif path.startswith("/../"):
            path = path[3:]
            output = output[: max(output.rfind("/"), 0)]
        elif path == "/..":
            path = "/"
            output = output[: max(output.rfind("/"), 0)]
        elif path in (".", ".."):
            path = ""
        else:
            end = path.find("/", 1)
            end = len(path) if end < 0 else end
            output += path[:end]
            path = path[end:]
    return output


@given(PIECES)
def test_dot_segments_go_as_the_rfc_says(path: bytes) -> None:
    """However many there are, and however their dots are written."""
    canonical = canonical_path(path)
    decoded = path.replace(b"%2e", b".").replace(b"%2E", b".")
    assert unquote_to_bytes(canonical) == unquote_to_bytes(
        without_dot_segments(decoded.decode("latin-1")).encode("latin-1")
    )


@given(PIECES)
def test_the_canonical_form_of_a_canonical_path_is_itself(path: bytes) -> None:
    """A backend that does the same again gets the same."""
    canonical = canonical_path(path)
    assert canonical_path(canonical.encode("ascii")) == canonical
    assert canonical.startswith("/")
    assert {"..", "."} & set(canonical.split("/")) == set()


@given(PIECES)
def test_the_fast_way_gives_the_same(path: bytes) -> None:
    """A path that is canonical as it stands is recognised by a pattern, not by luck."""
    assert parse_target("GET", path) == (canonical_path(path), None, None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/public/../admin", "/admin"),
        ("/public/%2e%2e/admin", "/admin"),
        ("/public/.%2E/admin", "/admin"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2f..%2fb", "/a%2F..%2Fb"),
        ("/a//b", "/a//b"),
        ("/a//../b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/%41%7a%5f", "/Az_"),
        ("/%5c", "/%5C"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%2561", "/%2561"),
        ("/a;b=c", "/a;b=c"),
    ],
)
def test_canonical_paths(path: str, expected: str) -> None:
    """One form for routes, middlewares and backends."""
    assert canonical_path(path.encode()) == expected


def test_bytes_above_127_become_escapes() -> None:
    """What is no URI becomes one that means the same."""
    assert canonical_path("/é".encode()) == "/%C3%A9"
    assert canonical_path(b"/\xff") == "/%FF"


@pytest.mark.parametrize("path", [b"/%", b"/%4", b"/%zz", b"/%4g", b"/%%41", b"/%00", b"/a%00.txt"])
def test_paths_without_a_canonical_form(path: bytes) -> None:
    """A broken escape means something else to everyone; a NUL ends strings."""
    with pytest.raises(RemoteProtocolError):
        canonical_path(path)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", b"/", ("/", None, None)),
        ("GET", b"/a?", ("/a", "", None)),
        ("GET", b"/a?b=%zz&c=\\", ("/a", "b=%zz&c=\\", None)),
        ("GET", b"/?/../..", ("/", "/../..", None)),
        ("GET", b"//a/b", ("//a/b", None, None)),
        ("GET", b"http://a", ("/", None, "a")),
        ("GET", b"http://a?b", ("/", "b", "a")),
        ("GET", b"HTTP://a:80/../b?c", ("/b", "c", "a:80")),
        ("GET", b"https://[::1]:8443/", ("/", None, "[::1]:8443")),
        ("OPTIONS", b"*", ("*", None, None)),
        ("OPTIONS", b"http://a", ("*", None, "a")),
        ("OPTIONS", b"http://a/", ("/", None, "a")),
    ],
)
def test_targets(method: str, target: bytes, expected: tuple[str, str | None, str | None]) -> None:
    """Origin form, absolute form, and the asterisk."""
    assert parse_target(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", b""), ("GET", b"a"), ("GET", b"*"), ("GET", b"a:80"), ("CONNECT", b"a:80"),
        ("GET", b"ftp://a/"), ("GET", b"http:/a"), ("GET", b"http:a"), ("GET", b"/a b"),
        ("GET", b"/a\\b"), ("GET", b"/a#b"), ("GET", b"/?a#b"), ("GET", b"/a\x00"),
        ("GET", b"/a\x7f"), ("GET", b"/?\x1f"), ("GET", b"http://a\\@b/"), ("OPTIONS", b"**"),
    ],
)  # fmt: skip
def test_targets_that_are_none(method: str, target: bytes) -> None:
    """Refused, not repaired."""
    with pytest.raises(RemoteProtocolError):
        host_of(parse_target(method, target)[2] or "a")


@given(st.binary(max_size=30))
def test_any_bytes_as_a_target(target: bytes) -> None:
    """Only one kind of error, and what is accepted can be written in a request line."""
    for wire in (target, b"/" + target, b"http://a/" + target):
        try:
            path, query, _ = parse_target("GET", wire)
        except RemoteProtocolError:
            continue
        line = path if query is None else f"{path}?{query}"
        assert path.isascii()
        assert not any(ord(c) <= 32 or c in "\x7f#" for c in line)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Example.COM", "example.com"),
        ("example.com:8080", "example.com"),
        ("example.com:", "example.com"),
        ("example.com.", "example.com"),
        ("example.com.:80", "example.com"),
        ("192.0.2.1:65535", "192.0.2.1"),
        ("[::1]", "[::1]"),
        ("[2001:DB8::1]:80", "[2001:db8::1]"),
        ("[fe80::1%25eth0]", "[fe80::1%25eth0]"),
        ("a_b~c", "a_b~c"),
        (".", "."),
    ],
)
def test_hosts(authority: str, host: str) -> None:
    """For matching: no port, no trailing dot, no case."""
    assert host_of(authority) == host
    assert host_of(authority) == host


@pytest.mark.parametrize(
    "authority",
    [
        "", ":80", "a:b", "a:65536", "a:123456", "a:80:80", "a b", " a", "a/", "u@a", "a,b", "a;b",
        "[::1", "::1", "[]", "[::1]a", "[g::1]", "a:-1", "a:+80",
        "a:\uff18\uff10", "é", "a\x00", "a%41", "a\\b",
    ],
)  # fmt: skip
def test_hosts_that_are_none(authority: str) -> None:
    """Nothing that another program could split differently."""
    with pytest.raises(RemoteProtocolError):
        host_of(authority)


@given(st.text(st.characters(max_codepoint=255), max_size=20))
def test_any_text_as_an_authority(authority: str) -> None:
    """Only one kind of error; a port, a dot and case do not matter to a host."""
    try:
        host = host_of(authority)
    except RemoteProtocolError:
        return
    assert host_of(authority.upper()) == host
    if ":" not in authority.rpartition("]")[2]:
        assert host_of(f"{authority}:80") == host


def test_what_is_remembered_of_hosts_is_bounded() -> None:
    """A client that invents long names cannot fill our memory."""
    long = "a" * 10_000
    assert host_of(long) == long
    assert targets._hosts.get(long) is None  # noqa: SLF001 - its only trace

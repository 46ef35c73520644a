from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3s_gateway.config.address import Address, ServerUrl
from a3s_gateway.config.schema import RejectedError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:80", Address("tcp", "0.0.0.0", 80)),
        (":80", Address("tcp", "", 80)),
        ("[::]:443", Address("tcp", "::", 443)),
        ("localhost:8080", Address("tcp", "localhost", 8080)),
        ("127.0.0.1:0", Address("tcp", "127.0.0.1", 0)),
        ("unix:/run/gateway.sock", Address("unix", path="/run/gateway.sock")),
        ("unix:gateway.sock", Address("unix", path="gateway.sock")),
        ("systemd:web", Address("systemd", name="web")),
        ("systemd:a3s-gateway.socket", Address("systemd", name="a3s-gateway.socket")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """Each form means what it says, and is shown as it was written."""
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        "0.0.0.0",
        "0.0.0.0:",
        ":http",
        ":70000",
        "::1:80",
        "[::1",
        "[::1]80",
        "[x]:80",
        "10.0.0.256:80",
        "1.2.3:80",
        "-a:80",
        "a b:80",
        "http://a:80",
        "unix:",
        "unix:/run/",
        ":-1",
        ":\uff18",
        "unix:/" + "x" * 120,
        "systemd:",
        "systemd:a:b",
        "systemd:a b",
        "systemd:" + "x" * 256,
    ],
)
def test_what_is_no_address(text: str) -> None:
    """Refused when the file is read, not when the socket is opened."""
    with pytest.raises(RejectedError):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/a", True),
        ("systemd:web", False),
        (":1", False),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("127.example.com:1", False),
    ],
)
def test_only_this_machine_reaches_loopback(text: str, *, is_loopback: bool) -> None:
    """What decides whether the admin API needs a token."""
    assert Address.parse(text).is_loopback is is_loopback


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "path", "authority"),
    [
        ("http://127.0.0.1:8001", "http", "127.0.0.1", 8001, "", "127.0.0.1:8001"),
        ("http://Example.COM", "http", "example.com", 80, "", "example.com"),
        ("HTTPS://example.com/base/", "https", "example.com", 443, "/base", "example.com"),
        ("https://example.com:80", "https", "example.com", 80, "", "example.com:80"),
        ("h2c://[::1]:50051", "h2c", "::1", 50051, "", "[::1]:50051"),
        ("ws://a/b/c", "ws", "a", 80, "/b/c", "a"),
        ("wss://a", "wss", "a", 443, "", "a"),
        ("tcp://db:5432", "tcp", "db", 5432, "", "db:5432"),
        ("udp://127.0.0.1:53", "udp", "127.0.0.1", 53, "", "127.0.0.1:53"),
        ("db:5432", "", "db", 5432, "", "db:5432"),
        ("unix:/run/app.sock", "unix", "", 0, "/run/app.sock", "localhost"),
        ("unix:///run/app.sock", "unix", "", 0, "/run/app.sock", "localhost"),
    ],
)
def test_server_urls(
    text: str, scheme: str, host: str, port: int, path: str, authority: str
) -> None:
    """Scheme, host and port are ready for use; the text is kept for people."""
    url = ServerUrl.parse(text)
    assert (url.scheme, url.host, url.port, url.path) == (scheme, host, port, path)
    assert url.authority == authority
    assert str(url) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "http://",
        "http:///x",
        "ftp://a",
        "http://a:0",
        "http://a:99999",
        "a:0",
        "http://u:p@a",
        "http://a?b",
        "http://a#b",
        "tcp://a",
        "tcp://a:1/x",
        "http://a b",
        "a:1/x",
        "http://a/b c",
        'http://a/"',
        "http://a/{b}",
        "http://a/é",
        "unix:",
        "://a",
        "http://[::1",
        "http://a\n:80",
        "http://a:8\t0",
    ],
)
def test_what_is_no_server_url(text: str) -> None:
    """Refused when the file is read, not at the first request."""
    with pytest.raises(RejectedError):
        ServerUrl.parse(text)


def test_credentials_in_a_url_are_not_repeated() -> None:
    """The message that refuses them does not show them."""
    with pytest.raises(RejectedError) as caught:
        ServerUrl.parse("http://user:hunter2@a")
    assert "hunter2" not in caught.value.expected + caught.value.hint + caught.value.found
    assert caught.value.found


def test_a_query_is_kept_where_the_url_is_asked_for_itself() -> None:
    """An authorization service may need one; a backend has the request's."""
    assert ServerUrl.parse("http://a/verify?rd=1", with_query=True).path == "/verify?rd=1"


@given(st.text(max_size=30) | st.from_regex(r"(http|tcp|unix|)(://|:)[a-z\[\]:@/?#.0-9]{0,20}"))
def test_any_text_is_read_or_rejected(text: str) -> None:
    """No input crashes the reader."""
    for parse in (Address.parse, ServerUrl.parse):
        with suppress(RejectedError):
            parse(text)

"""Which listeners stay, come and go."""

from __future__ import annotations

from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.runtime.diff import diff_listeners, judges_otherwise, speaks_otherwise


def entrypoints(**addresses: str) -> dict[str, EntrypointConfig]:
    text = "\n".join(f'entrypoints "{n}" {{ address = "{a}" }}' for n, a in addresses.items())
    return dict(GatewayConfig.from_text(text).entrypoints)


def one(more: str) -> EntrypointConfig:
    text = f'entrypoints "web" {{ address = ":80"\n {more} }}'
    return GatewayConfig.from_text(text).entrypoints["web"]


def test_a_listener_is_where_it_listens() -> None:
    """Names may change, and be exchanged; the sockets stay."""
    diff = diff_listeners(
        entrypoints(a=":80", b=":81", c="unix:/c"), entrypoints(b=":80", a=":81", d="unix:/c")
    )
    assert diff.kept == {"b": "a", "a": "b", "d": "c"}
    assert diff.opened == ()
    assert diff.closed == ()


def test_what_is_new_is_opened_and_what_is_gone_is_closed() -> None:
    """An entrypoint that moves is both, by the same name."""
    diff = diff_listeners(entrypoints(a=":80", b=":81"), entrypoints(a=":82", b=":81"))
    assert diff.kept == {"b": "b"}
    assert diff.opened == ("a",)
    assert diff.closed == ("a",)


def test_a_socket_of_systemds_is_known_by_its_name() -> None:
    """It is none of the Unix sockets, whatever they are called."""
    diff = diff_listeners(
        entrypoints(a="systemd:web", b="unix:api"), entrypoints(c="systemd:web", d="systemd:api")
    )
    assert diff.kept == {"c": "a"}
    assert diff.opened == ("d",)
    assert diff.closed == ("b",)


def test_port_0_is_known_by_its_name() -> None:
    """Two entrypoints whose ports the system chooses are not the same."""
    diff = diff_listeners(entrypoints(a=":0", b=":0"), entrypoints(b=":0", c=":0"))
    assert diff.kept == {"b": "b"}
    assert diff.opened == ("c",)
    assert diff.closed == ("a",)


def test_tcp_and_udp_have_addresses_of_their_own() -> None:
    """A listener cannot go on as one of the other kind, even on the same port."""
    plain, datagram = one('protocol = "tcp"'), one('protocol = "udp"')
    diff = diff_listeners({"a": plain}, {"a": datagram})
    assert (diff.kept, diff.opened, diff.closed) == ({}, ("a",), ("a",))


def test_the_case_of_a_name_is_no_difference() -> None:
    """Names of hosts have none."""
    diff = diff_listeners(entrypoints(a="localhost:80"), entrypoints(a="LocalHost:80"))
    assert diff.kept == {"a": "a"}


def test_turning_tls_on_or_off_changes_the_language() -> None:
    """Another certificate does not."""
    plain = one("")
    files = [
        f'tls {{ cert_file = "{name}"\n key_file = "{name}" }}' for name in (__file__, "/dev/null")
    ]
    first, second = (one(each) for each in files)
    assert speaks_otherwise(plain, first)
    assert speaks_otherwise(first, plain)
    assert not speaks_otherwise(first, second)
    assert not speaks_otherwise(plain, one('trusted_proxies = ["10.0.0.0/8"]'))


def test_trust_and_limits_change_what_is_thought_of_a_client() -> None:
    """Timeouts do not."""
    plain = one("")
    assert judges_otherwise(plain, one('trusted_proxies = ["10.0.0.0/8"]'))
    assert judges_otherwise(plain, one("limits { max_head_bytes = 1024 }"))
    assert not judges_otherwise(plain, one('timeouts { write_idle = "1s" }'))

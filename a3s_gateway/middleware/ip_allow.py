"""`type = "ip-allow"`: answer only some addresses."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Network, ip_network

from attrs import define, field, frozen

from a3s_gateway.config.kinds import NETWORK, Network, integer
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys
from a3s_gateway.effects import Effects
from a3s_gateway.errors import GatewayError
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.plugin import Plugin
from a3s_gateway.router.matchers import parse_address

_MAPPED = ip_network("::ffff:0:0/96")  # RFC 4291 §2.5.5.2: IPv4 inside IPv6


@frozen(kw_only=True)
class IpAllowConfig(Settings):
    """Answers 403 to everybody who is not listed, or is listed as denied."""

    allowed_ips: tuple[Network, ...] = keys(
        NETWORK,
        "Who is answered; empty: everybody who is not denied.",
        example='["10.0.0.0/8", "192.168.1.10"]',
    )
    denied_ips: tuple[Network, ...] = keys(
        NETWORK, "Who is not, though allowed.", example='["10.1.2.3"]'
    )
    depth: int | None = key(
        integer(1),
        "Which address of `X-Forwarded-For` counts, from its end: 1 is who the last proxy before "
        "this gateway was asked by. The proxies must be among the `trusted_proxies` of the "
        "entrypoint. None: the last address that is not one of those.",
        default=None,
        example="1",
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Somebody must be listed, or it would do nothing."""
        if not self.allowed_ips and not self.denied_ips:
            yield Mistake("", '"ip-allow" needs "allowed_ips" or "denied_ips"')


@define(eq=False)
class IpAllow:
    """Refuse addresses; IPv4 inside IPv6 is IPv4."""

    config: IpAllowConfig
    _is_allowed: Callable[[str], bool] = field(init=False)
    _is_denied: Callable[[str], bool] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._is_allowed = _within(self.config.allowed_ips)
        self._is_denied = _within(self.config.denied_ips)

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Answer by `next`, or refuse."""
        address = self._address(request)
        allowed = not self.config.allowed_ips or self._is_allowed(address)
        if not allowed or not parse_address(address)[0] or self._is_denied(address):
            raise GatewayError("FORBIDDEN", f"{address or 'no address'} may not")
        return await next(request)

    def _address(self, request: Request) -> str:
        depth = self.config.depth
        if depth is None:
            return request.client
        # The last one in the field is the peer, appended by us; who is not trusted is alone there.
        chain = ",".join(request.headers.all("x-forwarded-for")).split(",")
        return chain[-1 - depth].strip() if depth < len(chain) else ""


def _within(networks: Sequence[Network]) -> Callable[[str], bool]:
    """Compare numbers: a network holds an address if their bits under its mask are equal."""
    known = [
        (network.version, int(network.netmask), int(network.network_address))
        for network in map(_plain, networks)
    ]

    def within(address: str) -> bool:
        version, number = parse_address(address)
        for of_version, mask, base in known:
            if version == of_version and number & mask == base:
                return True
        return False

    return within


def _plain(network: Network) -> Network:
    """Write a network of IPv4 addresses inside IPv6 as what it is."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):  # type: ignore[arg-type]
        base = int(network.network_address) & 0xFFFFFFFF
        return ip_network((base, network.prefixlen - _MAPPED.prefixlen))
    return network


def _build(config: IpAllowConfig, _: Effects) -> IpAllow:
    return IpAllow(config)


PLUGIN = Plugin("middleware", "ip-allow", IpAllowConfig, _build)

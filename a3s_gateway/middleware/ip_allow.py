"""`type = "ip-allow"`: answer only some addresses."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from attrs import frozen

from a3s_gateway.config.kinds import NETWORK, Network
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import keys
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class IpAllowConfig(Settings):
    """Answers 403 to everybody who is not listed."""

    allowed_ips: tuple[Network, ...] = keys(
        NETWORK, "Who is answered.", at_least=1, example='["10.0.0.0/8", "192.168.1.10"]'
    )


PLUGIN = Plugin("middleware", "ip-allow", IpAllowConfig)

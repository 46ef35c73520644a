"""Names of servers, looked up as the configuration wishes."""

from __future__ import annotations

from a3s_gateway.config.provider import DnsConfig
from a3s_gateway.transport.names import Names, ask_system


def obey(names: Names, dns: DnsConfig | None) -> None:
    """Have all who share `names` look up by the terms of `providers.dns`."""
    terms = dns or DnsConfig()
    ask = ask_system(names.reactor)
    if terms.nameservers:
        from a3s_gateway.transport.nameservers import Nameservers  # noqa: PLC0415 - few need it

        servers = [(each.host, each.port) for each in terms.nameservers]
        ask = Nameservers(names.reactor, servers, terms.timeout_secs).ask
    names.become(ask, terms.refresh_interval_secs, terms.timeout_secs)

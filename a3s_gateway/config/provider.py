"""`providers`: where further configuration comes from while the gateway runs."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from a3s_gateway.config.address import HTTP_URL, NAMESERVER, Nameserver, ServerUrl
from a3s_gateway.config.kinds import FLAG, PATH, TEXT, WORD, duration
from a3s_gateway.config.schema import Mistake, Section, block, blocks, key, keys


@frozen(kw_only=True)
class FileProviderConfig(Section):
    """Further files, and whether changes are taken over at once."""

    watch: bool = key(FLAG, "Reload when the configuration changes on disk.", default=True)
    directory: str | None = key(
        PATH,
        "Folder whose `*.hcl` files belong to the configuration, in the order of their names.",
        default=None,
        example='"/etc/gateway/conf.d/"',
    )


@frozen(kw_only=True)
class SeedConfig(Section):
    """A host that describes its service at `/.well-known/a3s-service.json`."""

    url: ServerUrl = key(HTTP_URL, "Base URL of the host.", example='"http://10.0.0.5:8080"')


@frozen(kw_only=True)
class DiscoveryConfig(Section):
    """Services that register themselves by the document they serve."""

    seeds: tuple[SeedConfig, ...] = blocks(
        SeedConfig, "Hosts to ask.", example='[{ url = "http://10.0.0.5:8080" }]'
    )
    poll_interval_secs: float = key(duration(1), "Time between two rounds.", default=30.0)
    timeout_secs: float = key(duration(0.001), "Patience with one host.", default=5.0)

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse to ask nobody."""
        if not self.seeds:
            hint = 'add seeds = [{ url = "http://10.0.0.5:8080" }]'
            yield Mistake("seeds", '"discovery" needs "seeds"', hint)


@frozen(kw_only=True)
class DnsConfig(Section):
    """How names in server URLs are resolved."""

    nameservers: tuple[Nameserver, ...] = keys(
        NAMESERVER,
        "Servers to ask, in this order, by address, with a port unless it is 53; empty: as the "
        "system does, by /etc/hosts and /etc/resolv.conf.",
        example='["10.0.0.2", "[::1]:5353"]',
    )
    refresh_interval_secs: float = key(
        duration(1),
        "Longest time an answer is used, whatever its TTL; the system tells none.",
        default=30.0,
    )
    timeout_secs: float = key(duration(0.001), "Patience with one lookup.", default=5.0)


@frozen(kw_only=True)
class DockerConfig(Section):
    """Containers that describe their routes in labels."""

    host: str = key(
        WORD, "Socket path, or `tcp://` or `http://` URL of Docker.", default="/var/run/docker.sock"
    )
    label_prefix: str = key(WORD, "How the names of the labels begin.", default="a3s")
    poll_interval_secs: float = key(duration(1), "Time between two rounds.", default=10.0)


@frozen(kw_only=True)
class KubernetesConfig(Section):
    """Ingress resources of a cluster."""

    namespace: str = key(TEXT, "Where to look; empty: everywhere.", default="", example='"default"')
    label_selector: str = key(TEXT, "Which resources; empty: all.", default="")
    watch_interval_secs: float = key(
        duration(1), "Time between two full reads beside the watch.", default=30.0
    )
    ingress_route_crd: bool = key(FLAG, "Read IngressRoute resources as well.", default=False)


@frozen(kw_only=True)
class ProvidersConfig(Section):
    """Sources of configuration; each is off unless its block is there."""

    file: FileProviderConfig | None = block(FileProviderConfig, "Files.", default=None, shown=True)
    discovery: DiscoveryConfig | None = block(DiscoveryConfig, "Documents of hosts.", default=None)
    dns: DnsConfig | None = block(DnsConfig, "Name resolution.", default=None)
    docker: DockerConfig | None = block(DockerConfig, "Containers.", default=None)
    kubernetes: KubernetesConfig | None = block(KubernetesConfig, "A cluster.", default=None)

    @property
    def adds_routers(self) -> bool:
        """Tell whether routers may come that the files do not show."""
        return any((self.discovery, self.docker, self.kubernetes))

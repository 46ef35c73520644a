"""`services "<name>"`: who answers."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator

from attrs import field, frozen

from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.config.kinds import WORD, integer
from a3s_gateway.config.scaling import RevisionConfig, RolloutConfig, ScalingConfig
from a3s_gateway.config.schema import Mistake, Section, block, blocks, key


@frozen(kw_only=True)
class MirrorConfig(Section):
    """Sends a copy of the traffic to another service, whose answers are dropped."""

    service: str = key(WORD, "Who gets the copies.", example='"shadow"')
    percentage: int = key(integer(0, 100), "Share of the requests that is copied.", default=100)


@frozen(kw_only=True)
class FailoverConfig(Section):
    """Another service that answers when no server of this one can."""

    service: str = key(WORD, "Who stands in.", example='"backup"')


@frozen(kw_only=True)
class ServiceConfig(Section):
    """A pool of servers, and what happens around it."""

    name: str = field()
    load_balancer: LoadBalancerConfig | None = block(
        LoadBalancerConfig,
        "The servers. Required unless there are revisions.",
        default=None,
        shown=True,
    )
    mirror: MirrorConfig | None = block(MirrorConfig, "Copies of the traffic.", default=None)
    failover: FailoverConfig | None = block(FailoverConfig, "Who stands in.", default=None)
    scaling: ScalingConfig | None = block(ScalingConfig, "Autoscaling.", default=None)
    revisions: tuple[RevisionConfig, ...] = blocks(
        RevisionConfig, "Versions that share the traffic."
    )
    rollout: RolloutConfig | None = block(
        RolloutConfig, "A gradual move between revisions.", default=None
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Servers must come from somewhere, and shares add up."""
        yield from self._about_servers()
        yield from self._about_revisions()

    def _about_servers(self) -> Iterator[Mistake]:
        if self.load_balancer is None:
            if not self.revisions:
                hint = 'add load_balancer { servers = [{ url = "http://127.0.0.1:8001" }] }'
                yield Mistake("", f'service "{self.name}" has no servers', hint)
        elif not self.load_balancer.servers and not self.revisions and not self.scaling:
            hint = 'add servers = [{ url = "http://127.0.0.1:8001" }]'
            yield Mistake("load_balancer", f'service "{self.name}" has no servers', hint)

    def _about_revisions(self) -> Iterator[Mistake]:
        names = [revision.name for revision in self.revisions]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Mistake("revisions", f'revision "{name}" appears twice', item=index)
        total = sum(revision.traffic_percent for revision in self.revisions)
        if self.revisions and total != 100:
            message = f"the shares (traffic_percent) of the revisions add up to {total}, not 100"
            yield Mistake("revisions", message)
        if self.rollout and not self.revisions:
            yield Mistake("rollout", 'a rollout needs "revisions" to move traffic between')

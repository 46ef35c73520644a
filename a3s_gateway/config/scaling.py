"""Blocks of a service that change how many copies run, and which revision is served."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import frozen

from a3s_gateway.config.balancing import STRATEGY, ServerConfig, Strategy
from a3s_gateway.config.kinds import FLAG, WORD, choice, duration, integer, number
from a3s_gateway.config.schema import Mistake, Section, blocks, key


@frozen(kw_only=True)
class ScalingConfig(Section):
    """Autoscaling: how many copies of the service run."""

    min_replicas: int = key(integer(), "Fewest copies; 0 lets an idle service stop.", default=0)
    max_replicas: int = key(integer(1), "Most copies.", default=10)
    container_concurrency: int = key(
        integer(), "Requests that one copy takes at a time; 0: no limit.", default=0
    )
    target_utilization: float = key(
        number(0, 1, above=True),
        "Share of `container_concurrency` to aim at.",
        default=0.7,
    )
    scale_down_delay_secs: float = key(
        duration(), "Time without load before copies are removed.", default=300.0
    )
    buffer_timeout_secs: float = key(
        duration(0.001), "How long a request waits for the first copy.", default=30.0
    )
    buffer_size: int = key(integer(1), "Requests that may wait.", default=100)
    buffer_enabled: bool = key(
        FLAG, "Keep requests while no copy runs, instead of refusing them.", default=False
    )
    executor: Literal["box", "k8s"] = key(
        choice("box", "k8s"), "Who starts and stops copies.", default="box"
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Leave something between the bounds."""
        if self.min_replicas > self.max_replicas:
            message = f"min_replicas ({self.min_replicas}) is more than max_replicas"
            yield Mistake("min_replicas", f"{message} ({self.max_replicas})")


@frozen(kw_only=True)
class RevisionConfig(Section):
    """One version of a service, with its share of the traffic."""

    name: str = key(WORD, "What `rollout` calls it.", example='"v1"')
    traffic_percent: int = key(
        integer(0, 100), "Share of the requests; all shares add up to 100.", default=100
    )
    strategy: Strategy = key(STRATEGY, "How servers take turns.", default="round-robin")
    servers: tuple[ServerConfig, ...] = blocks(
        ServerConfig,
        "Servers that run this version.",
        example='[{ url = "http://127.0.0.1:8001" }]',
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse a revision that could answer nothing."""
        if not self.servers:
            yield Mistake("servers", f'revision "{self.name}" has no servers')


@frozen(kw_only=True)
class RolloutConfig(Section):
    """A gradual move of the traffic from one revision to another."""

    from_: str = key(WORD, "The revision that loses traffic.", example='"v1"')
    to: str = key(WORD, "The revision that gains traffic.", example='"v2"')
    step_percent: int = key(integer(1, 100), "Share moved at each step.", default=10)
    step_interval_secs: float = key(duration(0.001), "Time between two steps.", default=60.0)
    error_rate_threshold: float = key(
        number(0, 1), "Share of failed requests that turns the rollout back.", default=0.05
    )
    latency_threshold_ms: float = key(
        duration(0.001, unit="ms"),
        "Latency (99th percentile) that turns the rollout back.",
        default=5000.0,
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Traffic moves between two revisions."""
        if self.from_ == self.to:
            yield Mistake("to", f'"from" and "to" are both "{self.to}"')

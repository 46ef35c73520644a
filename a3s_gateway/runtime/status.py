"""What a gateway says of its life."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class State(StrEnum):
    """Where the gateway is in its life."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@frozen
class Status:
    """
    What `Gateway.state` tells.

    Attributes:
        state: Where it is in its life.
        last_error: Why the last start failed, or what was wrong with the last reload; empty if
            nothing was.

    """

    state: State
    last_error: str = ""


@frozen
class Health:
    """A glance at a running gateway; `uptime_secs` counts from the end of the start."""

    state: State
    uptime_secs: float
    active_connections: int
    total_requests: int

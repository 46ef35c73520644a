"""Which listeners a change of configuration keeps, opens and closes."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from a3s_gateway.config.entrypoint import EntrypointConfig


@frozen
class ListenerDiff:
    """
    The difference between two sets of entrypoints, by name.

    Attributes:
        kept: New names, each with the old name of the same listener.
        opened: New names of listeners that were not there.
        closed: Old names of listeners that are there no longer.

    """

    kept: Mapping[str, str]
    opened: tuple[str, ...]
    closed: tuple[str, ...]


def diff_listeners(
    old: Mapping[str, EntrypointConfig], new: Mapping[str, EntrypointConfig]
) -> ListenerDiff:
    """
    Compare by address: a listener is where it listens, whatever it is called.

    TCP and UDP have addresses of their own each. Port 0 is no address, so such entrypoints are
    the same if they have the same name.
    """
    places = {_place(each): name for name, each in old.items()}
    kept = {name: places[place] for name, each in new.items() if (place := _place(each)) in places}
    still = set(kept.values())
    return ListenerDiff(
        kept,
        tuple(name for name in new if name not in kept),
        tuple(name for name in old if name not in still),
    )


def speaks_otherwise(old: EntrypointConfig, new: EntrypointConfig) -> bool:
    """Tell whether connections accepted before must end: they speak what is spoken no longer."""
    if old.protocol != new.protocol or (old.tls is None) != (new.tls is None):
        return True
    if old.tls is None or new.tls is None:
        return False
    return old.tls.client_auth != new.tls.client_auth  # nobody goes on who would not get in now


def judges_otherwise(old: EntrypointConfig, new: EntrypointConfig) -> bool:
    """Tell whether what a connection remembers of its last request, or was told, holds no more."""
    return (
        old.trusted_proxies != new.trusted_proxies
        or old.limits != new.limits
        or old.http2 != new.http2
    )


def _place(entrypoint: EntrypointConfig) -> tuple[str, bool, str]:
    address = entrypoint.address
    has_place = address.kind != "tcp" or address.port != 0
    place = str(evolve(address, host=address.host.lower()))
    return place, entrypoint.protocol == "udp", "" if has_place else entrypoint.name

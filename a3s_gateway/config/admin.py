"""`admin`: the dashboard API on a listener of its own."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from a3s_gateway.config.address import ADDRESS, Address
from a3s_gateway.config.kinds import FLAG, NETWORK, WORD, Network
from a3s_gateway.config.schema import Mistake, Section, key, keys

DEFAULT_ADDRESS = Address("tcp", "127.0.0.1", 9900)


@frozen(kw_only=True)
class AdminConfig(Section):
    """Health, metrics, and the configuration in force, for operators only."""

    enabled: bool = key(FLAG, "Whether it listens at all.", default=True)
    address: Address = key(
        ADDRESS, "Where to listen.", default=DEFAULT_ADDRESS, example='"127.0.0.1:9900"'
    )
    path_prefix: str = key(WORD, "Where the API begins.", default="/api/gateway")
    token: str | None = key(
        WORD,
        "Asked for as `Authorization: Bearer`, but for `/livez` and `/readyz`. "
        "Required beyond loopback.",
        default=None,
        secret=True,
        example='"${ADMIN_TOKEN}"',
    )
    allowed_ips: tuple[Network, ...] = keys(
        NETWORK, "Who gets an answer other than 403; empty: everybody."
    )

    def mistakes(self) -> Iterator[Mistake]:
        """Nobody unknown may see or reload the configuration."""
        if self.enabled and not self.address.is_loopback and not self.token:
            message = f'the admin API at "{self.address}" is open to others: it needs a "token"'
            yield Mistake(
                "address", message, 'add token = "${ADMIN_TOKEN}", or listen on 127.0.0.1'
            )
        if not self.path_prefix.startswith("/") or self.path_prefix.rstrip("/") == "":
            yield Mistake("path_prefix", '"path_prefix" must be a path such as "/api/gateway"')

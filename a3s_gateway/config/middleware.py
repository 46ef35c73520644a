"""`middlewares "<name>"`: a step around a request; its `type` says which keys it has."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import field, frozen

from a3s_gateway.config.kinds import WORD, choice, duration
from a3s_gateway.config.schema import Section, key
from a3s_gateway.plugin import Plugin


@frozen(kw_only=True)
class Settings(Section):
    """
    What the config class of a middleware derives from.

    Attributes:
        protocol: Where it may stand.
        rewrites_bodies: Whether it changes the bodies of answers.

    """

    protocol: ClassVar[Literal["http", "tcp"]] = "http"
    rewrites_bodies: ClassVar[bool] = False

    @property
    def needs(self) -> str:
        """The type of a middleware that has to come before this one; empty for none."""
        return ""


@frozen(kw_only=True)
class PluginSettings(Settings):
    """What the config class of a middleware derives from that does not come with the gateway."""

    on_error: Literal["closed", "open"] = key(
        choice("closed", "open"),
        "Where it fails, or takes too long: `closed` refuses the request, `open` lets it pass.",
        default="closed",
    )
    time_limit: float = key(
        duration(0.001),
        "How long it may take until it passes a request on, or answers itself.",
        default=5.0,
    )


@frozen(kw_only=True)
class MiddlewareConfig(Section):
    """
    A step around a request; its `type` decides which keys it has.

    Attributes:
        config: The other keys of the block: an instance of the class that the type's plugin names.
        plugin: That plugin.

    """

    name: str = field()
    type: str = key(WORD, "Which middleware; decides what else the block holds.", example='"cors"')
    config: Section = field()
    plugin: Plugin = field(eq=False, repr=False)

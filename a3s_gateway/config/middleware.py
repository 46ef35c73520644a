"""`middlewares "<name>"`: a step around a request; its `type` says which keys it has."""

# key() and its like declare a field, as attrs.field() does

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import field, frozen

from a3s_gateway.config.kinds import WORD
from a3s_gateway.config.schema import Section, key


@frozen(kw_only=True)
class Settings(Section):
    """What the config class of a middleware derives from; `protocol` says where it may stand."""

    protocol: ClassVar[Literal["http", "tcp"]] = "http"


@frozen(kw_only=True)
class MiddlewareConfig(Section):
    """
    A step around a request; its `type` decides which keys it has.

    Attributes:
        config: The other keys of the block: an instance of the class that the type's plugin names.

    """

    name: str = field()
    type: str = key(WORD, "Which middleware; decides what else the block holds.", example='"cors"')
    config: Section = field()

from __future__ import annotations

from a3s_gateway.config.observability import ACCESS_LOG_FIELDS
from a3s_gateway.observability.access_log import FIELDS


def test_the_fields_that_can_be_asked_for_are_those_that_can_be_written() -> None:
    """In the same order: that of a line for which no fields are named."""
    assert tuple(FIELDS) == ACCESS_LOG_FIELDS

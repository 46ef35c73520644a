"""Where Redis is, as a URL says."""

from __future__ import annotations

import pytest

from a3s_gateway.transport.redis import RedisAddress


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        (
            "redis://127.0.0.1",
            ("redis", "127.0.0.1", 6379, None, None, None),
            "redis://127.0.0.1:6379",
        ),
        (
            "rediss://me:s%40cret@redis.example:6380/3",
            ("rediss", "redis.example", 6380, 3, "me", "s@cret"),
            "rediss://redis.example:6380",
        ),
        (
            "redis://:s3cret@localhost/",
            ("redis", "localhost", 6379, None, None, "s3cret"),
            "redis://localhost:6379",
        ),
        ("unix:///run/redis.sock", ("unix", "/run/redis.sock", 0, None, None, None), None),
        (
            "unix://:pw@/run/r.sock",
            ("unix", "/run/r.sock", 0, None, None, "pw"),
            "unix:///run/r.sock",
        ),
    ],
)
def test_what_a_url_says(url: str, address: tuple[object, ...], shown: str | None) -> None:
    """All of it, and of that what may be shown."""
    found = RedisAddress.of(url)
    assert found == RedisAddress(*address)  # type: ignore[arg-type]
    assert str(found) == (shown or url)
    if found.password:
        assert found.password not in repr(found)

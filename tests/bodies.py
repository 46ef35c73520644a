"""The two ends of a body, which write down what becomes of them."""

from __future__ import annotations

from a3s_gateway.headers import Headers


class Source:
    """Where a body comes from."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pause(self) -> None:
        self.said.append("pause")

    def resume(self) -> None:
        self.said.append("resume")

    def cancel(self) -> None:
        self.said.append("cancel")


class Sink:
    """Where a body goes; `end` is its trailers, or why there is no proper end."""

    def __init__(self) -> None:
        self.got = b""
        self.end: object = None

    def write(self, data: bytes) -> None:
        self.got += data

    def finish(self, trailers: Headers) -> None:
        self.end = trailers

    def fail(self, error: Exception) -> None:
        self.end = error

"""Work on bodies in slices, so that nobody else waits long for the processor."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import define, field

from a3s_gateway.body import Body
from a3s_gateway.middleware._codings import Coder
from a3s_gateway.task import Task, Waiter

BUDGET: Final = 0.0005  # seconds of work in one turn of the reactor
SLICE: Final = 16 * 1024  # bytes; brotli works on 64 KiB at a time, in some 0.5 ms


@define(eq=False)
class Turns:
    """
    Lets the bodies that are worked on take turns: each a slice, all together `BUDGET` a turn.

    Args:
        now: Seconds.
        sleep: `sleep(0)` ends in the reactor's next turn.

    """

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    _spent: float = field(default=0.0, init=False)
    _waiting: deque[Waiter[None]] = field(factory=deque, init=False)
    _task: Task[None] | None = field(default=None, init=False)

    async def work(self, step: Callable[[bytes], bytes], data: bytes) -> bytes:
        """Return `step(data)`, once it is its turn."""
        if self._spent >= BUDGET or self._waiting:
            waiter: Waiter[None] = Waiter()
            self._waiting.append(waiter)
            if self._task is None:
                self._task = Task(self._serve(), self._served, self._broke)
                self._task.start()
            await waiter
        began = self.now()
        result = step(data)
        self._spent += self.now() - began
        return result

    async def _serve(self) -> None:
        while self._waiting:
            await self.sleep(0)
            self._spent = 0.0
            # Whoever it is works at once, and may wait again; whoever is gone takes no time.
            while self._waiting and self._spent < BUDGET:
                self._waiting.popleft().resolve(None)

    def _served(self, _: None) -> None:
        self._task = None

    def _broke(self, error: BaseException) -> None:
        self._task = None
        while self._waiting:
            self._waiting.popleft().reject(RuntimeError(f"no turn came: {error!r}"))


class Encoding:
    """
    Encodes a body as it comes: the source of another, which is paused and cancelled like it.

    Args:
        inner: The body to encode; closed with the other.
        coder: Used up by it.
        turns: Shared by all that are encoded at the same time.
        is_live: Whoever reads is to have at once what has come.

    Attributes:
        body: What to read instead.

    """

    def __init__(self, inner: Body, coder: Coder, turns: Turns, *, is_live: bool) -> None:
        self.body = Body(self, None)
        self.body.owns(inner.close)
        self._inner = inner
        self._coder = coder
        self._turns = turns
        self._is_live = is_live
        self._gate: Waiter[None] | None = None
        self._task: Task[None] | None = Task(self._run(), self._ended, self._broke)
        self._task.start()

    async def _run(self) -> None:
        coder, body = self._coder, self.body
        async for data in self._inner:
            for start in range(0, len(data), SLICE):
                await self._give(coder.feed, data[start : start + SLICE])
            if self._is_live:
                body.feed(coder.flush())
        await self._give(lambda _: coder.finish(), b"")

    async def _give(self, step: Callable[[bytes], bytes], data: bytes) -> None:
        encoded = await self._turns.work(step, data)
        if encoded:
            self.body.feed(encoded)
        if self._gate is not None:
            await self._gate

    def _ended(self, _: None) -> None:
        self._task = None
        self.body.end(self._inner.trailers)

    def _broke(self, error: BaseException) -> None:
        self._task = None
        self.body.fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    # -- Source

    def pause(self) -> None:
        """Encode no more until `resume`; then the inner body fills up, and pauses its source."""
        self._gate = Waiter()

    def resume(self) -> None:
        """Go on."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.resolve(None)

    def cancel(self) -> None:
        """Drop the rest."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

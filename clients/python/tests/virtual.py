"""An event loop that knows when nothing is left to do, and a clock that the test moves: no test waits for time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):
    """Tells the loop when it is about to sleep."""

    loop: IdleLoop

    def select(self, timeout: float | None = None) -> Any:
        if (timeout is None or timeout > 0) and self.loop.idle():
            timeout = 0
        return super().select(timeout)


class IdleLoop(asyncio.SelectorEventLoop):
    """An event loop with :meth:`settle`."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self._settling: list[asyncio.Future[None]] = []

    def idle(self) -> bool:
        """Wakes those who wait until nothing is left to do. Returns whether there were any."""
        settling, self._settling = self._settling, []
        for future in settling:
            if not future.done():
                future.set_result(None)
        return bool(settling)

    async def settle(self) -> None:
        """Returns when every other task waits for something that only the test can bring."""
        future: asyncio.Future[None] = self.create_future()
        self._settling.append(future)
        await future


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a test in a loop of its own, and fails if an error was reported to the loop."""
    loop = IdleLoop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    try:
        loop.run_until_complete(work)
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert not reported, reported


class ManualTimer:
    def __init__(self, at_ms: float, run: Callable[[], None]) -> None:
        self.at_ms, self.run, self.is_cancelled = at_ms, run, False

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualClock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self._now_ms = 1_000_000.0
        self._timers: list[ManualTimer] = []

    def now_ms(self) -> float:
        return self._now_ms

    def call_later(self, delay_ms: float, run: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(self._now_ms + delay_ms, run)
        self._timers.append(timer)
        return timer

    @property
    def pending(self) -> int:
        """How many timers are set."""
        return sum(1 for timer in self._timers if not timer.is_cancelled)

    async def advance(self, ms: float) -> None:
        """Lets time pass; everything that is due happens at its time."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, IdleLoop)
        await loop.settle()
        end_ms = self._now_ms + ms
        while True:
            self._timers = [timer for timer in self._timers if not timer.is_cancelled]
            due = min(self._timers, key=lambda timer: timer.at_ms, default=None)
            if due is None or due.at_ms > end_ms:
                break
            self._timers.remove(due)
            self._now_ms = max(self._now_ms, due.at_ms)
            due.run()
            await loop.settle()
        self._now_ms = end_ms

"""The clock of a client: a time that goes on while the machine sleeps, and timers of the running event loop."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Tells the time and calls functions later. Tests have one of their own."""

    def now_ms(self) -> float: ...

    def call_later(self, delay_ms: float, run: Callable[[], None]) -> Timer: ...


def _seconds() -> float:
    # `time.monotonic` stands still while the machine sleeps, on Linux and on macOS. These do not. The server's memory
    # of idempotency keys goes on meanwhile.
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class LoopClock:
    """The clock of programs. It is used within a running event loop."""

    def now_ms(self) -> float:
        return _seconds() * 1000

    def call_later(self, delay_ms: float, run: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_ms / 1000, run)


class Alarm:
    """One timer that can be set again and again; each setting takes back the one before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timer: Timer | None = None

    def set(self, delay_ms: float, run: Callable[[], None]) -> None:
        self.cancel()
        self._timer = self._clock.call_later(max(delay_ms, 0), run)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""The delays before each attempt to connect."""

from __future__ import annotations

import random as _random
from collections.abc import Callable

#: Longest delay that is waited, whatever a server asks for: 24 days, as in the client for browsers.
MAX_DELAY_MS = 2**31 - 1


class Backoff:
    """Computes the delay before each attempt with full jitter: `random(0, min(cap, base * 2 ** attempt))`.

    `random` returns a number from 0 to 1. A connection that was up for `healthy_ms` starts the count of attempts anew.
    """

    def __init__(
        self,
        base_ms: float = 500,
        cap_ms: float = 20_000,
        healthy_ms: float = 30_000,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.attempt = 0
        self._base_ms, self._cap_ms, self._healthy_ms, self._random = base_ms, cap_ms, healthy_ms, random

    def next(self, healthy_for_ms: float = 0, after_ms: float | None = None) -> float:
        """Returns the next delay in milliseconds, after a connection that was up for `healthy_for_ms`.

        `after_ms`, which the server may ask for, is the first delay and the least later one.
        """
        if healthy_for_ms >= self._healthy_ms:
            self.attempt = 0
        ceiling = min(self._cap_ms, self._base_ms * 2.0 ** min(self.attempt, 64))
        own = self._random() * ceiling
        is_first = self.attempt == 0
        self.attempt += 1
        if is_first:
            delay = own if after_ms is None else after_ms
        else:
            delay = max(own, after_ms or 0)
        return min(max(delay, 0), MAX_DELAY_MS)

"""Commands that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._clock import Alarm, Clock
from ._wire import encode
from .backoff import MAX_DELAY_MS
from .errors import ChatError

Done = Callable[[dict[str, Any]], None]
Failed = Callable[[ChatError], None]


def ignore(_: Any) -> None:
    """Takes an answer that nobody needs."""


@dataclass
class Pending:
    """A command without an answer yet."""

    done: Done
    failed: Failed
    sent_at_ms: float


class Requests:
    """Gives commands their ids, and calls back when their answers come.

    The connection is given up if the oldest command has no answer in time, since answers come in order.
    """

    def __init__(
        self, clock: Clock, answer_ms: float, send: Callable[[str], None], overdue: Callable[[], None]
    ) -> None:
        self._clock, self._answer_ms, self._send, self._overdue = clock, answer_ms, send, overdue
        self._pending: dict[str, Pending] = {}
        self._alarm = Alarm(clock)
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._pending)

    def next_id(self) -> int:
        """Returns a number that no command has."""
        self._last_id += 1
        return self._last_id

    def ask(self, command: dict[str, Any], done: Done = ignore, failed: Failed = ignore) -> None:
        """Sends a command. Its callbacks run before the next frame is handled.

        Raises :class:`ChatError` for what is no JSON, before the command counts as sent.
        """
        id = str(self.next_id())
        text = encode({**command, "id": id})
        self._pending[id] = Pending(done, failed, self._clock.now_ms())
        if len(self._pending) == 1:
            self.watch()
        self._send(text)

    def take(self, frame: dict[str, Any]) -> Pending | None:
        """Returns the command that a frame answers. An error that names none answers the oldest one, so that none
        waits for ever.
        """
        re = frame.get("re")
        if re is None and frame.get("type") == "error":
            re = next(iter(self._pending), None)
        return self._pending.pop(re, None) if isinstance(re, str) else None

    def fail_all(self, error: ChatError) -> None:
        """Fails every command, because its connection is gone."""
        pending = list(self._pending.values())
        self._pending.clear()
        self._alarm.cancel()
        for command in pending:
            command.failed(error)

    def pause(self) -> None:
        """Stops the time limit while nothing is read: the answers may wait in the socket."""
        self._alarm.cancel()

    def resume(self) -> None:
        """Starts the time limit anew for every command."""
        for command in self._pending.values():
            command.sent_at_ms = self._clock.now_ms()
        self.watch()

    def watch(self) -> None:
        self._alarm.cancel()
        oldest = next(iter(self._pending.values()), None)
        if oldest is None:
            return
        left_ms = oldest.sent_at_ms + self._answer_ms - self._clock.now_ms()
        if left_ms <= 0:
            self._overdue()
        else:
            self._alarm.set(min(left_ms, MAX_DELAY_MS), self.watch)

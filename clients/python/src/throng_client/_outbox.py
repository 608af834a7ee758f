"""The outbox: messages in the order in which they were sent, each until the server has acknowledged it."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ._clock import Alarm, Clock
from ._requests import Requests
from ._wire import encode
from .backoff import MAX_DELAY_MS
from .errors import ChatError

T = TypeVar("T")

#: How long a message may be sent again under its key. The server remembers a key for five minutes, and would publish
#: a later repetition as a new message.
KEY_LIFE_MS = 270_000
#: Most tries of a message. If the connection ended after each of them, the message may be the cause.
MAX_TRIES = 5
#: After this pause, messages may be sent in a burst again.
CALM_MS = 5_000
#: Longest pause between two messages after a rate limit.
MAX_PACE_MS = 2_000
#: Shortest pause after a rate limit, and the one where the server names none.
MIN_PAUSE_MS, DEFAULT_PAUSE_MS = 10, 1_000


def settle(future: asyncio.Future[T], value: T) -> None:
    """Gives a caller its result, unless it no longer waits."""
    if not future.done():
        future.set_result(value)


def refuse(future: asyncio.Future[Any], error: ChatError) -> None:
    """Gives a caller an error, unless it no longer waits."""
    if not future.done():
        # A copy: each caller's traceback is its own.
        future.set_exception(ChatError(error.code, error.message, error.retry_after_ms))


def pause_ms(retry_after_ms: float | None) -> float:
    """Returns how long to wait after a rate limit."""
    asked = DEFAULT_PAUSE_MS if retry_after_ms is None else retry_after_ms
    return min(max(asked, MIN_PAUSE_MS), MAX_DELAY_MS)


@dataclass
class Queued:
    """A message that waits for its ack."""

    command: dict[str, Any]
    parse: Callable[[dict[str, Any]], Any]
    answer: asyncio.Future[Any]
    first_sent_at_ms: float = 0
    tries: int = 0
    is_given_up: bool = False


class Outbox:
    """Sends one message at a time, so that a refused or lost one keeps the order."""

    def __init__(
        self,
        clock: Clock,
        requests: Requests,
        limit: int,
        may_send_to: Callable[[str], bool],
        limited: Callable[[float], None],
    ) -> None:
        self._clock, self._requests, self._limit = clock, requests, limit
        self._may_send_to, self._limited = may_send_to, limited
        self._messages: deque[Queued] = deque()
        # Random, so that no other client of the same user has the same keys.
        self._key_prefix = secrets.token_hex(12)
        self._pause = Alarm(clock)
        #: True while a message is in flight or waited for.
        self._is_online = self._is_sending = False
        self._in_flight: Queued | None = None
        self._pace_ms = self._sent_at_ms = 0.0
        self._messages_per_second = 1.0

    def __len__(self) -> int:
        return len(self._messages)

    def push(self, command: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> asyncio.Future[T]:
        """Queues a message behind the others, and returns what its caller waits for.

        Raises :class:`ChatError`: `queue_full`, or `invalid_argument` for data that is no JSON.
        """
        if len(self._messages) >= self._limit:
            raise ChatError("queue_full", f"{self._limit} messages already wait")
        encode(command)
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        key = f"{self._key_prefix}-{self._requests.next_id()}"
        self._messages.append(Queued({**command, "key": key}, parse, answer))
        self.pump()
        return answer

    def connected(self, messages_per_second: float) -> None:
        """Notes that the server takes messages, and how many a second."""
        self._is_online = True
        self._messages_per_second = messages_per_second

    def disconnected(self) -> None:
        """Notes that the connection has ended: the message in flight is sent again on the next one."""
        self._is_online = self._is_sending = False
        self._pause.cancel()
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is not None and in_flight.is_given_up:
            self._messages.popleft()

    def fail_all(self, error: ChatError) -> None:
        """Fails every message, because the client has stopped."""
        while self._messages:
            refuse(self._messages.popleft().answer, error)

    def give_up(self, error: ChatError) -> None:
        """Fails every message, because no answer can be read. The one in flight is not sent again."""
        in_flight = self._in_flight
        self.fail_all(error)
        if in_flight is not None:
            in_flight.is_given_up = True
            self._messages.append(in_flight)
        else:
            self._pause.cancel()
            self._is_sending = False

    def fail_sent(self, error: ChatError) -> None:
        """Fails the first message if it has been sent."""
        if self._messages and self._messages[0].tries > 0:
            refuse(self._messages.popleft().answer, error)

    def pump(self) -> None:
        """Sends the first message, unless another is in flight or must be waited for."""
        now = self._clock.now_ms()
        while self._is_online and not self._is_sending and self._messages:
            first = self._messages[0]
            if first.tries == 0:
                first.first_sent_at_ms = now
            if now - first.first_sent_at_ms <= KEY_LIFE_MS and first.tries < MAX_TRIES:
                return self._send(first, now)
            self.fail_sent(ChatError("unknown_outcome", "No answer came: the message may have been published"))

    def _send(self, first: Queued, now: float) -> None:
        room = first.command.get("room")
        if room is not None and not self._may_send_to(room):
            return  # continues when the room has been entered again
        self._is_sending = True
        if now - self._sent_at_ms > CALM_MS:
            self._pace_ms = 0
        wait_ms = min(self._sent_at_ms + self._pace_ms - now, self._pace_ms)
        if wait_ms > 0:
            return self._pause.set(wait_ms, self._next)
        self._sent_at_ms = now
        first.tries += 1
        self._in_flight = first
        self._requests.ask(first.command, lambda ack: self._acknowledged(first, ack), self._refused)

    def _next(self) -> None:
        self._is_sending = False
        self.pump()

    def _acknowledged(self, first: Queued, ack: dict[str, Any]) -> None:
        self._messages.popleft()
        self._is_sending, self._in_flight = False, None
        try:
            settle(first.answer, first.parse(ack))
        finally:
            # An ack that cannot be read does not tell what became of the message. Its frame ends the connection.
            refuse(first.answer, ChatError("unknown_outcome", "The server's answer is no ack"))
        self.pump()

    def _refused(self, error: ChatError) -> None:
        if error.code == "connection_lost":
            return
        first, self._in_flight = self._messages[0], None
        if error.code == "rate_limited" and not first.is_given_up:
            return self._slow_down(first, error)
        self._messages.popleft()
        # An earlier try that was not answered may have been published.
        refuse(first.answer, ChatError("unknown_outcome", error.message) if first.tries > 1 else error)
        self._next()

    def _slow_down(self, first: Queued, error: ChatError) -> None:
        first.tries -= 1  # this try was answered; an earlier one may not have been
        # A slower pace, because too many refusals end the connection, and other connections may share the user's
        # limit.
        self._pace_ms = min(max(2 * self._pace_ms, 1_125 / self._messages_per_second), MAX_PACE_MS)
        retry_after_ms = pause_ms(error.retry_after_ms)
        self._pause.set(retry_after_ms, self._next)
        self._limited(retry_after_ms)

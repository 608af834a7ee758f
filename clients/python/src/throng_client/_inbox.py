"""Events that wait until the program reads them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from .errors import ChatError
from .events import Event, Gap, Message, Resumed, RoomEvent

T = TypeVar("T", Event, RoomEvent)


class Inbox(Generic[T]):
    """The unread events of a room, or of the whole client.

    While somebody reads, nothing is dropped: the client stops reading from the socket when `limit` events wait. While
    nobody does, the newest `limit` events are kept, so that a program that only sends is not held up. The messages
    among the dropped ones are reported as a :class:`Gap` when somebody begins to read.
    """

    def __init__(self, limit: int, taken: Callable[[], None]) -> None:
        self._limit, self._taken = limit, taken
        self._events: deque[T] = deque()
        self._dropped: dict[str, Gap | Resumed] = {}
        self._arrived: asyncio.Event | None = None
        self._is_read = self._is_closed = False
        self._error: ChatError | None = None

    @property
    def is_full(self) -> bool:
        """True when a reader has so much to read that no more should come."""
        return self._is_read and len(self._events) >= self._limit

    def put(self, event: T) -> None:
        if self._is_closed:
            return
        if not self._is_read and len(self._events) >= self._limit:
            self._drop(self._events.popleft())
        self._events.append(event)
        self._wake()

    def _drop(self, event: T) -> None:
        """Notes a loss in a dropped event: one note for each room."""
        if isinstance(event, Resumed) and not event.recovered:
            self._dropped[event.room] = Resumed(event.room, False, None)
        elif isinstance(event, (Message, Gap)):
            first, last = (event.offset, event.offset) if isinstance(event, Message) else (event.first, event.last)
            note = self._dropped.get(event.room)
            if isinstance(note, Gap):
                first = min(first, note.first)
            if not isinstance(note, Resumed):
                self._dropped[event.room] = Gap(event.room, first, last)

    def close(self, error: ChatError | None) -> None:
        """Ends the reader's loop behind the last event, with `error` if there is one."""
        if not self._is_closed:
            self._is_closed, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()

    def attach(self) -> None:
        """Notes that somebody reads. Raises :class:`RuntimeError` if somebody does already."""
        if self._is_read:
            raise RuntimeError("these events are being read already: each event goes to one reader")
        self._is_read = True
        notes: list[Any] = list(self._dropped.values())
        self._dropped = {}
        self._events.extendleft(reversed(notes))

    def detach(self) -> None:
        """Notes that nobody reads any more."""
        self._is_read = False
        self._taken()

    async def get(self) -> T:
        """Returns the next event. Raises :class:`StopAsyncIteration` or the error behind the last one.

        Cancel safety: no event is lost when the call is cancelled.
        """
        while not self._events:
            if self._error is not None:
                error = self._error
                raise ChatError(error.code, error.message, error.retry_after_ms)
            if self._is_closed:
                raise StopAsyncIteration
            self._arrived = asyncio.Event()
            await self._arrived.wait()
        event = self._events.popleft()
        self._taken()
        return event


class Events(AsyncIterator[T]):
    """The iterator behind `async for`. Dropping it, as `break` does, ends the reading."""

    def __init__(self, inbox: Inbox[T]) -> None:
        inbox.attach()
        self._inbox: Inbox[T] | None = inbox

    async def __anext__(self) -> T:
        if self._inbox is None:
            raise StopAsyncIteration
        return await self._inbox.get()

    async def aclose(self) -> None:
        """Ends the reading. Events that are still unread wait for the next reader."""
        self._detach()

    def _detach(self) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.detach()

    def __del__(self) -> None:
        if getattr(self, "_inbox", None) is not None:
            self._detach()

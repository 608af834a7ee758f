"""The rooms that a client is to be in, over reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ._clock import Alarm, Clock
from ._outbox import pause_ms, refuse, settle
from ._requests import Requests
from .errors import ChatError
from .events import Error, Gap, Joined, Message, Resumed, RoomEvent, joined_of


@dataclass
class RoomState:
    """A wanted room, and the position in it."""

    name: str
    epoch: str | None = None
    offset: int = 0
    is_in: bool = False
    was_in: bool = False
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


@dataclass
class Replay:
    """The replay of a room's missed messages, which is under way."""

    room: str
    missed: int = 0


class Told(Protocol):
    """Is told what happens to rooms."""

    def room_event(self, event: RoomEvent) -> None: ...

    def room_added(self, name: str) -> None: ...

    def room_removed(self, name: str, error: ChatError | None) -> None: ...

    def error(self, error: Error) -> None: ...


class Rooms:
    """Joins rooms one after the other, keeps their positions, and drops messages that were seen."""

    def __init__(
        self, clock: Clock, requests: Requests, told: Told, changed: Callable[[], None], lost: Callable[[str], None]
    ) -> None:
        self._requests, self._told, self._changed, self._lost = requests, told, changed, lost
        self._rooms: dict[str, RoomState] = {}
        self._replay: Replay | None = None
        self._retry = Alarm(clock)
        self._is_joining = False

    def names(self) -> list[str]:
        return list(self._rooms)

    def get(self, name: str) -> RoomState | None:
        return self._rooms.get(name)

    def waiting(self) -> int:
        """Returns how many rooms callers wait for."""
        return sum(1 for room in self._rooms.values() if room.waiters)

    def entry(self) -> RoomState | None:
        """Returns the room to enter with the next handshake."""
        return next(iter(self._rooms.values()), None)

    def want(self, name: str) -> RoomState:
        """Returns the room, and adds it if it is not there."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = RoomState(name)
            self._told.room_added(name)
        return room

    def remove(self, name: str, error: ChatError | None) -> RoomState | None:
        """Takes a room out, and fails those who wait for it. `error` is `None` if the program left it."""
        room = self._rooms.pop(name, None)
        if room is None:
            return None
        waiters, room.waiters = room.waiters, []
        if error is not None and not waiters:
            self._told.error(Error(error.code, error.message, name, error.retry_after_ms))
        for waiter in waiters:
            refuse(waiter, error or ChatError("stopped", "The room was left"))
        self._told.room_removed(name, error)
        self._changed()
        return room

    def disconnected(self) -> None:
        """Notes that the connection is gone: every room has to be entered again."""
        self._replay = None
        self._is_joining = False
        self._retry.cancel()
        for room in self._rooms.values():
            room.is_in = False

    def fail_waiters(self, error: ChatError) -> None:
        for room in self._rooms.values():
            waiters, room.waiters = room.waiters, []
            for waiter in waiters:
                refuse(waiter, error)

    def join_next(self) -> None:
        """Joins the first room that is not entered yet, then the next: all at once would exceed the rate limit."""
        if self._is_joining:
            return
        room = next((room for room in self._rooms.values() if not room.is_in), None)
        if room is None:
            return self._requests.ask({"type": "ping"})  # its answer ends the replay of the last room
        self._is_joining = True
        command: dict[str, Any] = {"type": "join", "room": room.name}
        if room.epoch is not None:
            command["resume"] = {"epoch": room.epoch, "offset": room.offset}
        joining = room

        def done(frame: dict[str, Any]) -> None:
            self.entered(joining, joined_of(frame))
            self._next()

        self._requests.ask(command, done, lambda error: self._refused(joining, error))

    def _next(self) -> None:
        self._is_joining = False
        self.join_next()

    def _refused(self, room: RoomState, error: ChatError) -> None:
        if error.code == "connection_lost":
            return
        if error.code == "unavailable":
            return self._lost(error.message)
        if error.code == "rate_limited":
            return self._retry.set(pause_ms(error.retry_after_ms), self._next)
        if self._rooms.get(room.name) is room:  # or it was left meanwhile
            self.remove(room.name, error)
        self._next()

    def entered(self, room: RoomState, joined: Joined) -> None:
        """Notes that the client is in a room, and at which position."""
        if self._rooms.get(room.name) is not room:
            return  # left meanwhile
        was_in = room.was_in
        missed = joined.offset - room.offset if room.epoch == joined.epoch else None
        room.epoch, room.offset, room.is_in, room.was_in = joined.epoch, joined.offset, True, True
        waiters, room.waiters = room.waiters, []
        for waiter in waiters:
            settle(waiter, None)
        if joined.recovered:
            self._replay = Replay(room.name)
        self._told.room_event(joined)
        if was_in and not joined.recovered:
            self._told.room_event(Resumed(room.name, missed == 0, missed))
        self._changed()

    def end_replay(self) -> None:
        """Reports what was replayed. Commands are answered in order, so that an answer ends the replay before it."""
        if self._replay is not None:
            replay, self._replay = self._replay, None
            self._told.room_event(Resumed(replay.room, True, replay.missed))

    def message(self, message: Message) -> None:
        """Reports a message, unless it was seen or its room was left."""
        room = self._rooms.get(message.room)
        if room is None or not room.is_in or message.offset <= room.offset:
            return
        # The server reports gaps itself; this covers one that it did not report.
        if message.offset > room.offset + 1:
            self.gap(Gap(room.name, room.offset + 1, message.offset - 1))
        room.offset = message.offset
        if self._replay is not None and self._replay.room == room.name:
            self._replay.missed += 1
        self._told.room_event(message)

    def gap(self, gap: Gap) -> None:
        """Reports messages that do not come."""
        room = self._rooms.get(gap.room)
        if room is not None and room.is_in and gap.last > room.offset:
            room.offset = gap.last
            self._told.room_event(gap)

    def change_epoch(self, name: str, epoch: str, offset: int) -> None:
        """Takes over another epoch, in which nothing that came is lost.

        An epoch that goes on below the position has lost some of it. The old one is kept then, with which the server
        refuses to resume.
        """
        room = self._rooms.get(name)
        if room is not None and room.is_in and room.offset <= offset:
            room.epoch = epoch

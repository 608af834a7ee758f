"""The client for programs that use asyncio."""

from __future__ import annotations

import asyncio
import ssl as _ssl
from types import TracebackType
from typing import Any, Final

from ._clock import Clock, LoopClock
from ._core import Core
from ._dial import Dial, dial
from ._inbox import Events, Inbox
from ._line import Line
from .backoff import Backoff
from .errors import ChatError
from .events import (
    Ack, Direct, Error, Event, History, Limited, Presence, RoomEvent, State, ack_of, delivered_of, history_of,
    presence_of,
)
from .options import Options, Token
from .room import Room


class _Missing:
    def __repr__(self) -> str:
        return "NO_DATA"


#: The value of `data` for a message without data. `None` is the JSON value null.
NO_DATA: Final = _Missing()


class Client:
    """A connection to the chat that reconnects by itself, resumes every room, and sends each message once.

    :param url: The address of the server's `/`: `http://`, `https://`, `ws://` or `wss://`.
    :param user: 3 to 64 of `A-Z a-z 0-9 _ . : @ -`.
    :param room: The first room; by default the server's default room.
    :param name: A name for people; where tokens are required, theirs counts.
    :param token: A JWT, or a function that returns a fresh one, for each connection and before the last one expires.
        It may be an `async` function. While it fails, the client tries again later.
    :param ssl: The TLS context for `wss://`; by default that of the system.
    :param max_queued: Most messages that wait for their acks, and most other commands that wait.
    :param max_events: Most unread events of a room, and of the whole client. While somebody reads, the client stops
        reading from the socket beyond that; the server drops it as a slow consumer in the end, and it resumes. While
        nobody reads, the oldest ones are dropped, and a `Gap` reports the messages among them.
    :param grace_ms: Time after a heartbeat was due, until the connection counts as dead.
    :param answer_ms: Longest wait for the answer to a command before the connection is given up.
    :raises ChatError: `invalid_argument` for a mistake in these.

    Use it in one event loop. `async with` connects and closes. `async for event in client` reads everything that
    happens, and `async for event in client.room(name)` what happens in a room.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str,
        room: str | None = None,
        name: str | None = None,
        token: Token = None,
        ssl: _ssl.SSLContext | None = None,
        max_queued: int = 100,
        max_events: int = 1024,
        grace_ms: float = 10_000,
        answer_ms: float = 30_000,
        backoff: Backoff | None = None,
    ) -> None:
        options = Options(
            url, user, room, name, token, ssl, max_queued, max_events, grace_ms, answer_ms, backoff or Backoff()
        )
        self._set_up(options, LoopClock(), dial)

    @classmethod
    def _made(cls, options: Options, clock: Clock, dial: Dial) -> Client:
        """Makes a client with a clock and connections of a test."""
        client = cls.__new__(cls)
        client._set_up(options, clock, dial)
        return client

    def _set_up(self, options: Options, clock: Clock, dial: Dial) -> None:
        options.check()
        self._options = options
        self._rooms: dict[str, Room] = {}
        self._taken: asyncio.Event | None = None
        self._inbox: Inbox[Event] = Inbox(options.max_events, self._wake)
        line = Line(options, dial, self._is_full, self._space)
        self._line = line
        self._core = line.core = Core(options, clock, line, self)

    # The connection

    @property
    def user(self) -> str:
        """The user id."""
        return self._options.user

    @property
    def state(self) -> State:
        """The state of the connection."""
        return self._core.state

    @property
    def rooms(self) -> list[str]:
        """The names of the rooms that the client is in, or enters again after a reconnect."""
        return self._core.rooms.names()

    @property
    def queued(self) -> int:
        """How many messages wait for their acks."""
        return len(self._core.outbox)

    async def connect(self) -> None:
        """Connects, and reconnects until :meth:`close`. Returns at the first welcome.

        :raises ChatError: `stopped` if another attempt cannot help. Without an answer it goes on trying; use
            `asyncio.wait_for` to limit the wait.

        Cancel safety: the client goes on connecting when the call is cancelled.
        """
        await self._core.connect()

    async def close(self) -> None:
        """Closes the connection for good, and waits at most five seconds for the end of its sockets. Everything that
        still waits fails with `stopped`.
        """
        self._core.close()
        await self._line.closed()

    async def __aenter__(self) -> Client:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def check_network(self) -> None:
        """Call it when the machine's network has changed, or after it has slept: the client then ends a wait, and
        checks with a ping that its connection is alive.
        """
        self._core.check_network()

    # Messages

    async def send(self, room: str, message: str, data: Any = NO_DATA) -> Ack:
        """Publishes in a room, and returns when the server has given the message its place there.

        While the client is away, the message waits. It is sent again under an idempotency key, so that it is said
        once. `data` is any JSON value beside the text.

        :raises ChatError: one of the server's codes; `queue_full` if `max_queued` messages wait; `unknown_outcome` if
            no answer came for 270 s or five times; `stopped`; `unread`; `invalid_argument`.

        Cancel safety: cancelling does not take the message back; it only drops the answer.
        """
        command = {"type": "message", "room": room, "message": message}
        return await self._core.publish(self._with_data(command, data), ack_of)

    async def direct(self, to: str, message: str, data: Any = NO_DATA) -> int:
        """Sends a private message to a user. Returns the number of the user's connections that it was handed to.

        :raises ChatError: as :meth:`send`; `user_not_found` if nobody of this id is connected.

        Cancel safety: cancelling does not take the message back; it only drops the answer.
        """
        command = {"type": "direct", "to": to, "message": message}
        return await self._core.publish(self._with_data(command, data), delivered_of)

    @staticmethod
    def _with_data(command: dict[str, Any], data: Any) -> dict[str, Any]:
        return command if data is NO_DATA else {**command, "data": data}

    # Rooms

    async def join(self, name: str) -> Room:
        """Enters a room and stays in it over reconnects.

        :raises ChatError: `invalid_room`, `forbidden`, `too_many_rooms`, `queue_full`, `stopped`.

        Cancel safety: the client stays in the room when the call is cancelled; :meth:`leave` leaves it.
        """
        await self._core.join(name)
        return self.room(name)

    def room(self, name: str) -> Room:
        """Returns a room that the client is in, or enters.

        :raises ChatError: `not_in_room` if :meth:`join` was not called for it.
        """
        room = self._rooms.get(name)
        if room is None:
            raise ChatError("not_in_room", f"Not in the room {name}, join it first")
        return room

    async def leave(self, name: str) -> None:
        """Leaves a room. Nothing of it is reported from then on, also if the client is away."""
        self._core.leave(name)

    async def history(self, room: str, before: int | None = None, limit: int | None = None) -> History:
        """Loads a page of a room's messages, oldest first: the last ones, or those before the offset `before`. There
        are 50 of them, or up to 100 with `limit`.

        :raises ChatError: one of the server's codes; `offline`, `connection_lost`, `queue_full`, `unread`.
        """
        state = self._core.rooms.get(room)
        command: dict[str, Any] = {"type": "history", "room": room}
        for field, value in (("epoch", state.epoch if state else None), ("before", before), ("limit", limit)):
            if value is not None:
                command[field] = value
        return await self._core.query(command, history_of)

    async def presence(self, room: str, after: str | None = None, limit: int | None = None) -> Presence:
        """Loads a page of a room's users, by name, behind the user `after`. There are 50 of them, or up to 1,000 with
        `limit`.

        :raises ChatError: as :meth:`history`.
        """
        command: dict[str, Any] = {"type": "presence", "room": room}
        for field, value in (("after", after), ("limit", limit)):
            if value is not None:
                command[field] = value
        return await self._core.query(command, presence_of)

    def typing(self, room: str) -> None:
        """Tells the others in a room that this user is typing. It is dropped while the client is away."""
        self._core.typing(room)

    # Events

    def __aiter__(self) -> Events[Event]:
        return Events(self._inbox)

    def _is_full(self) -> bool:
        return self._inbox.is_full or any(room._inbox.is_full for room in self._rooms.values())

    async def _space(self) -> None:
        while self._is_full():
            self._taken = asyncio.Event()
            await self._taken.wait()

    def _wake(self) -> None:
        if self._taken is not None:
            self._taken.set()

    def event(self, event: State | Direct | Limited | Error) -> None:
        """For the core."""
        self._inbox.put(event)
        if isinstance(event, State) and event.name == "stopped":
            is_ours = (event.code, event.reason) == (1000, "closed")
            error = None if is_ours else ChatError("stopped", event.reason or f"Closed with {event.code}")
            self._inbox.close(error)
            for room in self._rooms.values():
                room._inbox.close(error)

    def room_event(self, event: RoomEvent) -> None:
        """For the core."""
        self._inbox.put(event)
        room = self._rooms.get(event.room)
        if room is not None:
            room._inbox.put(event)

    def error(self, error: Error) -> None:
        """For the core."""
        self._inbox.put(error)

    def room_added(self, name: str) -> None:
        """For the core."""
        self._rooms[name] = Room(self, name, Inbox(self._options.max_events, self._wake))

    def room_removed(self, name: str, error: ChatError | None) -> None:
        """For the core."""
        room = self._rooms.pop(name, None)
        if room is not None:
            room._inbox.close(error)

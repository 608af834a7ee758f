"""The core of the client: makes all decisions, and knows neither sockets nor tasks.

It does what `client.js` does, which the server has at `/client.js`. Frames, calls of the program and ends of
connections go in; commands, events and the wish for a connection come out. Every queue and every wait has a limit.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from ._clock import Alarm, Clock
from ._outbox import Outbox, refuse, settle
from ._requests import Requests, ignore
from ._rooms import Rooms, Told
from ._wire import decode, encode
from .backoff import MAX_DELAY_MS
from .errors import ChatError, mistake
from .events import (
    Advice, Direct, Error, Limited, Malformed, PresenceDiff, State, Typing, advice_of, direct_of, gap_of, joined_of,
    message_of, presence_diff_of, typing_of,
)
from .options import Options, invalid_room, is_name, is_token

T = TypeVar("T")

#: Codes after which reconnecting cannot help, as from 4500 on.
STOP_CODES = frozenset({1002, 1003, 1007, 1008, 3003})
#: Time for one attempt. The server may need three seconds to find out that the old connection is dead.
CONNECT_MS = 15_000
#: Time for the answer to a ping after the network has changed.
PROBE_MS = 3_000
#: The reason of a close with 3000 after which the same token is valid later.
EARLY = "Token not yet valid"
#: Part of its time after which a token is renewed; not the same for all clients.
RENEW_FROM, RENEW_OVER = 0.75, 0.15
#: If less is left of a token, the next connection brings another.
LAST_RENEWAL_MS = 1_000


class Link(Protocol):
    """Makes connections for the core, one at a time."""

    def open(self) -> None: ...

    def send(self, text: str) -> None: ...

    def drop(self) -> None: ...

    def renew(self, use: Callable[[object], None]) -> None: ...


class Reader(Told, Protocol):
    """Is told everything that happens."""

    def event(self, event: State | Direct | Limited | Error) -> None: ...


class Core:
    """The state machine of a client. All methods are called from one event loop."""

    def __init__(self, options: Options, clock: Clock, link: Link, reader: Reader) -> None:
        self.options, self.state, self.session = options, State("idle"), ""
        self._clock, self._link, self._reader = clock, link, reader
        self.requests = Requests(
            clock, options.answer_ms, link.send, lambda: self.disconnected(1006, "No answer in time")
        )
        self.outbox = Outbox(clock, self.requests, options.max_queued, self._may_send_to, self._limited)
        self.rooms = Rooms(clock, self.requests, reader, self.outbox.pump, lambda why: self.disconnected(1013, why))
        self._connecting: list[asyncio.Future[None]] = []
        self._advice: Advice | None = None
        self._entry_room: str | None = None
        self._retry, self._watching, self._renewal, self._unread = (Alarm(clock) for _ in range(4))
        self._opened_at_ms: float | None = None
        self._received_at_ms = 0.0
        self._silence_ms: float = CONNECT_MS
        self._is_reading = True
        if options.room is not None:
            self.rooms.want(options.room)

    # Calls of the program

    def connect(self) -> asyncio.Future[None]:
        """Connects, and returns what is settled by the first welcome."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.state.name == "online":
            future.set_result(None)
            return future
        self._connecting.append(future)
        if self.state.name in ("idle", "stopped"):
            self._open()
        return future

    def close(self) -> None:
        """Ends the connection for good. Everything that still waits fails with `stopped`."""
        if self.state.name != "stopped":
            self.stop(1000, "closed")

    def publish(self, command: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> asyncio.Future[T]:
        """Queues a message. Raises :class:`ChatError` if it cannot be queued."""
        if self.state.name == "stopped":
            raise ChatError("stopped", "Not connected")
        for name in ("room", "to", "message"):
            if name in command and not isinstance(command[name], str):
                raise mistake(name, command[name], "must be a string")
        return self.outbox.push(command, parse)

    def query(self, command: dict[str, Any], parse: Callable[[dict[str, Any]], T]) -> asyncio.Future[T]:
        """Sends a question that is not worth queueing while offline. Raises :class:`ChatError` if it cannot be sent."""
        if self.state.name != "online":
            raise ChatError("offline", "Not connected")
        if len(self.requests) >= self.options.max_queued:
            raise ChatError("queue_full", "Too many commands wait")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(frame: dict[str, Any]) -> None:
            try:
                settle(answer, parse(frame))
            finally:
                # An answer that cannot be read ends the connection.
                refuse(answer, ChatError("connection_lost", "The server's answer is of another kind"))

        self.requests.ask(command, done, lambda error: refuse(answer, error))
        return answer

    def join(self, name: str) -> asyncio.Future[None]:
        """Enters a room and stays in it over reconnects. Raises :class:`ChatError` if it cannot be entered."""
        if self.state.name == "stopped":
            raise ChatError("stopped", "Not connected")
        # The next connection may be opened with this room, and an invalid name would stop the client.
        if not is_name(name):
            raise invalid_room()
        is_new = self.rooms.get(name) is None
        if self.rooms.waiting() >= self.options.max_queued:
            raise ChatError("queue_full", "Too many rooms wait to be entered")
        room = self.rooms.want(name)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if room.is_in:
            waiter.set_result(None)
            return waiter
        room.waiters.append(waiter)
        if is_new and self.state.name == "online":
            self.rooms.join_next()
        return waiter

    def leave(self, name: str) -> None:
        if self.rooms.remove(name, None) is not None and self.state.name == "online":
            self.requests.ask({"type": "leave", "room": name})

    def typing(self, name: str) -> None:
        if self.state.name == "online":
            self._link.send(encode({"type": "typing", "room": name, "id": "typing"}))

    def check_network(self) -> None:
        """After a change of the network, ends a wait and checks with a ping that the connection is alive."""
        if self.state.name == "waiting" and not self.state.is_advised:
            self._open()
        elif self.state.name == "online" and self._is_reading:
            self.requests.ask({"type": "ping"})
            self._watch(PROBE_MS)

    # Staying connected

    def target(self) -> str:
        """Returns the address of the next attempt. It may hold a secret."""
        entry = self.rooms.entry()
        self._entry_room = entry.name if entry else None
        position = (entry.name, entry.epoch, entry.offset) if entry else None
        return self.options.target(position, self.session or None)

    def dialling(self) -> None:
        """Notes that the token is there and the connection is being made."""
        self._watch(CONNECT_MS)

    def disconnected(self, close_code: int, reason: str, retry_after_ms: float | None = None) -> None:
        """Handles the end of a connection, or of an attempt: stops, or waits for the next attempt."""
        advice = self._advice
        code = advice.code if advice and close_code in (1005, 1006) else close_code
        healthy_for_ms = 0 if self._opened_at_ms is None else self._clock.now_ms() - self._opened_at_ms
        self._drop_connection()
        if code == 1009:  # sending it again would end the next connection too
            self.outbox.fail_sent(ChatError("message_too_long", reason or "Message too big"))
        is_expired = code == 3000 and reason != EARLY
        is_final = code >= 4500 or code in STOP_CODES or (is_expired and not callable(self.options.token))
        if is_final or (advice is not None and not advice.reconnect):
            return self.stop(code, reason)
        after_ms = advice.after_ms if advice else retry_after_ms
        backoff = self.options.backoff
        delay_ms = backoff.next(healthy_for_ms, after_ms)
        self._retry.set(delay_ms, self._open)
        self._set_state(State("waiting", backoff.attempt, delay_ms, code, reason, advice is not None))

    def stop(self, code: int, reason: str) -> None:
        """Stops for good: another attempt cannot help, or the program closes the client."""
        self._drop_connection()
        error = ChatError("stopped", reason or f"Closed with {code}")
        connecting, self._connecting = self._connecting, []
        for waiter in connecting:
            refuse(waiter, error)
        self.outbox.fail_all(error)
        self.rooms.fail_waiters(error)
        self._set_state(State("stopped", code=code, reason=reason))

    def _open(self) -> None:
        self._retry.cancel()
        self._set_state(State("connecting", self.options.backoff.attempt))
        self._watch(CONNECT_MS)  # includes the time to get a token
        self._link.open()

    def _drop_connection(self) -> None:
        self._link.drop()
        for alarm in (self._retry, self._watching, self._renewal, self._unread):
            alarm.cancel()
        self._advice = self._opened_at_ms = None
        self._is_reading = True
        self.outbox.disconnected()
        self.rooms.disconnected()
        self.requests.fail_all(ChatError("connection_lost", "The connection was lost"))

    def _watch(self, limit_ms: float | None = None, since_ms: float | None = None) -> None:
        """Drops the connection unless something is received between `since_ms` and `limit_ms` later."""
        limit = self._silence_ms if limit_ms is None else limit_ms
        now = self._clock.now_ms()
        since = now if since_ms is None else since_ms

        def look() -> None:
            if self._received_at_ms > since:
                self._watch(None, self._received_at_ms)
            else:
                self.disconnected(3008, "The server is silent")

        self._watching.set(min(limit, max(0, since + limit - now)), look)

    def set_reading(self, is_reading: bool) -> None:
        """Notes whether frames are read. While the program does not read its events, none are."""
        if self._is_reading == is_reading or self.state.name != "online":
            return
        self._is_reading = is_reading
        if is_reading:
            self._unread.cancel()
            self._received_at_ms = self._clock.now_ms()
            self.requests.resume()
            self._watch()
        else:
            self._watching.cancel()
            self.requests.pause()
            self._unread.set(self._silence_ms, self._give_up)

    def _give_up(self) -> None:
        error = ChatError("unread", "No answer could be read, because the program does not read its events")
        self.outbox.give_up(error)
        self.rooms.fail_waiters(error)
        self._reader.event(Error(error.code, error.message))
        self._unread.set(self._silence_ms, self._give_up)

    # Frames of the server

    def receive(self, text: str) -> None:
        """Handles a text frame of the present connection."""
        self._received_at_ms = self._clock.now_ms()
        try:
            frame = decode(text)
            self._handle(frame)
        except Malformed as error:
            self.disconnected(1006, f"The server sent a frame that is no event of throng.v1: {error}")

    def _handle(self, frame: dict[str, Any]) -> None:
        if frame.get("re") is not None:
            self.rooms.end_replay()
        command = self.requests.take(frame)
        kind = frame.get("type")
        if kind == "welcome":
            self._welcome(frame)
        elif kind == "heartbeat":
            self._link.send(encode({"type": "heartbeat_ack", "id": "heartbeat"}))
        elif kind == "message":
            self.rooms.message(message_of(frame))
        elif kind == "gap":
            self.rooms.gap(gap_of(frame))
        elif kind == "epoch":
            joined = joined_of(frame)
            self.rooms.change_epoch(joined.room, joined.epoch, joined.offset)
        elif kind == "disconnect":
            self._advice = advice_of(frame)
        elif kind == "error":
            self._failed(frame, command.failed if command else None)
        elif kind == "left" and frame.get("re") is None:
            name = frame.get("room")
            if isinstance(name, str):
                self.rooms.remove(name, ChatError("removed", f"The server took you out of the room {name}"))
        elif kind == "presence_diff":
            self._in_room(presence_diff_of(frame))
        elif kind == "typing":
            self._in_room(typing_of(frame))
        elif kind == "direct":
            self._reader.event(direct_of(frame))
        elif command is not None:
            command.done(frame)  # an event of a later version answers no command

    def _in_room(self, event: PresenceDiff | Typing) -> None:
        if self.rooms.get(event.room) is not None:  # or it was left
            self._reader.room_event(event)

    def _failed(self, frame: dict[str, Any], failed: Callable[[ChatError], None] | None) -> None:
        retry_after_ms = frame.get("retry_after_ms")
        retry_after_ms = retry_after_ms if isinstance(retry_after_ms, (int, float)) else None
        error = ChatError(str(frame.get("code", "")), str(frame.get("message", "")), retry_after_ms)
        if failed is not None:
            failed(error)
        else:
            self._reader.event(Error(error.code, error.message, None, retry_after_ms))

    def _welcome(self, frame: dict[str, Any]) -> None:
        joined = joined_of(frame)
        session, heartbeat_ms = frame.get("session"), frame.get("heartbeat_ms")
        if not isinstance(session, str) or not isinstance(heartbeat_ms, (int, float)):
            raise Malformed("'welcome' has no session or no heartbeat_ms")
        # Every connection enters a room. Leave it again if it was left meanwhile, or if all rooms had been left before.
        entry = self._entry_room
        is_left = self.rooms.get(entry) is None if entry else bool(self.session)
        self.session = session
        self._opened_at_ms = self._clock.now_ms()
        self._silence_ms = heartbeat_ms + self.options.grace_ms
        self._watch()
        limits = frame.get("limits")
        limits = limits if isinstance(limits, Mapping) else {}
        self.state = State("online", limits=limits)
        self.outbox.connected(limits.get("messages_per_second") or 1)
        if is_left:
            self.requests.ask({"type": "leave", "room": joined.room})
        else:
            self.rooms.entered(self.rooms.want(joined.room), joined)
        self.rooms.join_next()
        self._renew_after(frame.get("expires_ms"))
        connecting, self._connecting = self._connecting, []
        for waiter in connecting:
            settle(waiter, None)
        self._set_state(self.state)
        self.outbox.pump()

    # Tokens

    def _renew_after(self, left_ms: object) -> None:
        """Gets another token before this one expires, which the server says where it demands one."""
        if not callable(self.options.token) or not isinstance(left_ms, (int, float)) or left_ms <= LAST_RENEWAL_MS:
            return
        ends_at_ms = self._clock.now_ms() + left_ms
        share = RENEW_FROM + RENEW_OVER * random.random()

        def again() -> None:
            self._renew_after(ends_at_ms - self._clock.now_ms())

        def failed(error: ChatError) -> None:
            if error.code != "connection_lost":
                again()

        def use(token: object) -> None:
            if not is_token(token):
                return again()  # the next attempt comes, or in the end the next connection
            command = {"type": "token", "token": token}
            self.requests.ask(command, lambda ack: self._renew_after(ack.get("expires_ms")), failed)

        self._renewal.set(min(left_ms * share, MAX_DELAY_MS), lambda: self._link.renew(use))

    def _may_send_to(self, name: str) -> bool:
        room = self.rooms.get(name)
        return room is None or room.is_in  # the server refuses a message for a room that is not wanted

    def _limited(self, retry_after_ms: float) -> None:
        self._reader.event(Limited(retry_after_ms))

    def _set_state(self, state: State) -> None:
        self.state = state
        self._reader.event(state)


__all__ = ["Core", "Link", "Reader", "ignore"]
